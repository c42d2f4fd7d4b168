//! Whether the service is ready, and if not, each reason as a sentence. It follows from the answers only.

use std::time::Duration;

use cri_gc_collectors::collector::{Doing, LoopState};
use cri_gc_config::PodSource;
use cri_gc_kit::text::duration;
use cri_gc_kit::words::Loop;
use cri_gc_pods::SourceState;
use jiff::{SignedDuration, Timestamp};

use super::answers::Answers;

/// How late a pass may begin or end: a loop that crashed pauses before it is restarted, and removals in flight end after a deadline.
const LATE: SignedDuration = SignedDuration::from_secs(90);

/// Why the service is not ready; nothing if it is.
pub fn reasons(answers: &Answers) -> Vec<String> {
    let mut reasons = Vec::new();
    let unanswered = answers.unanswered.iter().filter(|part| **part != "filesystems");
    reasons.extend(unanswered.map(|part| format!("{part}: this part of cri-gc does not answer")));
    match &answers.runtime {
        Some(runtime) if runtime.reachable == Some(true) && runtime.hangs => {
            reasons.push("runtime: it does not answer in time".to_owned());
        }
        Some(runtime) if runtime.reachable == Some(true) => {}
        Some(runtime) => {
            let error = runtime.error.as_deref().unwrap_or("it has not answered yet");
            reasons.push(format!("runtime: it is not reached: {error}"));
        }
        None => {}
    }
    // Passes ask the source `runtime`. While none is due that says nothing.
    let is_due = answers
        .loops
        .iter()
        .any(|of| of.of != Loop::ImageGc && !matches!(of.doing, Doing::Paused | Doing::Off));
    let is_unsynced =
        |source: &&SourceState| !source.synced && (is_due || source.source != PodSource::Runtime);
    if let Some(source) = answers.source.as_ref().filter(is_unsynced) {
        let problem =
            source.problem.as_deref().unwrap_or("no pass has asked it yet, or its first lists are awaited");
        reasons.push(format!("pod source {}: it is not synced: {problem}", source.source.as_str()));
    }
    reasons.extend(answers.loops.iter().filter_map(|state| {
        let problem = problem(state, deadline(answers, state.of), answers.now)?;
        Some(format!("{}: {problem}", state.of))
    }));
    reasons
}

/// Whether a loop is overdue or hangs.
pub fn is_overdue(answers: &Answers, state: &LoopState) -> bool {
    problem(state, deadline(answers, state.of), answers.now).is_some()
}

/// How long a pass may take, by the settings in force; `None` where they are not known.
fn deadline(answers: &Answers, of: Loop) -> Option<Duration> {
    let configuration = answers.configuration.as_ref()?;
    Some(of.settings(&configuration.generation.settings).deadline)
}

/// Why a loop does not do its work.
fn problem(state: &LoopState, deadline: Option<Duration>, now: Timestamp) -> Option<String> {
    let is_over =
        |since: Timestamp, limit: SignedDuration| now.duration_since(since) > limit.saturating_add(LATE);
    match state.doing {
        Doing::Hung => Some("its thread does not answer".to_owned()),
        Doing::Stopped => Some("it has shut down".to_owned()),
        Doing::Running => {
            let deadline = SignedDuration::try_from(deadline?).unwrap_or(SignedDuration::MAX);
            let lasts = || duration(now.duration_since(state.since));
            is_over(state.since, deadline)
                .then(|| format!("its pass has been running for {}, longer than its deadline", lasts()))
        }
        Doing::Waiting | Doing::Restarting => {
            let due = state.next_pass_at?;
            let late = || duration(now.duration_since(due));
            is_over(due, SignedDuration::ZERO).then(|| format!("its next pass is overdue by {}", late()))
        }
        Doing::Paused | Doing::Off => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cri_gc_kit::generation::Generation;

    use super::*;

    #[test]
    fn a_loop_is_late_once_it_is_later_than_a_restart_takes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let said = |doing: Doing, next: Option<i64>, now: i64| {
            let started = LoopState::new(Loop::LogGc, &Generation::only(Arc::default()), at(0));
            let state = LoopState { doing, next_pass_at: next.map(at), ..started };
            problem(&state, Some(Duration::from_secs(300)), at(now))
        };
        for doing in [Doing::Waiting, Doing::Restarting] {
            assert_eq!(said(doing, Some(60), 150), None, "{doing:?}");
            let late = said(doing, Some(60), 151).unwrap();
            assert_eq!(late, "its next pass is overdue by 1m 31s", "{doing:?}");
            assert_eq!(said(doing, None, 9_000), None, "none is planned");
        }
        assert_eq!(said(Doing::Running, Some(60), 390), None);
        let long = said(Doing::Running, Some(60), 391).unwrap();
        assert_eq!(long, "its pass has been running for 6m 31s, longer than its deadline");
        for doing in [Doing::Hung, Doing::Stopped] {
            assert!(said(doing, Some(60), 1).is_some(), "{doing:?}");
        }
        for doing in [Doing::Paused, Doing::Off] {
            assert_eq!(said(doing, Some(60), 9_000), None, "{doing:?}");
        }
    }
}
