//! Which objects of a plan are meant, and in which order: the flags `--loop`, `--reason`, `--namespace` and `--sort`. It decides about
//! no object.

use std::cmp::Reverse;

use cri_gc_kit::words::Loop;
use cri_gc_policy::report::{Item, Only, SectionReport};
use cri_gc_policy::{Kind, PlanReport, naming};

use super::setup::loops;
use crate::cli::{Plan, Sort};

/// The kinds of a plan, in its order.
const KINDS: [Kind; 4] = [Kind::Container, Kind::Sandbox, Kind::LogDir, Kind::Image];

/// Which objects are meant.
pub struct Selection<'a> {
    loops: Vec<String>,
    reasons: &'a [String],
    namespaces: &'a [String],
    sort: Option<Sort>,
}

impl<'a> Selection<'a> {
    /// That of the command line.
    #[must_use]
    pub fn of(args: &'a Plan) -> Self {
        let (reasons, namespaces) = (&args.reasons, &args.namespaces);
        Self { loops: loops(&args.loops), reasons, namespaces, sort: args.sort }
    }

    /// The kinds of which there may be objects that are meant.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let is_meant = |kind: &Kind| {
            let of = Loop::of(*kind);
            let is_named = self.loops.is_empty() || self.loops.iter().any(|name| name == of.as_str());
            // As `kubectl get --namespace`: what has no namespace is in none.
            is_named && (self.namespaces.is_empty() || *kind != Kind::Image)
        };
        KINDS.into_iter().filter(is_meant).collect()
    }

    /// Keeps what is meant, in the order that is meant.
    pub fn apply(&self, plan: &mut PlanReport) {
        let kinds = self.kinds();
        let sections = [
            (Kind::Container, &mut plan.containers),
            (Kind::Sandbox, &mut plan.sandboxes),
            (Kind::LogDir, &mut plan.log_dirs),
            (Kind::Image, &mut plan.images.section),
        ];
        for (kind, section) in sections {
            section.retain(|item| kinds.contains(&kind) && self.has(kind, item));
            self.sort(section);
        }
        let (reasons, namespaces) = (self.reasons.to_vec(), self.namespaces.to_vec());
        let only = Only { loops: self.loops.clone(), reasons, namespaces };
        plan.only = (only != Only::default()).then_some(only);
    }

    /// Whether only some reasons are meant.
    #[must_use]
    pub fn is_by_reason(&self) -> bool {
        !self.reasons.is_empty()
    }

    fn has(&self, kind: Kind, item: &Item) -> bool {
        let is_in = |namespace: &str| self.namespaces.iter().any(|known| known == namespace);
        (self.reasons.is_empty() || self.reasons.contains(&item.reason))
            && (self.namespaces.is_empty() || naming::namespace(kind, &item.name).is_some_and(is_in))
    }

    fn sort(&self, section: &mut SectionReport) {
        let Some(sort) = self.sort else { return };
        for items in [&mut section.remove, &mut section.follow, &mut section.keep] {
            match sort {
                Sort::Size => items.sort_by_key(|item| Reverse(item.size_bytes)),
                // Those without an age come last.
                Sort::Age => items.sort_by_key(|item| (item.since().is_none(), item.since())),
                Sort::Name => items.sort_by(|one, other| one.name.cmp(&other.name)),
                Sort::Reason => items.sort_by(|one, other| one.reason.cmp(&other.reason)),
            }
        }
    }

    /// The objects that are meant, in words; `None`: all.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let parts = [
            ("of", "and", self.loops.as_slice()),
            ("with reason", "or", self.reasons),
            ("in namespace", "or", self.namespaces),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, _, words)| !words.is_empty())
            .map(|(of, join, words)| format!("{of} {}", words.join(&format!(" {join} "))))
            .collect();
        (!parts.is_empty()).then(|| format!("objects {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sorted_by_size_or_age_begins_with_the_largest_or_oldest() {
        let item = |id: &str, size: Option<u64>, created: Option<&str>| Item {
            id: id.into(),
            size_bytes: size,
            created_at: created.map(|time| time.parse().unwrap()),
            ..Item::default()
        };
        let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
        let sorted = |sort| {
            let items = vec![item("a", None, None), item("b", Some(1), new), item("c", Some(7), old)];
            let mut section = SectionReport { remove: items, ..SectionReport::default() };
            Selection { loops: Vec::new(), reasons: &[], namespaces: &[], sort }.sort(&mut section);
            section.remove.into_iter().map(|item| item.id.to_string()).collect::<String>()
        };
        assert_eq!(sorted(None), "abc");
        assert_eq!(sorted(Some(Sort::Size)), "cba");
        assert_eq!(sorted(Some(Sort::Age)), "cba");
    }
}
