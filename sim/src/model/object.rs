//! How an id, or the beginning of one, finds an object in the runtime's stores.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::SimError;

/// The whole id of the one object whose id begins with `prefix`.
pub(crate) fn find<T>(
    store: &BTreeMap<String, T>,
    kind: &'static str,
    prefix: &str,
) -> Result<String, SimError> {
    if prefix.is_empty() {
        return Err(SimError::BadId { kind, id: String::new(), problem: "an id must not be empty" });
    }
    let mut matches = store
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .map(|(id, _)| id)
        .take_while(|id| id.starts_with(prefix));
    match (matches.next(), matches.next()) {
        (None, _) => Err(not_found(kind, prefix)),
        (Some(id), None) => Ok(id.clone()),
        (Some(_), Some(_)) => Err(ambiguous(kind, prefix)),
    }
}

pub(crate) fn not_found(kind: &'static str, id: &str) -> SimError {
    SimError::NotFound { kind, id: id.to_owned() }
}

pub(crate) fn ambiguous(kind: &'static str, id: &str) -> SimError {
    SimError::BadId { kind, id: id.to_owned(), problem: "more than one id begins so" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_beginning_is_enough_and_nothing_less() {
        let store: BTreeMap<String, ()> =
            ["aa11", "aa22", "b"].into_iter().map(|id| (id.to_owned(), ())).collect();
        assert_eq!(find(&store, "container", "aa2").unwrap(), "aa22");
        assert_eq!(find(&store, "container", "b").unwrap(), "b");
        assert!(matches!(find(&store, "container", "aa"), Err(SimError::BadId { .. })));
        assert!(matches!(find(&store, "container", ""), Err(SimError::BadId { .. })));
        assert!(find(&store, "container", "aa222").unwrap_err().is_not_found());
        assert!(find(&store, "container", "c").unwrap_err().is_not_found());
    }
}
