//! Ids: how they are made, and how one, or the beginning of one, finds an object.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::SimError;

/// Makes ids: 64 hex digits that look random. The same seed and the same order of calls give the same ids.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    count: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next id.
    pub(crate) fn next(&mut self) -> String {
        self.count = self.count.wrapping_add(1);
        let start = mix(self.seed).wrapping_add(self.count.wrapping_mul(4));
        (0..4).map(|word| format!("{:016x}", mix(start.wrapping_add(word)))).collect()
    }
}

/// A bijection of 64 bits that spreads neighbours far apart (the finalizer of splitmix64), so that words of different
/// counters never repeat within one seed.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The one object whose id begins with `prefix`.
pub(crate) fn find<'a, T>(
    store: &'a BTreeMap<String, T>,
    kind: &'static str,
    prefix: &str,
) -> Result<&'a T, SimError> {
    if prefix.is_empty() {
        return Err(SimError::Refused(format!("{kind} \"\": an id must not be empty")));
    }
    let from = (Bound::Included(prefix), Bound::Unbounded);
    only(kind, prefix, store.range::<str, _>(from).take_while(|(id, _)| id.starts_with(prefix)))
        .map(|(_, object)| object)
}

/// The only one of these matches of an id.
pub(crate) fn only<T>(
    kind: &'static str,
    id: &str,
    mut matches: impl Iterator<Item = T>,
) -> Result<T, SimError> {
    match (matches.next(), matches.next()) {
        (None, _) => Err(not_found(kind, id)),
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => {
            Err(SimError::Refused(format!("{kind} {id:?}: more than one id begins with it")))
        }
    }
}

pub(crate) fn not_found(kind: &'static str, id: &str) -> SimError {
    SimError::NotFound { kind, id: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_64_hex_digits_distinct_and_repeatable() {
        let make = |seed| {
            let mut ids = Ids::new(seed);
            (0..1000).map(|_| ids.next()).collect::<Vec<_>>()
        };
        let first = make(7);
        assert!(first.iter().all(|id| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert_eq!(first, make(7));
        assert_ne!(first, make(8));
    }

    #[test]
    fn a_unique_beginning_is_enough_and_nothing_less() {
        let store: BTreeMap<String, &str> =
            ["aa11", "aa22", "b"].into_iter().map(|id| (id.to_owned(), id)).collect();
        assert_eq!(*find(&store, "container", "aa2").unwrap(), "aa22");
        assert_eq!(*find(&store, "container", "b").unwrap(), "b");
        assert!(matches!(find(&store, "container", "aa"), Err(SimError::Refused(_))));
        assert!(matches!(find(&store, "container", ""), Err(SimError::Refused(_))));
        assert!(find(&store, "container", "aa222").unwrap_err().is_not_found());
        assert!(find(&store, "container", "c").unwrap_err().is_not_found());
    }
}
