//! The list of image patterns (`image_gc.protect`), written as the strings that the operator wrote.

use cri_gc_policy::Pattern;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(patterns: &[Pattern], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(patterns.iter().map(ToString::to_string))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    Ok(Vec::<Element>::deserialize(from)?.into_iter().map(|Element(pattern)| pattern).collect())
}

/// One pattern; a type of its own, so that an error bears the place in the list.
struct Element(Pattern);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Element).map_err(de::Error::custom)
    }
}
