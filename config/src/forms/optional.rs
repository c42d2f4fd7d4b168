//! Text in which the empty string means "not set", as TOML has no null: `""` and `None` are the same.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serializer, de};

/// What may be left empty.
pub(crate) trait Text: Sized {
    /// Reads text that is not empty.
    fn read(text: &str) -> Result<Self, String>;
    /// Writes the text that [`Text::read`] reads.
    fn write(&self) -> Cow<'_, str>;
}

impl Text for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn write(&self) -> Cow<'_, str> {
        self.into()
    }
}

impl Text for std::path::PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn write(&self) -> Cow<'_, str> {
        // Every path here was read from text.
        self.to_string_lossy()
    }
}

impl Text for super::endpoint::Endpoint {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|e: super::endpoint::EndpointError| e.to_string())
    }

    fn write(&self) -> Cow<'_, str> {
        self.as_str().into()
    }
}

pub(crate) fn serialize<T: Text, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.as_ref().map(Text::write).unwrap_or_default())
}

pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(None) } else { T::read(&text).map(Some).map_err(de::Error::custom) }
}
