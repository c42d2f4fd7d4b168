//! Names that are nearly right: a kubelet ignores or refuses them, and something else was meant.

use cri_gc_config::letters_apart;

/// The candidate that is meant by `found`, which is none of them: the same but for capitals and dashes, or up to two letters
/// apart.
pub(super) fn meant<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Shorter names have neighbours that mean something else.
    const LONG: usize = 7;
    let plain = |name: &str| name.replace(['-', '_'], "");
    let mut near = None;
    for candidate in candidates {
        if candidate == found {
            return None;
        }
        let apart = letters_apart(&plain(found), &plain(candidate));
        if apart == 0 || (apart <= 2 && found.len() >= LONG) {
            near = near.filter(|(least, _)| *least <= apart).or(Some((apart, candidate)));
        }
    }
    near.map(|(_, candidate)| candidate)
}
