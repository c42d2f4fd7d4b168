//! The keys that are typed while the view is shown. Reading blocks a thread of its own, which ends with the process.

use std::io::Read;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::cli::Breakage;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Break this, or mend it.
    Toggle(Breakage),
    /// Pause all loops, or let them go on.
    Pause,
    /// End.
    Quit,
}

impl Key {
    /// What the byte that the terminal sends asks for.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
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

/// Reads keys from now on, until stdin ends.
///
/// # Errors
/// The operating system has no thread left.
pub fn read() -> std::io::Result<UnboundedReceiver<Key>> {
    let (tell, told) = unbounded_channel();
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read_exact(&mut byte).is_ok() {
            if byte.iter().filter_map(|byte| Key::of(*byte)).any(|key| tell.send(key).is_err()) {
                return;
            }
        }
    })?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breakage_has_a_key() {
        let keys: Vec<Key> = (0..=127).filter_map(Key::of).collect();
        for what in <Breakage as clap::ValueEnum>::value_variants() {
            assert!(keys.contains(&Key::Toggle(*what)), "{what:?}");
        }
        assert_eq!((Key::of(b'Q'), Key::of(b' '), Key::of(b'x')), (Some(Key::Quit), Some(Key::Pause), None));
    }
}
