//! The log directories, which the service removes without the runtime: what is gone of them is found when time has passed.

use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{ContainerState, Node};

use super::State;

impl State {
    /// Judges what is gone since the last look.
    pub(super) fn look_at_files(&mut self, node: &Node) {
        let now = self.sim.uptime();
        let entries = std::fs::read_dir(&node.paths.pod_logs_root).unwrap();
        let there: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let before = std::mem::take(&mut self.directories);
        for (name, seen) in &before {
            if !there.contains(name) {
                self.since_look = now.saturating_sub(*seen);
                self.removed_directory(node, name, *seen);
                self.removed[3] += 1;
            }
        }
        self.since_look = Duration::ZERO;
        self.directories = there.into_iter().map(|name| (name, now)).collect();
        for (id, log) in std::mem::take(&mut self.logs) {
            let runs = node.container(&id).is_some_and(|c| c.spec.state == ContainerState::Running);
            if runs && !log.exists() {
                self.violated(format!("{} is removed, and its container {id} runs", log.display()));
            }
        }
        let running =
            node.containers().filter(|c| c.spec.state == ContainerState::Running && c.log_path.exists());
        self.logs = running.map(|c| (c.id.clone(), c.log_path.clone())).collect();
    }

    /// A log directory is gone that was there at `seen`.
    fn removed_directory(&mut self, node: &Node, name: &str, seen: Duration) {
        let what = format!("the log directory {name} is removed");
        let uid = match name.split('_').collect::<Vec<_>>()[..] {
            [_, _, uid] | [uid] if is_uid(uid) => uid.to_owned(),
            _ => return self.violated(format!("{what}, and it is none of a pod")),
        };
        let known = node.sandboxes().filter(|sandbox| sandbox.spec.uid == uid).map(|sandbox| &sandbox.id);
        let known: Vec<&String> = known.collect();
        // What came after the look before may have come after the removal.
        if let Some(id) = known.into_iter().find(|id| self.appeared.get(*id).is_none_or(|at| *at < seen)) {
            return self.violated(format!("{what}, and the runtime has sandbox {id} of its pod"));
        }
        let life = self.life.since;
        let enforces = |this: &Self, settings: &Settings| this.may_remove(settings, Loop::LogGc);
        self.check(&what, &[&uid], enforces, |this, settings| {
            if life > seen { Ok(()) } else { this.is_gone(node, settings, &uid) }
        });
    }
}

/// Whether that is the UID of a pod, as a kubelet writes it.
pub fn is_uid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte == b'-' || matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
