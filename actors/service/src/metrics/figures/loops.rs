//! What the loops do, and what they have done.

use std::fmt::Error;

use cri_gc_collectors::collector::{Doing, LoopState};
use cri_gc_config::Mode;
use cri_gc_kit::words::Loop;

use super::super::answers::Answers;
use super::super::readiness;
use super::super::sheet::{BYTES, Labels, SECONDS, Sheet, seconds};

const STATES: [Doing; 7] = [
    Doing::Waiting,
    Doing::Running,
    Doing::Paused,
    Doing::Off,
    Doing::Restarting,
    Doing::Hung,
    Doing::Stopped,
];

const MODES: [Mode; 3] = [Mode::Enforce, Mode::Report, Mode::Off];

fn of(state: &LoopState) -> (&'static str, &'static str) {
    ("loop", state.of.as_str())
}

/// A figure of each loop that has it.
fn each<V>(
    answers: &Answers,
    value: impl Fn(&LoopState) -> Option<V>,
) -> impl Iterator<Item = (Labels<'static>, V)> {
    answers.loops.iter().filter_map(move |state| Some((vec![of(state)], value(state)?)))
}

/// What they do now.
pub fn state(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    let loops = || answers.loops.iter();
    sheet.gauge(
        ("cri_gc_loop_state", None, "What the loop does now: 1 for its state, 0 for all others"),
        loops().flat_map(|state| {
            STATES.map(|s| (vec![of(state), ("state", s.as_str())], u32::from(s == state.doing)))
        }),
    )?;
    sheet.gauge(
        ("cri_gc_loop_mode", None, "What the settings let the loop do: 1 for its mode, 0 for the others"),
        loops().flat_map(|state| {
            MODES.map(|m| (vec![of(state), ("mode", m.as_str())], u32::from(m == state.mode)))
        }),
    )?;
    sheet.gauge(
        ("cri_gc_loop_overdue", None, "1 while a pass of the loop is overdue, or the loop hangs"),
        each(answers, |state| Some(u32::from(readiness::is_overdue(answers, state)))),
    )?;
    sheet.gauge(
        ("cri_gc_loop_period", SECONDS, "How often the loop makes a pass by itself"),
        each(answers, |state| Some(state.period.as_secs_f64())),
    )?;
    sheet.gauge(
        (
            "cri_gc_loop_next_pass_timestamp",
            SECONDS,
            "When the next pass is due; absent while none is planned",
        ),
        each(answers, |state| state.next_pass_at.map(seconds)),
    )?;
    sheet.counter(
        ("cri_gc_loop_restarts", None, "How often the loop was restarted after a panic or a hang"),
        each(answers, |state| Some(state.restarts)),
    )
}

/// What they have done.
pub fn work(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    let loops = || answers.loops.iter();
    sheet.counter(
        ("cri_gc_passes", None, "Passes that ended, by what began them and whether they succeeded"),
        loops().flat_map(|state| {
            state.totals.passes.iter().map(|((trigger, is_good), count)| {
                let result = if *is_good { "succeeded" } else { "failed" };
                (vec![of(state), ("trigger", *trigger), ("result", result)], *count)
            })
        }),
    )?;
    sheet.histogram(
        ("cri_gc_pass_duration", SECONDS, "How long passes took"),
        loops().map(|state| (vec![of(state)], &state.totals.took)),
    )?;
    sheet.gauge(
        (
            "cri_gc_last_good_pass_timestamp",
            SECONDS,
            "When the last pass ended that did not fail; absent before the first",
        ),
        each(answers, |state| state.totals.last_good_at.map(seconds)),
    )?;
    sheet.gauge(
        ("cri_gc_consecutive_failures", None, "Passes that failed since the last one that did not"),
        each(answers, |state| Some(state.failures)),
    )?;
    sheet.counter(
        (
            "cri_gc_removals",
            None,
            "Attempts to remove an object, by why it was planned and how the attempt ended",
        ),
        loops().flat_map(|state| {
            state.totals.removals.iter().map(|((reason, result), count)| {
                (vec![of(state), ("reason", *reason), ("result", *result)], *count)
            })
        }),
    )?;
    sheet.gauge(
        ("cri_gc_objects_kept", None, "Objects that the last pass kept, by why"),
        loops().flat_map(|state| {
            let kept = state.last.iter().flat_map(|last| &last.counts.kept_for);
            kept.map(|(reason, count)| (vec![of(state), ("reason", reason)], *count))
        }),
    )?;
    sheet.gauge(
        (
            "cri_gc_objects_removable",
            None,
            "Objects that the last pass would have removed if the loop's mode were enforce",
        ),
        each(answers, |state| Some(state.last.as_ref()?.counts.would_remove)),
    )?;
    sheet.gauge(
        (
            "cri_gc_objects_stuck",
            None,
            "Objects that could not be removed; each is tried again after a pause that doubles",
        ),
        each(answers, |state| Some(state.stuck.len() as u64)),
    )?;
    let images = || loops().filter(|state| state.of == Loop::ImageGc);
    sheet.counter(
        (
            "cri_gc_freed",
            BYTES,
            "Bytes of removed images and logs: measured on the filesystem or the files, or reported by the runtime before the removal",
        ),
        loops().filter(|state| matches!(state.of, Loop::ImageGc | Loop::LogGc)).flat_map(|state| {
            [("measured", state.freed_bytes), ("reported", state.totals.reported_bytes)]
                .map(|(measure, bytes)| (vec![of(state), ("measure", measure)], bytes))
        }),
    )?;
    sheet.counter(
        (
            "cri_gc_wanted",
            BYTES,
            "Bytes that passes had to free to reach the low threshold, each pass by itself",
        ),
        images().map(|state| (vec![of(state)], state.totals.wanted_bytes)),
    )?;
    sheet.gauge(
        (
            "cri_gc_missing",
            BYTES,
            "Bytes that were still to be freed after the last pass to reach the low threshold",
        ),
        images().map(|state| (vec![of(state)], state.space.missing_bytes)),
    )
}
