//! The pauses of the loops on disk, so that a loop that is paused stays so when the service is started again
//! (behaviour: Admin socket). It blocks, and decides nothing: the supervisors keep the pauses.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use cri_gc_collectors::collector::Paused;
use cri_gc_files::dirs::make_private_dir;
use cri_gc_files::replace::replace;
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::wait_within;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slog::{Logger, error, warn};

/// Name of the file in the state directory.
const NAME: &str = "pauses.json";

/// How long the disk may take, when the service is started and for a pause.
pub const WITHIN: Duration = Duration::from_secs(10);

/// The file. Fields may be added.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pauses {
    /// By the name of the loop.
    paused: BTreeMap<String, Paused>,
}

/// The pauses that are in force at the start. If it can't be known which there were, all loops are paused, and the second value says
/// why: to be idle is better than to remove what an operator wanted to keep.
#[must_use]
pub fn at_start(state_dir: &Path, now: Timestamp, log: &Logger) -> (Vec<(Loop, Paused)>, Option<String>) {
    let path = state_dir.join(NAME);
    let file = path.clone();
    let read = wait_within(WITHIN, move || match std::fs::read(file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Pauses::default())
        }
        Err(error) => Err(error.to_string()),
        Ok(content) => serde_json::from_slice(&content).map_err(|error| error.to_string()),
    });
    let Pauses { paused } = match read.map_err(|gone| gone.to_string()).flatten() {
        Ok(pauses) => pauses,
        Err(why) => {
            error!(
                log,
                "{} can't be read: {}; all loops are paused, as any of them may have been. `cri-gc resume` ends that, \
                and writes the file again",
                path.display(),
                why
            );
            let why = format!(
                "all loops are paused because {} can't be read: {why}; `cri-gc resume` ends that",
                path.display()
            );
            return (Loop::ALL.map(|of| (of, Paused { since: now, until: None })).to_vec(), Some(why));
        }
    };
    let lasts = |paused: &&Paused| paused.until.is_none_or(|until| now < until);
    let paused = Loop::ALL.into_iter().filter_map(|of| {
        let paused = paused.get(of.as_str()).filter(lasts)?;
        warn!(log, "paused since {:.0}; `cri-gc resume {}` ends that", paused.since, of; "loop" => of.as_str());
        Some((of, *paused))
    });
    (paused.collect(), None)
}

/// Writes the pauses that are in force, and returns once they are on the disk.
///
/// # Errors
/// Why they are not: they end with the process.
pub fn write(state_dir: &Path, paused: &[(Loop, Paused)]) -> Result<(), String> {
    let path = state_dir.join(NAME);
    let paused = paused.iter().map(|(of, paused)| (of.as_str().to_owned(), *paused)).collect();
    let content = serde_json::to_vec(&Pauses { paused }).map_err(|error| error.to_string())?;
    let written = make_private_dir(state_dir).and_then(|()| replace(&path, &content));
    written.map_err(|error| format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn silent() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    #[test]
    fn pauses_last_as_long_as_was_said_and_unreadable_ones_are_all() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let now = "2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap();
        let hour = SignedDuration::from_hours(1);
        let read = |at: Timestamp| at_start(&state_dir, at, &silent()).0;
        assert_eq!(read(now), [], "there was none");
        let forever = (Loop::ContainerGc, Paused { since: now, until: None });
        let an_hour = (Loop::ImageGc, Paused { since: now, until: Some(now + hour) });
        write(&state_dir, &[forever, an_hour]).unwrap();
        assert_eq!(read(now), [forever, an_hour]);
        assert_eq!(read(now + hour), [forever]);
        write(&state_dir, &[]).unwrap();
        assert_eq!(read(now), []);
        for damaged in ["", "{", "[]", r#"{"paused": {"log_gc": 7}}"#] {
            replace(&state_dir.join(NAME), damaged.as_bytes()).unwrap();
            let all = Loop::ALL.map(|of| (of, Paused { since: now, until: None }));
            assert_eq!(read(now), all, "{damaged:?}");
            let why = at_start(&state_dir, now, &silent()).1.unwrap();
            assert!(why.contains("pauses.json can't be read: ") && why.contains("cri-gc resume"), "{why}");
        }
        // A newer cri-gc may have loops and fields that this one does not know.
        let newer = format!(r#"{{"paused": {{"x_gc": {{"since": "{now}", "by": 1}}}}, "format": 9}}"#);
        replace(&state_dir.join(NAME), newer.as_bytes()).unwrap();
        assert_eq!(read(now), []);
        let error = write(&state_dir.join(NAME), &[forever]).unwrap_err();
        assert!(error.contains("pauses.json can't be written: "), "{error}");
    }
}
