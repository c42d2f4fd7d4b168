//! The settings whose values are words.

use serde::Serialize;
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::nearest::nearest;

/// Declares enums whose variants are words of the configuration. The comment of a variant is what the documents say about
/// its word.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($variants:tt)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        #[derive(Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
        #[cfg_attr(test, derive(strum::EnumMessage))]
        #[serde(rename_all = "kebab-case")]
        #[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_such_word::<$name>)]
        pub enum $name { $($variants)+ }

        impl $name {
            /// Every value, in the order of the documents.
            pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;
            /// The words of [`Self::ALL`], as they are written in the configuration.
            pub const WORDS: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

            /// The word in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )+};
}

fn no_such_word<T: VariantNames>(text: &str) -> String {
    match nearest(text, T::VARIANTS.iter().copied()) {
        Some(word) => format!("there is no `{text}`; did you mean `{word}`?"),
        None => format!("there is no `{text}`"),
    }
}

choices! {
    /// What a loop does with its plans.
    Mode {
        /// Remove.
        #[default]
        Enforce,
        /// Only report what would be removed.
        Report,
        /// Do nothing.
        Off,
    }

    /// Where the list of existing pods comes from.
    PodSource {
        /// The container runtime: for nodes without a kubelet.
        #[default]
        Runtime,
        /// A file with a pod list (`pods.file`).
        File,
        /// The kubelet on this node (section `pods.kubelet`).
        Kubelet,
        /// The API server (section `pods.kube_api`).
        KubeApi,
    }

    /// What happens to containers and sandboxes that belong to no pod.
    Unmanaged {
        /// Keep them, and count them towards no limit.
        #[default]
        Keep,
        /// Handle them as if their pod were deleted; what runs or is ready is kept.
        Collect,
    }

    /// The least severe log records that are written.
    LogLevel {
        /// Errors only.
        Error,
        /// Warnings, too.
        Warning,
        /// What an operator should see of a healthy service, too.
        #[default]
        Info,
        /// Every success and every suppressed repetition of a failure, too.
        Debug,
        /// Everything, single requests to the runtime included.
        Trace,
    }

    /// The format of log records.
    LogFormat {
        /// `term` if standard error is a terminal, else `json`.
        #[default]
        Auto,
        /// Lines for people.
        Term,
        /// One JSON object a line.
        Json,
    }
}
