//! The proof of absence (behaviour: Confirmed deletion) for sources that list pods: what two good looks in a row allow to be called deleted.
//!
//! Pure: the provider gives it the lists, the answers about single pods, the evidence and the time. Every doubt keeps: there
//! is one way to [`Standing::ProvedAbsent`], through all the rules of [`Absence::stand`], the brake and the second look.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_policy::{Pod, PodState, Pods};
use jiff::{SignedDuration, Timestamp};

use super::evidence::Evidence;
use super::listing::Listing;
use super::proofs::Proofs;
use super::standing::Standing;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// One good reading of the source.
#[derive(Debug, Clone)]
pub struct Sync {
    /// As of when it counts: a file, as of its modification time; a question, as of when it was sent.
    pub at: Timestamp,
    /// What it listed.
    pub listing: Listing,
    /// Ids of all containers and sandboxes that the runtime listed right before it.
    pub objects: HashSet<String>,
}

/// How the second look at a pod is made that a list lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Second {
    /// By the list before: two in a row.
    #[default]
    List,
    /// By asking for the pod itself; the list is kept up to date by a watch.
    Ask,
}

impl Second {
    /// The brake takes hold from this many pods on. Where the API server itself says of each pod that it is not there, a
    /// wrong list alone deletes nothing: there it takes more.
    fn brake_from(self) -> usize {
        match self {
            Self::List => 5,
            Self::Ask => 20,
        }
    }
}

/// What the operator asks of a proof, and what the source needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How old the last sync may be.
    pub max_staleness: Duration,
    /// More than this share of the node's pods are not believed to be deleted all at once; 100 believes it.
    pub max_newly_deleted_percent: u8,
    /// The administrator has confirmed that many are deleted at once.
    pub confirmed: bool,
    /// How the second look is made.
    pub second: Second,
    /// Whether a sync counts as of when the source was asked, rather than as of when somebody wrote it.
    pub is_live: bool,
    /// When the clock was set last. Something that was created later than now was there by then.
    pub clock_set: Option<Timestamp>,
}

/// The pods that a kubelet still has a directory of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of them, by UID.
    Of(HashSet<String>),
    /// It can't be told, for this reason: any pod may be one of them.
    Unreadable(String),
}

/// The answer to the question for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(any(test, feature = "kubernetes")),
    expect(dead_code, reason = "only the source kube-api asks")
)]
pub enum Answer {
    /// There is none of that name, or it has another UID.
    Gone {
        /// When it was asked.
        at: Timestamp,
    },
    /// It is there.
    There,
    /// It could not be asked for. Others may be.
    Failed(String),
    /// Nobody answers: others could not be asked for either.
    Away(String),
}

/// For so long all syncs have to lack the pods that the brake holds, before they count as deleted.
pub const BRAKE_LETS_GO: SignedDuration = SignedDuration::from_mins(10);

/// So many pods may have come and gone since a list before a new one is wanted.
const REMEMBERED: usize = 1_000;

/// The second look is made so long after the first one at the earliest (behaviour: Confirmed deletion).
pub const APART: SignedDuration = SignedDuration::from_secs(2);

/// The good lists in a row.
#[derive(Debug)]
struct Lists {
    first: Option<Sync>,
    last: Sync,
    /// As of when the last one still holds: it is kept up to date by a watch, or as old as it is.
    fresh: Timestamp,
}

/// The last good lists, and what they proved.
#[derive(Debug, Default)]
pub struct Absence {
    lists: Option<Lists>,
    proofs: Proofs,
    /// Pods that would count as deleted but for the brake, and since when all syncs have lacked them.
    braked: HashMap<String, Timestamp>,
    /// Pods of which an administrator says that they are deleted: for these there is no brake. Every other rule is in force,
    /// and a sighting voids it.
    confirmed: HashSet<String>,
    /// Pods that are being asked for, since when, and answers that no list and no event has contradicted since.
    asked: HashMap<String, Timestamp>,
    answers: HashMap<String, Answer>,
    listed: bool,
    /// The pods of the last good sync that name images: these count as used even while the source is away.
    named: Vec<Pod>,
}

/// What the source says, and what an operator should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The states.
    pub pods: Pods,
    /// By which evidence, for every pod of which there is something, or that the source lists.
    pub standings: Vec<(String, PodState, Standing)>,
    /// Why less is collected than could be expected.
    pub notes: Vec<String>,
    /// Why pods could not be asked for by name, if that is so.
    pub asking_failed: Option<String>,
    /// Whether a newer list could prove more.
    pub wants_list: bool,
}

/// How the pods stand that the source lacks, before those are proved that nothing speaks against.
struct Weighed<'a> {
    standings: Vec<(&'a str, Standing)>,
    /// Nothing speaks against these but that a second look may be missing.
    open: Vec<&'a str>,
    notes: Vec<String>,
}

impl Absence {
    /// A good sync, after the one before.
    pub fn synced(&mut self, sync: Sync) {
        self.sight(&sync.listing);
        let first = self.lists.take().map(|lists| lists.last);
        self.lists = Some(Lists { first, fresh: sync.at, last: sync });
    }

    /// A good list, from which on a watch tells what changes: the first look. The last is what the watch makes of it.
    pub fn listed(&mut self, sync: Sync) {
        self.sight(&sync.listing);
        // An answer counts as the second look only if it came after the list.
        self.forget_answers();
        self.lists = Some(Lists { first: Some(sync.clone()), fresh: sync.at, last: sync });
    }

    /// The watch has told: what is listed now, if it has changed. Told while there is no list, it is of no use.
    pub fn heard(&mut self, changed: Option<Listing>, now: Timestamp) {
        if self.lists.is_none() {
            return;
        }
        if let Some(listing) = &changed {
            self.sight(listing);
        }
        if let Some(lists) = &mut self.lists {
            lists.fresh = lists.fresh.max(now);
            if let Some(listing) = changed {
                // What was sighted since the first look was not looked at twice in a row.
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
            self.asked.remove(uid);
            self.answers.remove(uid);
        }
        self.listed = true;
        let naming = listing.pods.iter().filter(|(_, (_, images))| !images.is_empty());
        self.named = naming
            .map(|(uid, (_, images))| Pod {
                uid: uid.clone(),
                state: PodState::Unknown,
                images: images.clone(),
            })
            .collect();
    }

    /// The answer to a question of [`Self::questions`]. It is of no use if the pod was sighted or the source lost meanwhile,
    /// even if somebody else asks for the pod again; but that it is there is a sighting, whoever asked.
    pub fn answered(&mut self, uid: String, answer: Answer) {
        let since = self.asked.remove(&uid);
        if answer == Answer::There {
            self.proofs.void(&uid);
        }
        let counts = match &answer {
            Answer::Gone { at } => since.is_some_and(|since| *at >= since),
            Answer::There => true,
            Answer::Failed(_) | Answer::Away(_) => since.is_some(),
        };
        if counts {
            self.answers.insert(uid, answer);
        } else if let Some(since) = since {
            // That was the answer to an older question: the one that counts is still to come.
            self.asked.insert(uid, since);
        }
    }

    fn forget_answers(&mut self) {
        self.asked.clear();
        self.answers.clear();
    }

    /// An administrator says that these pods are deleted indeed, also those whose proof is still to come, and those that the
    /// brake holds. Gives back how many the brake holds.
    pub fn confirm(&mut self, missing: impl IntoIterator<Item = String>) -> usize {
        self.confirmed.extend(missing);
        self.confirmed.extend(self.braked.keys().cloned());
        self.braked.len()
    }

    /// The images that pods name which are not finished, by the last good sync; while the source is away, all that pods named.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let Some(lists) = &self.lists else {
            return self.named.iter().flat_map(|pod| pod.images.iter().cloned()).collect();
        };
        let living = lists.last.listing.pods.values();
        let living = living.filter(|(state, _)| matches!(state, PodState::Active | PodState::Unknown));
        living.flat_map(|(_, images)| images.iter().cloned()).collect()
    }

    /// Whether the source was ever read.
    #[must_use]
    pub fn has_listing(&self) -> bool {
        self.listed
    }

    /// Whether the source can prove anything now, and as of when its last good list holds.
    #[must_use]
    pub fn synced_at(&self, rules: &Rules, now: Timestamp) -> (bool, Option<Timestamp>) {
        let Some(lists) = &self.lists else { return (false, None) };
        (lists.first.is_some() && !lists.is_stale(rules.max_staleness, now), Some(lists.fresh))
    }

    /// A sync failed: two in a row have to be made anew.
    pub fn failed(&mut self) {
        self.lists = None;
        self.void_all();
    }

    fn void_all(&mut self) {
        self.proofs.void_all();
        self.braked.clear();
        self.forget_answers();
    }

    /// The pods to ask for by name before [`Self::judge`] can call them deleted. Each is to be answered.
    pub fn questions(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Vec<String> {
        let first = self.lists.as_ref().and_then(|lists| lists.first.as_ref());
        let is_due = first.is_some_and(|first| now.duration_since(first.at) >= APART);
        if rules.second != Second::Ask || !is_due {
            return Vec::new();
        }
        let open = self.weigh(pods, kept, rules, now).open;
        let unanswered = |uid: &&str| !matches!(self.answers.get(*uid), Some(Answer::Gone { .. }));
        let open: Vec<String> = open.into_iter().filter(unanswered).map(ToOwned::to_owned).collect();
        // Collectors ask at the same time: the first one's answer is as good as the next one's.
        let before = std::mem::take(&mut self.asked);
        let since = |uid: &String| (uid.clone(), before.get(uid).copied().unwrap_or(now));
        self.asked = open.iter().map(since).collect();
        open
    }

    /// The state of every pod.
    pub fn judge(
        &mut self,
        pods: &HashMap<&str, Evidence<'_>>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Judgement {
        let Weighed { mut standings, open, notes } = self.weigh(pods, kept, rules, now);
        let Some(lists) = &self.lists else {
            // What pods named when they were last listed is still held; of nothing else is anything known.
            let held = Pods { pods: self.named.clone(), ..Pods::default() };
            return Judgement {
                pods: held,
                standings: with_states(standings, &[]),
                notes,
                asking_failed: None,
                wants_list: true,
            };
        };
        for uid in open {
            let (Some(evidence), Some(first)) = (pods.get(uid), &lists.first) else { continue };
            let proved = |second, asked| Standing::ProvedAbsent { first: first.at, second, asked };
            let standing = match (rules.second, self.answers.get(uid)) {
                (Second::List, _) => proved(lists.last.at, false),
                (Second::Ask, Some(Answer::Gone { at })) => proved(*at, true),
                (Second::Ask, Some(Answer::There)) => Standing::StillThere,
                (Second::Ask, Some(Answer::Failed(error) | Answer::Away(error))) => {
                    Standing::AskFailed(error.clone())
                }
                (Second::Ask, None) => Standing::NotAsked,
            };
            if matches!(standing, Standing::ProvedAbsent { .. }) {
                self.proofs.add(uid, evidence, standing.clone());
            }
            standings.push((uid, standing));
        }
        let mut judged: Vec<Pod> = Vec::with_capacity(lists.last.listing.pods.len());
        for (uid, (state, images)) in &lists.last.listing.pods {
            judged.push(Pod { uid: uid.clone(), state: *state, images: images.clone() });
            if !pods.contains_key(uid.as_str()) {
                standings.push((uid, Standing::Listed));
            }
        }
        for (uid, standing) in &standings {
            if matches!(standing, Standing::ProvedAbsent { .. }) {
                let uid = (*uid).to_owned();
                judged.push(Pod { uid, state: PodState::Deleted, images: Vec::new() });
            } else {
                self.proofs.void(uid);
            }
        }
        // They were the second look at what there was by now. What was not proved by them is asked for again.
        self.answers.clear();
        let failed = standings.iter().find_map(|(_, standing)| match standing {
            Standing::AskFailed(error) => Some(error),
            _ => None,
        });
        let asking_failed = failed.map(|error| {
            format!("pods that are not listed could not be asked for by name, so they are not taken for deleted: {error}")
        });
        judged.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        let synced = !lists.is_stale(rules.max_staleness, now);
        // What is remembered as sighted since the first list only grows.
        let is_long = |first: &Sync| first.listing.pods.len() > lists.last.listing.pods.len() + REMEMBERED;
        let wants_list = !synced
            || standings.iter().any(|(_, standing)| standing.wants_list())
            || lists.first.as_ref().is_some_and(is_long);
        let standings = with_states(standings, if synced { &judged } else { &[] });
        // Whoever is not among them is not proved absent.
        Judgement {
            pods: Pods { synced, pods: judged, absent: PodState::Unknown },
            standings,
            notes,
            asking_failed,
            wants_list,
        }
    }

    /// Weighs all pods of which there is something. The open ones are not among the standings.
    fn weigh<'a>(
        &mut self,
        pods: &HashMap<&'a str, Evidence<'_>>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Weighed<'a> {
        self.proofs.forget_all_but(pods);
        let lists = match &self.lists {
            Some(lists) if !lists.is_stale(rules.max_staleness, now) => lists,
            lost => {
                let stale = |lists: &Lists| {
                    format!(
                        "the last good list of pods counts as of {}, too old for pods.max_staleness",
                        lists.fresh
                    )
                };
                let notes = lost.iter().map(stale).collect();
                self.void_all();
                let standings = pods.iter().map(|(uid, evidence)| (*uid, no_source(evidence))).collect();
                return Weighed { standings, open: Vec::new(), notes };
            }
        };
        let mut weighed =
            Weighed { standings: Vec::with_capacity(pods.len()), open: Vec::new(), notes: Vec::new() };
        let runs: Vec<&str> =
            pods.iter().filter(|(_, evidence)| evidence.runs).map(|(uid, _)| *uid).collect();
        // The same rule that a reading is held against, for a list that has changed since (behaviour: Confirmed deletion, 3).
        let lists_none = rules.second == Second::Ask
            && !runs.is_empty()
            && !runs.iter().any(|uid| lists.last.listing.pods.contains_key(*uid));
        let mut open = Vec::new();
        for (uid, evidence) in pods {
            match self.stand(lists, uid, evidence, kept, rules, now) {
                Some(standing @ (Standing::Runs | Standing::Listed)) => {
                    weighed.standings.push((uid, standing))
                }
                _ if lists_none => weighed.standings.push((uid, Standing::ListsNoneThatRun)),
                Some(standing) => weighed.standings.push((uid, standing)),
                None => open.push(*uid),
            }
        }
        if let Kept::Unreadable(why) = kept
            && weighed.standings.iter().any(|(_, standing)| *standing == Standing::RootUnreadable)
        {
            weighed.notes.push(why.clone());
        }
        open.sort_unstable();
        // What was proved before is as good as gone: it is no measure for what vanishes now.
        let proved = |(_, standing): &&(&str, Standing)| matches!(standing, Standing::ProvedAbsent { .. });
        let of = pods.len() - weighed.standings.iter().filter(proved).count();
        weighed.open = self.brake(open, of, rules, now, &mut weighed);
        self.braked.retain(|uid, _| pods.contains_key(uid.as_str()));
        self.confirmed.retain(|uid| pods.contains_key(uid.as_str()));
        self.answers.retain(|uid, _| pods.contains_key(uid.as_str()));
        weighed
    }

    /// Holds what vanished all at once; gives back the others.
    fn brake<'a>(
        &mut self,
        open: Vec<&'a str>,
        of: usize,
        rules: &Rules,
        now: Timestamp,
        weighed: &mut Weighed<'a>,
    ) -> Vec<&'a str> {
        // What was never listed again for long enough, or is confirmed, is believed; the brake looks at the others.
        let (mut believed, sudden): (Vec<&str>, Vec<&str>) = open.into_iter().partition(|uid| {
            let lacked_since = self.braked.get(*uid);
            self.confirmed.contains(*uid)
                || lacked_since.is_some_and(|since| now.duration_since(*since) >= BRAKE_LETS_GO)
        });
        let share =
            sudden.len().saturating_mul(100) > of.saturating_mul(rules.max_newly_deleted_percent.into());
        if sudden.len() < rules.second.brake_from() || !share || rules.confirmed {
            believed.extend(sudden);
            believed.sort_unstable();
            return believed;
        }
        weighed.notes.push(format!(
            "{} of {of} pods would count as deleted all at once, more than pods.max_newly_deleted_percent = {} allows: none \
             does before the source has lacked them for 10 minutes, or that is confirmed (--confirm-deleted)",
            sudden.len(),
            rules.max_newly_deleted_percent
        ));
        for uid in sudden {
            let since = *self.braked.entry(uid.to_owned()).or_insert(now);
            weighed.standings.push((uid, Standing::Braked { since }));
        }
        believed
    }

    /// How a pod stands by the rules that look at it alone (behaviour: Confirmed deletion); `None` if nothing speaks against its being deleted.
    fn stand(
        &self,
        lists: &Lists,
        uid: &str,
        evidence: &Evidence<'_>,
        kept: &Kept,
        rules: &Rules,
        now: Timestamp,
    ) -> Option<Standing> {
        let lacks = |sync: &Sync| !sync.listing.pods.contains_key(uid);
        if evidence.runs {
            return Some(Standing::Runs);
        }
        if !lacks(&lists.last) {
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
        if !lacks(first) {
            return Some(Standing::ListedLately);
        }
        if evidence.undated {
            return Some(Standing::Undated);
        }
        if !older_than(evidence, first, rules, now) {
            // Where it is not known when the clock was put back, no list helps.
            let to_come = times(evidence, rules, now).max().is_some_and(|time| time > now);
            let is_lost = to_come && rules.clock_set.is_none();
            return Some(if is_lost { Standing::FromTheFuture } else { Standing::TooNew });
        }
        (rules.second == Second::Ask && evidence.names.is_empty()).then_some(Standing::Nameless)
    }
}

impl Lists {
    /// Whether they are too old to prove anything.
    fn is_stale(&self, max_staleness: Duration, now: Timestamp) -> bool {
        SignedDuration::try_from(max_staleness).is_ok_and(|limit| now.duration_since(self.fresh) > limit)
    }
}

/// How a pod stands while the source can't be relied on.
fn no_source(evidence: &Evidence<'_>) -> Standing {
    if evidence.runs { Standing::Runs } else { Standing::NoSource }
}

/// The states that go with the standings: those that were judged, sorted by UID.
fn with_states(standings: Vec<(&str, Standing)>, judged: &[Pod]) -> Vec<(String, PodState, Standing)> {
    let state = |uid: &str, standing: &Standing| match standing {
        Standing::Runs => PodState::Active,
        _ => judged
            .binary_search_by(|pod| pod.uid.as_str().cmp(uid))
            .ok()
            .and_then(|place| judged.get(place))
            .map_or(PodState::Unknown, |pod| pod.state),
    };
    standings.into_iter().map(|(uid, standing)| (uid.to_owned(), state(uid, &standing), standing)).collect()
}

/// The times that tell how new a pod is. An object that the runtime listed before a live source was asked was there by then,
/// also if it bears a time to come.
fn times(evidence: &Evidence<'_>, rules: &Rules, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let newest = evidence.newest.filter(|time| !rules.is_live || *time <= now);
    [newest, evidence.logs_changed].into_iter().flatten()
}

/// Whether all there is of the pod was created before the first sync, and listed by the runtime before it.
fn older_than(evidence: &Evidence<'_>, first: &Sync, rules: &Rules, now: Timestamp) -> bool {
    // What bears a time to come was created before the clock was put back.
    let created = |time: Timestamp| if time > now { rules.clock_set.unwrap_or(time) } else { time };
    !evidence.undated
        && times(evidence, rules, now).all(|time| created(time) < first.at)
        && evidence.objects.iter().all(|id| first.objects.contains(*id))
}
