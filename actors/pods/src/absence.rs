//! The proof of absence (behaviour: Pods) for sources that list pods: what two good readings in a row, or a list
//! and an answer about the pod itself, allow to be called deleted.
//!
//! Pure: it gets the readings, the answers, the evidence and the time. Every doubt keeps: there is one way to
//! [`Standing::is_proof`], through all the rules of [`Absence::stand`], the brake and the second observation.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_config::PodSource;
use cri_gc_policy::{Absent, Pod, PodState, Pods};
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use super::evidence::{Evidence, Known};
use super::listing::Listing;
use super::proofs::Proofs;
use super::standing::{PodStanding, Standing};
use super::verdict::{Judgement, Verdict};

#[cfg(test)]
mod tests;

/// One good reading of the source.
#[derive(Debug, Clone)]
pub struct Reading {
    /// As of when it counts: a file, as of its modification time; a question, as of when it was sent.
    pub at: Timestamp,
    /// What it listed.
    pub listing: Listing,
    /// Ids of all containers and sandboxes that the runtime listed before it.
    pub objects: Known<EcoString>,
}

/// What the operator asks of a proof, and what the source needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How old the last reading may be.
    pub max_staleness: Duration,
    /// More than this share of the node's pods are not believed to be deleted all at once; 100 believes it.
    pub max_newly_deleted_percent: u8,
    /// Source `runtime`: how long nothing of a pod must have run.
    pub runtime_grace: Duration,
    /// The administrator has confirmed that many are deleted at once.
    pub confirmed: bool,
    /// The source. What a file lists counts as of when it was written, all else as of when the source was asked.
    pub source: PodSource,
    /// When the clock was set last. Something that was created later than now existed by then.
    pub clock_set: Option<Timestamp>,
}

impl Rules {
    /// Whether the second observation of a pod that is missing from a list is a question for the pod itself: the list is kept
    /// up to date by a watch. Else it is the next list: two in a row.
    fn asks(&self) -> bool {
        self.source == PodSource::KubeApi
    }
}

/// The pods that a kubelet still has a directory of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of them, by UID.
    Of(HashSet<EcoString>),
    /// They are not known, for this reason: any pod may be one of them.
    Unreadable(String),
}

/// The answer to the question for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is none of that name, or it has another UID.
    Gone {
        /// When it was asked.
        at: Timestamp,
    },
    /// It exists.
    There,
    /// The query for it failed.
    Failed(String),
}

/// The pods to ask for by name before one judgement, and what was answered. Answers are good for this judgement only.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// For whom to ask.
    pub uids: Vec<EcoString>,
    /// The answers that came in time.
    pub answers: HashMap<EcoString, Answer>,
    /// When they were made, and by which list: an older answer, or one about another list, is no second observation.
    at: Timestamp,
    list: u64,
}

/// What is judged, by what, and when.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What there is of each pod.
    pub pods: &'a HashMap<&'a str, Evidence<'a>>,
    /// The pods that a kubelet has a directory of.
    pub kept: &'a Kept,
    /// What a proof has to meet.
    pub rules: &'a Rules,
    /// Now.
    pub now: Timestamp,
}

/// How long the pods that the brake holds must be missing from all readings before they count as deleted.
pub const BRAKE_LETS_GO: SignedDuration = SignedDuration::from_mins(10);

/// How many pods may be created and deleted since a list before a new one is wanted.
const REMEMBERED: usize = 1_000;

/// The shortest time between the first and the second observation.
pub const APART: SignedDuration = SignedDuration::from_secs(2);

/// The good readings in a row.
#[derive(Debug)]
struct Lists {
    first: Option<Reading>,
    last: Reading,
    /// As of when the last one still counts: it is kept up to date by a watch, or as old as it is.
    fresh: Timestamp,
}

/// The last good readings, and what they proved.
#[derive(Debug, Default)]
pub struct Absence {
    lists: Option<Lists>,
    /// Counts what ends the answers to questions that are open: a new list, a loss, a pod that exists after all.
    list: u64,
    proofs: Proofs,
    /// Pods that would count as deleted without the brake, and since when they have been missing from all readings.
    braked: HashMap<EcoString, Timestamp>,
    /// Pods that an administrator has confirmed deleted: the brake does not hold these. Every other rule is in force, and
    /// the confirmation ends when the pod is listed again.
    confirmed: HashSet<EcoString>,
    /// The pods of the last good reading that name images: these count as used even while the source is unreachable. `None`
    /// before the first reading.
    named: Option<Vec<Pod>>,
}

/// How the pods stand, before those are proved deleted that no rule keeps.
#[derive(Default)]
struct Weighed<'a> {
    standings: Vec<(&'a str, Standing)>,
    /// No rule keeps these, except that a second observation may be missing.
    open: Vec<&'a str>,
    notes: Vec<String>,
}

impl Absence {
    /// A good reading, after the one before.
    pub fn read(&mut self, reading: Reading) {
        self.sight(&reading.listing);
        self.list += 1;
        let first = self.lists.take().map(|lists| lists.last);
        self.lists = Some(Lists { first, fresh: reading.at, last: reading });
    }

    /// A good list, which a watch keeps up to date from now on: the first observation. The last is what the watch makes of it.
    pub fn listed(&mut self, reading: Reading) {
        self.sight(&reading.listing);
        self.list += 1;
        self.lists = Some(Lists { first: Some(reading.clone()), fresh: reading.at, last: reading });
    }

    /// The watch has answered: what is listed now, if it has changed. Without a list it is of no use.
    pub fn watched(&mut self, changed: Option<Listing>, now: Timestamp) {
        if self.lists.is_none() {
            return;
        }
        if let Some(listing) = &changed {
            self.sight(listing);
        }
        if let Some(lists) = &mut self.lists {
            lists.fresh = lists.fresh.max(now);
            if let Some(listing) = changed {
                // What was listed since the first observation was not missing twice in a row.
                if let Some(first) = &mut lists.first {
                    for uid in listing.pods.keys() {
                        let sighted = || (PodState::Active, Vec::new());
                        first.listing.pods.entry(uid.clone()).or_insert_with(sighted);
                    }
                }
                lists.last.listing = listing;
            }
        }
    }

    /// What is listed exists: whatever was found out against it is void.
    fn sight(&mut self, listing: &Listing) {
        for uid in listing.pods.keys() {
            self.proofs.void(uid);
            self.braked.remove(uid);
            self.confirmed.remove(uid);
        }
        let naming = listing.to_pods().into_iter().filter(|pod| !pod.images.is_empty());
        self.named = Some(naming.map(|pod| Pod { state: PodState::Unknown, ..pod }).collect());
    }

    /// An administrator says that these pods are deleted, also those that are not proved yet, and those that the brake
    /// holds. Returns how many the brake holds.
    pub fn confirm(&mut self, missing: impl IntoIterator<Item = EcoString>) -> usize {
        self.confirmed.extend(missing);
        self.confirmed.extend(self.braked.keys().cloned());
        self.braked.len()
    }

    /// The images that pods name which are not finished, by the last good reading; while the source is unreachable, all that
    /// pods named.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let Some(lists) = &self.lists else {
            return self.named.iter().flatten().flat_map(|pod| pod.images.iter().cloned()).collect();
        };
        let living = lists.last.listing.pods.values();
        let living = living.filter(|(state, _)| matches!(state, PodState::Active | PodState::Unknown));
        living.flat_map(|(_, images)| images.iter().cloned()).collect()
    }

    /// Whether the source was ever read.
    #[must_use]
    pub fn was_read(&self) -> bool {
        self.named.is_some()
    }

    /// Whether the source can prove anything now, and as of when its last good list counts.
    #[must_use]
    pub fn synced_at(&self, rules: &Rules, now: Timestamp) -> (bool, Option<Timestamp>) {
        let Some(lists) = &self.lists else { return (false, None) };
        (lists.first.is_some() && self.synced(rules, now).is_some(), Some(lists.fresh))
    }

    /// A reading failed: two in a row have to be made again.
    pub fn void_lists(&mut self) {
        self.lists = None;
        self.void_all();
    }

    fn void_all(&mut self) {
        self.list += 1;
        self.proofs.void_all();
        self.braked.clear();
    }

    /// The pods to ask for by name before [`Self::judge`] can call them deleted.
    #[must_use]
    pub fn questions(&self, case: Case<'_>) -> Questions {
        let Case { rules, now, .. } = case;
        let first = self.lists.as_ref().and_then(|lists| lists.first.as_ref());
        let is_due = first.is_some_and(|first| now.duration_since(first.at) >= APART);
        let mut questions = Questions { at: now, list: self.list, ..Questions::default() };
        if rules.asks()
            && is_due
            && let Some(lists) = self.synced(rules, now)
        {
            let open = self.weigh(lists, case).open;
            questions.uids = open.into_iter().map(EcoString::from).collect();
        }
        questions
    }

    /// The state of every pod.
    pub fn judge(&mut self, case: Case<'_>, asked: &Questions) -> Judgement {
        let Case { pods, rules, now, .. } = case;
        self.proofs.forget_all_but(pods);
        self.braked.retain(|uid, _| pods.contains_key(uid.as_str()));
        self.confirmed.retain(|uid| pods.contains_key(uid.as_str()));
        let is_current = asked.list == self.list;
        for (uid, _) in asked.answers.iter().filter(|(_, answer)| **answer == Answer::There) {
            self.proofs.void(uid);
            self.list += 1;
        }
        let Some(lists) = self.synced(rules, now) else { return self.judge_without_source(pods) };
        let Weighed { mut standings, open, notes } = self.weigh(lists, case);
        for uid in open {
            standings.push((uid, second_observation(lists, uid, asked, is_current, rules)));
        }
        let Some(lists) = &self.lists else { return self.judge_without_source(pods) };
        let listing = &lists.last.listing;
        let unseen = listing.pods.keys().filter(|uid| !pods.contains_key(uid.as_str()));
        standings.extend(unseen.map(|uid| (uid.as_str(), Standing::Listed)));
        let mut judged = listing.to_pods();
        for (uid, standing) in &standings {
            if let Some(evidence) = pods.get(uid)
                && standing.is_proof()
            {
                self.proofs.add(uid, evidence, standing.clone());
                judged.push(Pod { uid: (*uid).into(), state: PodState::Deleted, images: Vec::new() });
            } else {
                self.proofs.void(uid);
            }
            if let Standing::Braked { since } = standing {
                self.braked.insert((*uid).into(), *since);
            }
        }
        judged.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        let failed = standings.iter().find_map(|(_, standing)| match standing {
            Standing::AskFailed(error) => Some(error),
            _ => None,
        });
        let asking_failed = failed.map(|error| {
            format!("pods that are not listed could not be asked for by name, so they are not taken for deleted: {error}")
        });
        // What is remembered as listed since the first list only grows.
        let is_long = |first: &Reading| first.listing.pods.len() > listing.pods.len() + REMEMBERED;
        let wants_list = standings.iter().any(|(_, standing)| standing.wants_list())
            || lists.first.as_ref().is_some_and(is_long);
        let state = |uid: &str, standing: &Standing| match standing {
            Standing::Runs => PodState::Active,
            proof if proof.is_proof() => PodState::Deleted,
            Standing::Listed => listing.pods.get(uid).map_or(PodState::Unknown, |(state, _)| *state),
            _ => PodState::Unknown,
        };
        let standings =
            standings.into_iter().map(|(uid, standing)| (uid.into(), state(uid, &standing), standing));
        let standings = standings.collect();
        // A pod that is not among them is not proved absent.
        let pods = Pods { synced: true, pods: judged, absent: Absent::Unknown };
        let verdict = Verdict { pods, notes, ..Verdict::default() };
        Judgement { verdict, standings, orphaned: None, asking_failed, wants_list }
    }

    /// While the source cannot be relied on: nothing is known but what runs, and no proof counts any more.
    fn judge_without_source(&mut self, pods: &HashMap<&str, Evidence<'_>>) -> Judgement {
        self.void_all();
        let standings = pods.iter().map(|(uid, evidence)| match evidence.runs {
            true => ((*uid).into(), PodState::Active, Standing::Runs),
            false => ((*uid).into(), PodState::Unknown, Standing::NoSource),
        });
        let mut standings: Vec<PodStanding> = standings.collect();
        let mut notes = Vec::new();
        let listed = if let Some(lists) = &self.lists {
            notes.push(format!(
                "the newest valid list of pods is from {:.0}, older than pods.max_staleness, so no pod counts as deleted; check \
                 the pod source",
                lists.fresh
            ));
            let unseen = lists.last.listing.pods.keys().filter(|uid| !pods.contains_key(uid.as_str()));
            standings.extend(unseen.map(|uid| (uid.clone(), PodState::Unknown, Standing::Listed)));
            lists.last.listing.to_pods()
        } else {
            // What pods named when they were last listed is still in use.
            self.named.clone().unwrap_or_default()
        };
        let pods = Pods { synced: false, pods: listed, absent: Absent::Unknown };
        let verdict = Verdict { pods, notes, ..Verdict::default() };
        Judgement { verdict, standings, wants_list: true, ..Judgement::default() }
    }

    /// The lists, if they are fresh enough to prove anything.
    fn synced(&self, rules: &Rules, now: Timestamp) -> Option<&Lists> {
        let limit = SignedDuration::try_from(rules.max_staleness).unwrap_or(SignedDuration::MAX);
        self.lists.as_ref().filter(|lists| now.duration_since(lists.fresh) <= limit)
    }

    /// Weighs all pods of which there is something.
    fn weigh<'a>(&self, lists: &Lists, case: Case<'a>) -> Weighed<'a> {
        let Case { pods, kept, rules, .. } = case;
        let mut weighed = Weighed::default();
        let mut running = pods.iter().filter(|(_, evidence)| evidence.runs).peekable();
        // The same rule that a reading is checked by, for a list that has changed since.
        let lists_none = rules.asks()
            && running.peek().is_some()
            && !running.any(|(uid, _)| lists.last.listing.pods.contains_key(*uid));
        for (uid, evidence) in pods {
            match self.stand(lists, uid, evidence, case) {
                Some(standing @ (Standing::Runs | Standing::Listed)) => {
                    weighed.standings.push((uid, standing))
                }
                _ if lists_none => weighed.standings.push((uid, Standing::ListsNoneThatRun)),
                Some(standing) => weighed.standings.push((uid, standing)),
                None => weighed.open.push(*uid),
            }
        }
        if let Kept::Unreadable(why) = kept
            && weighed.standings.iter().any(|(_, standing)| *standing == Standing::RootUnreadable)
        {
            weighed.notes.push(why.clone());
        }
        weighed.open.sort_unstable();
        self.brake(&mut weighed, case);
        weighed
    }

    /// Holds the pods that vanished all at once.
    fn brake(&self, weighed: &mut Weighed<'_>, Case { pods, rules, now, .. }: Case<'_>) {
        // What was proved before counts as removed: it is no measure for what vanishes now.
        let of = pods.len() - weighed.standings.iter().filter(|(_, standing)| standing.is_proof()).count();
        // What has been missing for long enough, or is confirmed, is believed; the brake checks the others.
        let is_sudden = |uid: &&str| {
            let since = self.braked.get(*uid);
            !self.confirmed.contains(*uid)
                && since.is_none_or(|since| now.duration_since(*since) < BRAKE_LETS_GO)
        };
        let (sudden, believed): (Vec<&str>, Vec<&str>) = weighed.open.iter().partition(|uid| is_sudden(uid));
        let share =
            sudden.len().saturating_mul(100) > of.saturating_mul(rules.max_newly_deleted_percent.into());
        // Where the API server itself says of each pod that it does not exist, a wrong list alone deletes nothing: there it
        // takes more.
        let least = if rules.asks() { 20 } else { 5 };
        if sudden.len() < least || !share || rules.confirmed {
            return;
        }
        weighed.notes.push(format!(
            "{} of {of} pods disappeared at once, more than pods.max_newly_deleted_percent = {} allows: they do not \
             count as deleted until they have been missing for 10 minutes, or until `cri-gc run-now --confirm-deleted`",
            sudden.len(),
            rules.max_newly_deleted_percent
        ));
        weighed.open = believed;
        for uid in sudden {
            let since = self.braked.get(uid).copied().unwrap_or(now);
            weighed.standings.push((uid, Standing::Braked { since }));
        }
    }

    /// How a pod stands by the rules that concern it alone; `None` if none of them keeps it.
    fn stand(
        &self,
        lists: &Lists,
        uid: &str,
        evidence: &Evidence<'_>,
        Case { kept, rules, now, .. }: Case<'_>,
    ) -> Option<Standing> {
        let is_missing = |reading: &Reading| !reading.listing.pods.contains_key(uid);
        if evidence.runs {
            return Some(Standing::Runs);
        }
        if !is_missing(&lists.last) {
            return Some(Standing::Listed);
        }
        match kept {
            Kept::Unreadable(_) => return Some(Standing::RootUnreadable),
            Kept::Of(uids) if uids.contains(uid) => return Some(Standing::Orphaned),
            Kept::Of(_) => {}
        }
        if let Some(proved) = self.proofs.hold(uid, evidence) {
            return Some(proved.clone());
        }
        let Some(first) = &lists.first else { return Some(Standing::OnlyOneList) };
        if !is_missing(first) {
            return Some(Standing::ListedLately);
        }
        if evidence.undated {
            return Some(Standing::Undated);
        }
        if !older_than(evidence, first, rules, now) {
            // Where it is not known when the clock was put back, no list helps.
            let in_future = times(evidence, rules, now).max().is_some_and(|time| time > now);
            let is_lost = in_future && rules.clock_set.is_none();
            return Some(if is_lost { Standing::InFuture } else { Standing::TooNew });
        }
        (rules.asks() && evidence.names.is_empty()).then_some(Standing::Nameless)
    }
}

/// The standing of a pod that no other rule keeps: by the list before, or by the answer to the query for it.
fn second_observation(
    lists: &Lists,
    uid: &str,
    asked: &Questions,
    is_current: bool,
    rules: &Rules,
) -> Standing {
    let Some(first) = &lists.first else { return Standing::OnlyOneList };
    let first = first.at;
    if !rules.asks() {
        return Standing::MissingTwice { first, second: lists.last.at };
    }
    match asked.answers.get(uid) {
        Some(Answer::Gone { at }) if is_current && *at >= asked.at => {
            Standing::MissingWhenAsked { first, second: *at }
        }
        Some(Answer::There) => Standing::StillThere,
        Some(Answer::Failed(error)) => Standing::AskFailed(error.clone()),
        _ => Standing::NotAsked,
    }
}

/// How new a pod is, by its timestamps. An object that the runtime listed before a live source was asked existed by then,
/// also with a timestamp in the future.
fn times(evidence: &Evidence<'_>, rules: &Rules, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let newest = evidence.newest.filter(|time| rules.source == PodSource::File || *time <= now);
    [newest, evidence.logs_changed].into_iter().flatten()
}

/// Whether all there is of the pod was created before the first reading, and listed by the runtime before it.
fn older_than(evidence: &Evidence<'_>, first: &Reading, rules: &Rules, now: Timestamp) -> bool {
    // What has a timestamp in the future was created before the clock was put back.
    let created = |time: Timestamp| if time > now { rules.clock_set.unwrap_or(time) } else { time };
    !evidence.undated
        && times(evidence, rules, now).all(|time| created(time) < first.at)
        && evidence.objects.iter().all(|id| first.objects.contains(id))
}
