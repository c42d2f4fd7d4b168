//! The kinds of objects that are removed, with the words for them. It says nothing of a single object.

use serde::{Deserialize, Serialize};

/// What is removed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A container, with its log.
    Container,
    /// A pod sandbox.
    Sandbox,
    /// The log directory of a pod.
    #[strum(serialize = "log directory")]
    LogDir,
    /// A legacy link to a log.
    #[strum(serialize = "log link")]
    LogLink,
    /// An image, with all its names.
    Image,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
