//! The keys of the demo, and what they do.

use crate::cli::demo::Breakage;

/// What a key requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPress {
    /// Break this, or fix it.
    Toggle(Breakage),
    /// Pause all loops, or resume them.
    Pause,
    /// End.
    Quit,
}

/// All of them, as they are shown.
pub const KEYS: &str = "keys: i images  h hang  r runtime  p panic  t thread  space pause  q quit\n";

impl KeyPress {
    /// The request of that key, if it has one.
    #[must_use]
    pub fn parse(byte: u8) -> Option<Self> {
        Some(match byte.to_ascii_lowercase() {
            b'i' => Self::Toggle(Breakage::Images),
            b'h' => Self::Toggle(Breakage::Hang),
            b'r' => Self::Toggle(Breakage::Runtime),
            b'p' => Self::Toggle(Breakage::Panic),
            b't' => Self::Toggle(Breakage::Thread),
            b' ' => Self::Pause,
            b'q' => Self::Quit,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breakage_has_a_key() {
        let keys: Vec<KeyPress> = (0..=127).filter_map(KeyPress::parse).collect();
        for what in <Breakage as clap::ValueEnum>::value_variants() {
            assert!(keys.contains(&KeyPress::Toggle(*what)), "{what:?}");
        }
        let parsed = [b'Q', b' ', b'x'].map(KeyPress::parse);
        assert_eq!(parsed, [Some(KeyPress::Quit), Some(KeyPress::Pause), None]);
    }
}
