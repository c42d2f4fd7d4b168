//! The source `runtime` (behaviour: Pods): no kubelet on this node. A pod is deleted once nothing of it has run for
//! the grace.
//!
//! Pure: it gets the evidence, the finish times and the time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_kit::text::duration;
use cri_gc_policy::{Absent, Pod, PodState, Pods};
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use super::evidence::Evidence;
use super::proofs::Proofs;
use super::standing::{PodStanding, Standing};
use super::verdict::{FinishTimes, Judgement, Verdict};

/// What is remembered from one judgement to the next.
#[derive(Debug, Default)]
pub struct RuntimeSource {
    /// When each pod was active last, as far as was ever seen. What is removed since still counts: a pod must not seem idle
    /// for longer because its youngest container was removed.
    last_active: HashMap<EcoString, Timestamp>,
    /// When containers finished, as far as that had to be asked.
    finished: FinishTimes,
    proofs: Proofs,
    /// In a service: the first complete list since it started, or since the runtime was reachable again.
    watched_since: Option<Timestamp>,
    /// How often the runtime had been reachable again at the last judgement; `None` in a one-shot command.
    returns: Option<u64>,
}

impl RuntimeSource {
    /// The service has watched the runtime only since now: nothing is known of what ran before.
    pub fn watch_from(&mut self, now: Timestamp) {
        self.watched_since = Some(now);
        self.proofs.void_all();
    }

    /// Takes over how often the runtime has been reachable again: what ran meanwhile was not seen.
    pub fn note_returns(&mut self, returns: Option<u64>, now: Timestamp) {
        if returns > self.returns {
            self.returns = returns;
            self.watch_from(now);
        }
    }

    /// Ids of the ended containers whose finish times would decide about their pods, and are not known yet.
    #[must_use]
    pub fn questions(
        &self,
        pods: &HashMap<&str, Evidence<'_>>,
        returns: Option<u64>,
        grace: Duration,
        now: Timestamp,
    ) -> Vec<EcoString> {
        if returns > self.returns {
            return Vec::new();
        }
        let nothing = FinishTimes::new();
        let open = pods.iter().filter(|(uid, evidence)| {
            self.proofs.hold(uid, evidence).is_none()
                && self.idle_since(uid, evidence, &nothing, now).is_some_and(|t| past(t, grace, now))
        });
        let ended = open.flat_map(|(_, evidence)| &evidence.exited);
        let unknown = ended.filter(|id| !self.finished.contains_key(id.as_str()));
        // The same node is always asked in the same order.
        let mut ids: Vec<EcoString> = unknown.copied().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// The state of every pod that there is something of. A finish time that was queried and is not among `finished`
    /// leaves its pod unknown.
    pub fn judge(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        finished: &FinishTimes,
        grace: Duration,
        now: Timestamp,
    ) -> Judgement {
        self.last_active.retain(|uid, _| pods.contains_key(uid.as_str()));
        self.proofs.forget_all_but(pods);
        let ended: HashSet<&EcoString> =
            pods.values().flat_map(|evidence| evidence.exited.iter().copied()).collect();
        self.finished.extend(finished.iter().map(|(id, at)| (id.clone(), *at)));
        self.finished.retain(|id, _| ended.contains(id));
        let mut judged: Vec<PodStanding> = Vec::with_capacity(pods.len());
        for (uid, evidence) in pods {
            let is_answered = evidence.exited.iter().all(|id| self.finished.contains_key(*id));
            let idle = self.idle_since(uid, evidence, &self.finished, now);
            // One in state UNKNOWN may run until it is stopped and removed.
            let active = if evidence.runs || evidence.unknown_container { Some(now) } else { idle };
            if let Some(active) = active.filter(|at| *at <= now && !evidence.objects.is_empty()) {
                // Of two judgements at a time the one of the older lists may come last.
                let known = self.last_active.entry((*uid).into()).or_insert(active);
                *known = active.max(*known);
            }
            let (state, standing) = if evidence.runs {
                (PodState::Active, Standing::Runs)
            } else if let Some(proved) = self.proofs.hold(uid, evidence) {
                (PodState::Deleted, proved.clone())
            } else if let Some(since) = idle.filter(|since| is_answered && past(*since, grace, now)) {
                self.proofs.add(uid, evidence, Standing::Idle { since });
                (PodState::Deleted, Standing::Idle { since })
            } else {
                // Where a finish time is missing, the others do not say when the pod became idle.
                let early = idle.filter(|since| is_answered || !past(*since, grace, now));
                let waiting = early.map(|since| Standing::Waiting { since, grace: duration(grace) });
                (PodState::Unknown, waiting.unwrap_or(Standing::IdleSinceUnknown))
            };
            if state != PodState::Deleted {
                self.proofs.void(uid);
            }
            judged.push(((*uid).into(), state, standing));
        }
        judged.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let pod = |(uid, state, _): &PodStanding| Pod { uid: uid.clone(), state: *state, images: Vec::new() };
        let pods = judged.iter().map(pod).collect();
        let pods = Pods { synced: true, pods, absent: Absent::Unknown };
        let verdict = Verdict { pods, ..Verdict::default() };
        Judgement { verdict, standings: judged, ..Judgement::default() }
    }

    /// Since when nothing of the pod runs, as far as is known; `None` if that is not known, or something runs.
    fn idle_since(
        &self,
        uid: &str,
        evidence: &Evidence<'_>,
        finished: &FinishTimes,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if evidence.runs || evidence.unknown_container || evidence.undated {
            return None;
        }
        let ended = evidence.exited.iter().filter_map(|id| finished.get(*id).copied().flatten()).max();
        // A log directory counts only for a pod of which there is nothing else.
        let logs = evidence.logs_changed.filter(|_| evidence.objects.is_empty());
        // A timestamp in the future is from before the clock was put back, so from before it was watched since.
        let dated = |time: Timestamp| self.watched_since.filter(|_| time > now).unwrap_or(time);
        let dated = [evidence.newest, ended, logs].map(|time| time.map(dated));
        let seen = [self.last_active.get(uid).copied(), self.watched_since];
        dated.into_iter().chain(seen).flatten().max()
    }
}

fn past(since: Timestamp, grace: Duration, now: Timestamp) -> bool {
    since <= now && SignedDuration::try_from(grace).is_ok_and(|grace| now.duration_since(since) >= grace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn state(
        source: &mut RuntimeSource,
        evidence: Evidence<'_>,
        finished: &[(&str, i64)],
        now: i64,
    ) -> PodState {
        let pods = HashMap::from([("u", evidence)]);
        let finished = finished.iter().map(|(id, t)| ((*id).into(), Some(at(*t)))).collect();
        source.judge(&pods, &finished, GRACE, at(now)).verdict.pods.pods[0].state
    }

    static C: EcoString = EcoString::inline("c");
    static S: EcoString = EcoString::inline("s");
    static NEW: EcoString = EcoString::inline("new");

    fn pod(created: i64) -> Evidence<'static> {
        Evidence { objects: vec![&C, &S], exited: vec![&C], newest: Some(at(created)), ..Evidence::default() }
    }

    #[test]
    fn a_pod_is_deleted_once_nothing_of_it_ran_for_the_grace() {
        let judge = |finished, now| state(&mut RuntimeSource::default(), pod(0), &[("c", finished)], now);
        assert_eq!(judge(100, 699), PodState::Unknown);
        assert_eq!(judge(100, 700), PodState::Deleted);
        assert_eq!(judge(100, 0), PodState::Unknown, "the clock was put back");
    }

    #[test]
    fn the_newest_of_creation_and_finish_counts() {
        let fresh = Evidence { newest: Some(at(500)), ..pod(0) };
        assert_eq!(state(&mut RuntimeSource::default(), fresh, &[("c", 100)], 1099), PodState::Unknown);
    }

    #[test]
    fn finish_times_are_queried_only_where_they_decide() {
        let source = RuntimeSource::default();
        let wanted = |now| source.questions(&HashMap::from([("u", pod(0))]), None, GRACE, at(now));
        assert_eq!(wanted(599), Vec::<String>::new());
        assert_eq!(wanted(600), ["c"]);
    }

    #[test]
    fn an_object_with_a_timestamp_in_the_future_counts_from_when_the_clock_was_put_back() {
        let source = &mut RuntimeSource::default();
        assert_eq!(
            state(source, pod(9000), &[("c", 9001)], 5000),
            PodState::Unknown,
            "the clock change was not seen"
        );
        source.watch_from(at(5000));
        assert_eq!(state(source, pod(9000), &[("c", 9001)], 5599), PodState::Unknown);
        assert_eq!(state(source, pod(9000), &[("c", 9001)], 5600), PodState::Deleted);
    }

    #[test]
    fn without_the_finish_times_nothing_is_proved() {
        assert_eq!(state(&mut RuntimeSource::default(), pod(0), &[], 9999), PodState::Unknown);
    }

    #[test]
    fn what_runs_is_unknown_or_undated_is_not_deleted() {
        for (evidence, expected) in [
            (Evidence { runs: true, ..pod(0) }, PodState::Active),
            (Evidence { unknown_container: true, ..pod(0) }, PodState::Unknown),
            (Evidence { undated: true, ..pod(0) }, PodState::Unknown),
        ] {
            assert_eq!(state(&mut RuntimeSource::default(), evidence, &[("c", 1)], 9999), expected);
        }
    }

    #[test]
    fn removed_objects_of_a_pod_do_not_make_it_seem_idle_for_longer() {
        let sandbox = || Evidence { objects: vec![&S], newest: Some(at(0)), ..Evidence::default() };
        let source = &mut RuntimeSource::default();
        assert_eq!(state(source, pod(0), &[("c", 900)], 1000), PodState::Unknown);
        assert_eq!(state(source, sandbox(), &[], 1499), PodState::Unknown, "its container was removed");
        assert_eq!(state(source, sandbox(), &[], 1500), PodState::Deleted);
        let source = &mut RuntimeSource::default();
        let lost = Evidence { unknown_container: true, ..pod(0) };
        assert_eq!(state(source, lost, &[], 1000), PodState::Unknown);
        assert_eq!(state(source, sandbox(), &[], 1599), PodState::Unknown, "it may have run until now");
        assert_eq!(state(source, sandbox(), &[], 1600), PodState::Deleted);
    }

    #[test]
    fn the_grace_counts_from_when_it_was_last_seen_active() {
        let source = &mut RuntimeSource::default();
        assert_eq!(state(source, Evidence { runs: true, ..pod(0) }, &[], 1000), PodState::Active);
        assert_eq!(state(source, pod(0), &[("c", 10)], 1599), PodState::Unknown);
        assert_eq!(state(source, pod(0), &[("c", 10)], 1600), PodState::Deleted);
    }

    #[test]
    fn a_service_counts_the_grace_from_its_first_list_and_from_the_return_of_the_runtime() {
        let source = &mut RuntimeSource::default();
        source.watch_from(at(5000));
        assert_eq!(state(source, pod(0), &[("c", 10)], 5599), PodState::Unknown);
        assert_eq!(state(source, pod(0), &[("c", 10)], 5600), PodState::Deleted);
        source.watch_from(at(5700));
        assert_eq!(state(source, pod(0), &[("c", 10)], 6299), PodState::Unknown);
    }

    #[test]
    fn a_proof_outlives_the_removals_it_led_to_and_nothing_new() {
        let source = &mut RuntimeSource::default();
        let with_logs = Evidence { logs_changed: Some(at(9)), ..pod(0) };
        assert_eq!(state(source, with_logs, &[("c", 10)], 2000), PodState::Deleted);
        let only_logs = Evidence { logs_changed: Some(at(2001)), ..Evidence::default() };
        assert_eq!(
            state(source, only_logs.clone(), &[], 2002),
            PodState::Deleted,
            "we removed its log just now"
        );
        let new = Evidence { objects: vec![&NEW], newest: Some(at(2003)), ..Evidence::default() };
        assert_eq!(state(source, new, &[], 2004), PodState::Unknown);
        assert_eq!(state(source, only_logs, &[], 2005), PodState::Unknown, "the new object voided the proof");
    }

    #[test]
    fn a_log_directory_that_was_not_there_voids_the_proof() {
        let source = &mut RuntimeSource::default();
        assert_eq!(state(source, pod(0), &[("c", 10)], 2000), PodState::Deleted);
        let log_dirs = vec![cri_gc_files::scan::Identity::default()];
        let new_logs = Evidence { logs_changed: Some(at(2001)), log_dirs, ..Evidence::default() };
        assert_eq!(state(source, new_logs, &[], 2002), PodState::Unknown);
    }

    #[test]
    fn a_pod_whose_objects_were_all_gone_is_another_one_when_it_returns() {
        let source = &mut RuntimeSource::default();
        let logs = |changed| Evidence { logs_changed: Some(at(changed)), ..Evidence::default() };
        assert_eq!(state(source, logs(0), &[], 2000), PodState::Deleted);
        source.judge(&HashMap::new(), &FinishTimes::new(), GRACE, at(2100));
        assert_eq!(state(source, logs(2200), &[], 2201), PodState::Unknown);
    }

    #[test]
    fn a_log_directory_alone_counts_by_its_newest_change() {
        let only_logs = |changed| Evidence { logs_changed: Some(at(changed)), ..Evidence::default() };
        assert_eq!(state(&mut RuntimeSource::default(), only_logs(0), &[], 600), PodState::Deleted);
        assert_eq!(state(&mut RuntimeSource::default(), only_logs(1), &[], 600), PodState::Unknown);
    }
}
