//! The objects that a loop could not remove: each is tried again after a pause of its own, which doubles with each attempt (behaviour:
//! Objects that cannot be removed). It remembers and answers; what is removed is decided elsewhere.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_kit::seams::Moment;
use cri_gc_kit::supervision::backoff::Backoff;
use cri_gc_policy::Kind;
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use crate::report::Removal;

/// Objects that are remembered; what fails beside so many is tried again in each pass.
const MOST: usize = 10_000;

/// An object that could not be removed.
#[derive(Debug, Clone)]
pub struct StuckObject {
    /// Its last attempt: which object, why it is removed, and what was said.
    pub removal: Removal,
    /// When it could not be removed for the first time.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u64,
    /// When it is tried again: in the first pass from then on.
    pub next_try_at: Timestamp,
    /// The same in the time since the boot.
    next: SignedDuration,
    backoff: Backoff,
}

/// All of them, of one loop. It outlives the loop's thread, for a new one begins with [`Stuck::from`] what the supervisor knows of them.
#[derive(Debug, Default)]
pub struct Stuck(RefCell<HashMap<(Kind, EcoString), Arc<StuckObject>>>);

impl From<&[Arc<StuckObject>]> for Stuck {
    fn from(all: &[Arc<StuckObject>]) -> Self {
        let key = |object: &StuckObject| (object.removal.kind, object.removal.id.clone());
        Self(RefCell::new(all.iter().map(|object| (key(object), Arc::clone(object))).collect()))
    }
}

impl Stuck {
    /// Those that failed first come first.
    pub fn all(&self) -> Vec<Arc<StuckObject>> {
        let mut all: Vec<_> = self.0.borrow().values().cloned().collect();
        all.sort_by(|one, other| (one.since, &one.removal.id).cmp(&(other.since, &other.removal.id)));
        all
    }

    /// Whether it is too early to try that object again.
    pub fn waits(&self, kind: Kind, id: &EcoString, now: Moment) -> bool {
        self.0.borrow().get(&(kind, id.clone())).is_some_and(|object| now.boot() < object.next)
    }

    /// It could not be removed, in a pass that began then. The pause begins with that pass; `first` and `longest` bound it. Returns how
    /// often it was tried.
    pub fn failed(&self, removal: Removal, began: Moment, (first, longest): (Duration, Duration)) -> u64 {
        let objects = &mut *self.0.borrow_mut();
        let key = (removal.kind, removal.id.clone());
        let before = objects.get(&key);
        if before.is_none() && objects.len() >= MOST {
            return 1;
        }
        let (since, attempts) =
            before.map_or((began.wall(), 1), |known| (known.since, known.attempts.saturating_add(1)));
        // Bounds that were reloaded take effect.
        let mut backoff = match before {
            Some(known) => known.backoff.clone().within(first, longest),
            None => Backoff::new(first, longest),
        };
        let pause = SignedDuration::try_from(backoff.pause()).unwrap_or(SignedDuration::MAX);
        let next = began.boot().saturating_add(pause);
        let next_try_at = began.wall().saturating_add(pause).unwrap_or(Timestamp::MAX);
        let object = StuckObject { removal, since, attempts, next_try_at, next, backoff };
        objects.insert(key, Arc::new(object));
        attempts
    }

    /// It is gone.
    pub fn forget(&self, kind: Kind, id: &EcoString) {
        let objects = &mut *self.0.borrow_mut();
        if !objects.is_empty() {
            objects.remove(&(kind, id.clone()));
        }
    }

    /// These are all that there are of that kind: others are gone.
    pub fn forget_others<'a>(&self, kind: Kind, there: impl Iterator<Item = &'a str>) {
        let objects = &mut *self.0.borrow_mut();
        if objects.keys().any(|(of, _)| *of == kind) {
            let there: HashSet<&str> = there.collect();
            objects.retain(|(of, id), _| *of != kind || there.contains(id.as_str()));
        }
    }

    /// A pass that began then has tried all that it removes: what it could have tried and has not is not to be removed any more.
    pub fn forget_untried(&self, began: Moment) {
        self.0.borrow_mut().retain(|_, object| object.next > began.boot());
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::Reason;
    use cri_gc_policy::report::Item;

    use super::*;
    use crate::report::Outcome;

    const MINUTE: Duration = Duration::from_secs(60);
    const BOUNDS: (Duration, Duration) = (MINUTE, Duration::from_secs(300));

    fn removal(id: &str) -> Removal {
        let item = Item { id: id.into(), ..Item::default() };
        Removal::new(Kind::Sandbox, Reason::PodDeleted, item, Outcome::Failed { error: "busy".to_owned() })
    }

    fn at(minute: i64) -> Moment {
        Moment::new(Timestamp::UNIX_EPOCH, SignedDuration::from_mins(minute))
    }

    #[test]
    fn an_object_is_tried_after_pauses_that_double_and_never_holds_up_another() {
        let stuck = Stuck::default();
        let mut tried = Vec::new();
        for minute in 0..20 {
            if !stuck.waits(Kind::Sandbox, &"a".into(), at(minute)) {
                assert_eq!(stuck.failed(removal("a"), at(minute), BOUNDS), tried.len() as u64 + 1);
                tried.push(minute);
            }
            assert!(!stuck.waits(Kind::Sandbox, &"b".into(), at(minute)));
            assert!(!stuck.waits(Kind::Container, &"a".into(), at(minute)), "it is another object");
        }
        assert_eq!(tried, [0, 1, 3, 7, 12, 17]);
        // A shorter bound that is reloaded is in force from the next attempt on.
        stuck.failed(removal("a"), at(22), (MINUTE, 2 * MINUTE));
        assert!(
            stuck.waits(Kind::Sandbox, &"a".into(), at(23))
                && !stuck.waits(Kind::Sandbox, &"a".into(), at(24))
        );
    }

    #[test]
    fn what_is_gone_or_kept_is_forgotten() {
        let names = |stuck: &Stuck| -> Vec<String> {
            stuck.all().iter().map(|object| object.removal.id.to_string()).collect()
        };
        let stuck = Stuck::default();
        for id in ["a", "b", "c"] {
            stuck.failed(removal(id), at(0), BOUNDS);
        }
        stuck.forget_others(Kind::Container, ["x"].into_iter());
        stuck.forget_others(Kind::Sandbox, ["a", "b", "x"].into_iter());
        assert_eq!(names(&stuck), ["a", "b"]);
        stuck.forget(Kind::Sandbox, &"a".into());
        // A thread that takes the place of another one continues with them.
        let stuck = Stuck::from(&*stuck.all());
        stuck.forget_untried(at(0));
        assert_eq!(names(&stuck), ["b"], "it is too early for it");
        stuck.forget_untried(at(1));
        assert_eq!(names(&stuck), [""; 0]);
    }

    #[test]
    fn no_more_than_a_number_are_remembered() {
        let stuck = Stuck::default();
        for number in 0..MOST + 10 {
            stuck.failed(removal(&number.to_string()), at(0), BOUNDS);
        }
        assert_eq!(stuck.all().len(), MOST);
        assert_eq!(stuck.failed(removal("5"), at(1), BOUNDS), 2);
    }
}
