//! Ids: 64 hex digits that look random and are a function of the seed and a counter.

/// Gives out ids. The same seed and the same order of calls give the same ids.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    count: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next id, 64 lower-case hex digits.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Ids;

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
}
