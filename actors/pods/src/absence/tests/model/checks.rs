//! What is checked once nothing is wrong any more: what the steps of the model alone can't show.

use std::collections::HashSet;

use cri_gc_policy::PodState;
use ecow::EcoString;

use super::*;

impl Model {
    /// Nothing is wrong any more, and the node is left alone for so long.
    pub(super) fn pass_calmly(&mut self, seconds: i64) {
        for tenth in 0..seconds / 10 {
            self.world.now += 10_000;
            self.source.write(&self.world);
            self.api_notes();
            if tenth % 6 == 0 {
                self.bookmark();
                let mut session = Session::default();
                while !self.advance(&mut session, true) {}
            }
            self.source_does();
            self.world.now += 100;
            self.source_does();
        }
    }

    pub(super) fn calm_down(&mut self) {
        for mut session in std::mem::take(&mut self.sessions) {
            while !self.advance(&mut session, false) {}
        }
        self.source.is_down = false;
        self.source.hangs = false;
        self.source.lie = Lie::default();
        self.source.lies_once = false;
        self.unreadable = false;
        self.world.only_static = false;
        self.trail("calm");
    }

    /// What a collector itself removed of a pod is no sign of life: by a file that is not written again, the pod counts as
    /// deleted after each restart of the service.
    pub(super) fn check_own_changes(&mut self) {
        if self.source.kind != Kind::File {
            return;
        }
        self.calm_down();
        self.world.settle();
        self.world.is_quiet = true;
        // The clock may have been put back by less than is noticed.
        self.world.now += 30_000;
        self.source.write(&self.world);
        let mut before: Option<HashSet<EcoString>> = None;
        for _ in 0..3 {
            self.restart_provider(None);
            self.since = self.world.moment();
            self.source.reading = None;
            for _ in 0..2 {
                self.world.now += 2000;
                self.source_does();
                self.source_does();
            }
            let mut session = Session::default();
            // Not all that could be removed is.
            while !self.advance(&mut session, false) {}
            let has_logs = !session.seen.log_dirs.is_empty();
            let deleted = |(_, (state, _)): &(&EcoString, &(PodState, Standing))| *state == PodState::Deleted;
            let deleted: HashSet<EcoString> =
                self.last.iter().filter(deleted).map(|(uid, _)| uid.clone()).collect();
            let braked = self.last.values().any(|(_, by)| matches!(by, Standing::Braked { .. }));
            if !braked && has_logs {
                for uid in before.iter().flatten().filter(|uid| self.world.has_objects(uid)) {
                    let now = self.last.get(uid);
                    assert!(deleted.contains(uid), "{uid} was deleted before the restart, and now: {now:?}");
                }
            }
            before = has_logs.then_some(deleted);
        }
        self.world.is_quiet = false;
    }

    /// The second invariant: no deleted pod is left over for ever.
    pub(super) fn check_nothing_is_left(&mut self) {
        self.calms += 1;
        self.calm_down();
        self.world.settle();
        self.world.is_quiet = true;
        self.pass_calmly(35 * 60);
        self.world.is_quiet = false;
        let (sandboxes, containers, log_dirs) =
            (self.world.list_sandboxes(), self.world.list_containers(), self.world.list_log_dirs());
        let seen = Seen { sandboxes, containers, log_dirs };
        let orphans: HashSet<EcoString> = self.world.dirs.keys().filter(|_| self.dirs).cloned().collect();
        let now = self.world.wall();
        for (uid, evidence) in by_pod(&seen) {
            let pod = self.world.pods.iter().find(|pod| pod.uid == uid);
            let lives =
                pod.is_some_and(|pod| pod.manifest || pod.in_api.is_some() || pod.in_kubelet.is_some());
            let stands = self.last.get(uid).cloned();
            if lives || stands.as_ref().is_some_and(|(state, _)| *state == PodState::Deleted) {
                continue;
            }
            let is_excused = match &stands {
                Some((_, Standing::Orphaned)) => {
                    let notes = self.mind.borrow().memory.leftovers.notes(now);
                    orphans.contains(uid)
                        && notes.iter().any(|note| note.contains("orphaned") && note.contains(uid))
                }
                Some((_, Standing::Undated)) => evidence.undated,
                Some((_, Standing::Nameless)) => self.source.kind == Kind::Api && evidence.names.is_empty(),
                // The clock was put back: its timestamp has passed right now, or is in the future, and the service was
                // restarted since and does not know. Of objects the live sources need not know.
                Some((_, Standing::TooNew | Standing::InFuture)) => {
                    let knows = self.mind.borrow().memory.clock_set.is_some();
                    let is_live = self.source.kind != Kind::File;
                    let is_lost = |time: Timestamp| time > now - PASSES && !(knows && time > now);
                    let newest = evidence.newest.filter(|time| !(is_live && *time > now));
                    [newest, evidence.logs_changed].into_iter().flatten().any(is_lost)
                }
                _ => false,
            };
            assert!(is_excused, "{uid} is left: {stands:?} {evidence:?}");
        }
    }

    /// A third thing: where the source lies for less than ten minutes by lists and by answers, and there are no directories
    /// either, the brake holds the living pods, or that some of them run.
    pub(super) fn check_vanished(&mut self) {
        if self.dirs {
            return;
        }
        self.calm_down();
        let runs = self.world.chance.of_thousand(500);
        // Where each pod is queried, the brake holds more of them.
        if self.source.kind == Kind::Api && self.world.chance.of_thousand(300) {
            self.world.crowd();
        }
        if !runs {
            self.world.reboot();
        }
        self.pass_calmly(240);
        let seen = Seen {
            sandboxes: self.world.list_sandboxes(),
            containers: self.world.list_containers(),
            log_dirs: self.world.list_log_dirs(),
        };
        let pods = by_pod(&seen);
        let lives = |uid: &str| self.listed_since(uid).is_some();
        let hidden: HashSet<EcoString> =
            pods.keys().filter(|uid| lives(uid)).map(|uid| EcoString::from(*uid)).collect();
        // These would count as deleted without the brake.
        let is_api = self.source.kind == Kind::Api;
        let soon = self.world.wall() - PASSES;
        let is_idle = |pod: &Evidence<'_>| {
            let is_old = pod.newest < Some(soon) && pod.logs_changed < Some(soon);
            let is_named = !is_api || !pod.names.is_empty();
            is_old && is_named && !pod.runs && !pod.undated
        };
        let (idle, all) = (hidden.iter().filter(|uid| is_idle(&pods[uid.as_str()])).count(), pods.len());
        let runs = runs && hidden.iter().any(|uid| pods[uid.as_str()].runs);
        // What runs protects the others where a list of all of it came before.
        let is_steady = !is_api || matches!(self.source.follower, Follower::Watching { .. });
        let from = if is_api { 20 } else { 5 };
        if !(runs && is_steady || idle >= from && idle * 2 > all) || self.mind.borrow().all_known_at == 0 {
            return;
        }
        self.vanished += 1;
        self.trail(&format!("all vanish: {hidden:?}"));
        self.source.lie = Lie { hides: hidden, answers_too: true };
        // The API server reports it by its watch.
        self.world.version += 1;
        self.pass_calmly(9 * 60);
        if self.world.chance.of_thousand(500) {
            // A loss starts the ten minutes over.
            self.lose();
            self.pass_calmly(8 * 60);
        }
        self.source.lie = Lie::default();
        self.world.version += 1;
        self.pass_calmly(90);
    }
}
