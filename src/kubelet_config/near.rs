//! Names that are nearly right: a kubelet ignores or refuses them, and something else was meant. This module must not say what
//! the names are for.

use cri_gc_config::letters_apart;

/// The candidate that is `found`, or is meant by it: the same except for capitals and dashes, or up to two letters apart.
pub(super) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Shorter names have neighbours that mean something else.
    const LONG: usize = 7;
    let plain = |name: &str| name.replace(['-', '_'], "");
    let apart = |candidate: &str| letters_apart(&plain(found), &plain(candidate));
    let most = if found.len() < LONG { 0 } else { 2 };
    let nearest = candidates.into_iter().min_by_key(|candidate| (apart(candidate), *candidate != found))?;
    (apart(nearest) <= most).then_some(nearest)
}

/// The candidate that is meant by `found`, which is none of them.
pub(super) fn meant<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(found, candidates).filter(|nearest| *nearest != found)
}
