//! Names that are nearly right: a kubelet ignores or refuses them, and something else was meant.

use cri_gc_config::letters_apart;

/// The candidate that is meant by `found`, which is none of them: the same except for capitals and dashes, or up to two letters
/// apart.
pub(super) fn meant<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Shorter names have neighbours that mean something else.
    const LONG: usize = 7;
    let plain = |name: &str| name.replace(['-', '_'], "");
    let apart = |candidate: &str| letters_apart(&plain(found), &plain(candidate));
    let most = if found.len() < LONG { 0 } else { 2 };
    let nearest = candidates.into_iter().min_by_key(|candidate| (apart(candidate), *candidate != found))?;
    (nearest != found && apart(nearest) <= most).then_some(nearest)
}
