//! The settings that take one of a few words.

/// Makes an enum whose variants are words of the configuration: reading, writing and the list of all words come from
/// the one table, so that none can be forgotten.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The words of [`Self::ALL`], as they stand in the configuration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // Columns of a table ask for a width.
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { found: text.to_owned(), words: Self::WORDS }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(text: String) -> Result<Self, UnknownWord> {
                text.parse()
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.as_str()
            }
        }
    };
}

/// A word that is none of those a setting takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no `{found}`{}", suggestion(found, words))]
pub struct UnknownWord {
    found: String,
    words: &'static [&'static str],
}

impl UnknownWord {
    /// The words that there are.
    #[must_use]
    pub fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

fn suggestion(found: &str, words: &'static [&'static str]) -> String {
    match crate::suggest::nearest(found, words.iter().copied()) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => String::new(),
    }
}

choice! {
    /// What a loop does with its plans (spec 12): `container_gc.mode` and the same key of the other loops.
    Mode {
        /// Plans are carried out.
        #[default]
        Enforce = "enforce",
        /// Plans are made and told; nothing is removed.
        Report = "report",
        /// The loop does nothing.
        Off = "off",
    }
}

choice! {
    /// Who tells which pods exist (spec 2): `pods.source`.
    PodSource {
        /// The container runtime itself: a node without a kubelet.
        #[default]
        Runtime = "runtime",
        /// A file with a pod list.
        File = "file",
        /// The `/pods` endpoint of the kubelet.
        Kubelet = "kubelet",
        /// The API server: a list-and-watch of this node's pods.
        KubeApi = "kube-api",
    }
}

choice! {
    /// What becomes of objects that belong to no pod (spec 2): `pods.unmanaged`.
    Unmanaged {
        /// They are in no unit, count towards no limit, and stay.
        #[default]
        Keep = "keep",
        /// They count as objects of a deleted pod; what runs or is ready stays.
        Collect = "collect",
    }
}

choice! {
    /// The least grave log records that are written (spec 7): `log.level`.
    LogLevel {
        /// Errors only.
        Error = "error",
        /// Warnings and errors.
        Warning = "warning",
        /// What an operator should see of a healthy service as well.
        #[default]
        Info = "info",
        /// Each success and each thinned failure as well.
        Debug = "debug",
        /// Everything, single RPCs included.
        Trace = "trace",
    }
}

choice! {
    /// How log records are written (spec 7): `log.format`.
    LogFormat {
        /// `term` where standard error is a terminal, else `json`.
        #[default]
        Auto = "auto",
        /// Lines for a human.
        Term = "term",
        /// One JSON object a line.
        Json = "json",
    }
}
