//! The settings whose values are words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// Declares an enum whose variants are words of the configuration. The comment of a variant is what the documents say
/// about its word; `default` marks the default.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $meaning:literal] $variant:ident = $word:literal $($default:ident)?,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $name {
            $(#[doc = $meaning] $(#[$default])? #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The words of [`Self::ALL`], as they are written in the configuration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            /// What each of the words means.
            #[cfg(test)]
            pub(crate) const MEANINGS: &'static [&'static str] = &[$($meaning),+];

            /// The word in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Columns of a table ask for a width.
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().find(|known| known.as_str() == text);
                known.copied().ok_or_else(|| match nearest(text, Self::WORDS.iter().copied()) {
                    Some(word) => format!("there is no `{text}`; did you mean `{word}`?"),
                    None => format!("there is no `{text}`"),
                })
            }
        }
    };
}

choice! {
    /// What a loop does with its plans.
    Mode {
        /// Remove.
        Enforce = "enforce" default,
        /// Only report what would be removed.
        Report = "report",
        /// Do nothing.
        Off = "off",
    }
}

choice! {
    /// Where the list of existing pods comes from.
    PodSource {
        /// The container runtime: for nodes without a kubelet.
        Runtime = "runtime" default,
        /// A file with a pod list (`pods.file`).
        File = "file",
        /// The kubelet on this node (section `pods.kubelet`).
        Kubelet = "kubelet",
        /// The API server (section `pods.kube_api`).
        KubeApi = "kube-api",
    }
}

choice! {
    /// What happens to containers and sandboxes that belong to no pod.
    Unmanaged {
        /// Keep them, and count them towards no limit.
        Keep = "keep" default,
        /// Handle them as if their pod were deleted; what runs or is ready is kept.
        Collect = "collect",
    }
}

choice! {
    /// The least severe log records that are written.
    LogLevel {
        /// Errors only.
        Error = "error",
        /// Warnings, too.
        Warning = "warning",
        /// What an operator should see of a healthy service, too.
        Info = "info" default,
        /// Every success and every suppressed repetition of a failure, too.
        Debug = "debug",
        /// Everything, single requests to the runtime included.
        Trace = "trace",
    }
}

choice! {
    /// The format of log records.
    LogFormat {
        /// `term` if standard error is a terminal, else `json`.
        Auto = "auto" default,
        /// Lines for people.
        Term = "term",
        /// One JSON object a line.
        Json = "json",
    }
}
