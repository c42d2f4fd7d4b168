//! Judges what a collector saw, by the source that the settings name: fetches what the pure parts need, and asks them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cri_gc_config::{PodSource, Settings};
use futures_util::StreamExt;
use slog::warn;
use tokio::time::{Instant, timeout_at};

use super::absence::{Answer, Judgement, Kept};
use super::evidence::{Evidence, by_pod};
use super::kube_source;
use super::memory::Memory;
use super::reading::{ANSWER_WITHIN, Reader};
use super::runtime_source::FinishTimes;
use super::{Configure, Seen, Verdict};
use cri_gc_gateway::ErrorClass;

/// How long all questions of one judgement may take; the others wait for the next one.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// Where nobody answers, nobody is asked for so long: those who wait for a judgement would wait one after another.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Questions for single pods in flight: the API server has other nodes as well.
const PARALLEL_ASKS: usize = 4;

impl Reader {
    /// By the source `runtime`.
    pub async fn judge_by_runtime(
        &self,
        seen: &Seen,
        configuration: &Configure,
        memory: &RefCell<Memory>,
    ) -> Verdict {
        let settings = &configuration.settings.pods;
        let now = self.clock.now();
        let evidence = by_pod(seen);
        let returns = if configuration.service { Some(self.gateway.returns().await) } else { None };
        let wanted: Vec<String> = {
            let memory = &mut *memory.borrow_mut();
            if memory.returns != returns {
                memory.returns = returns;
                memory.runtime.watch_anew(now);
            }
            memory.runtime.sight(&evidence, now);
            let listed: HashSet<&str> = seen.containers.iter().map(|c| c.id.as_str()).collect();
            memory.finished.retain(|id, _| listed.contains(id.as_str()));
            let wanted = memory.runtime.wanted(&evidence, settings.runtime_grace, now);
            wanted
                .into_iter()
                .filter(|id| !memory.finished.contains_key(*id))
                .map(ToOwned::to_owned)
                .collect()
        };
        let answers = self.gateway.statuses(wanted.clone(), Instant::now() + ASK_WITHIN).await;
        let told = wanted.into_iter().zip(answers).filter_map(|(id, answer)| match answer {
            // One that has ended and does not tell when is not told: its pod stays unknown.
            Ok(facts) => facts.status.finished_at.map(|at| (id, Some(at))),
            // It is gone: what remains decides.
            Err(error) if error.class == ErrorClass::NotFound => Some((id, None)),
            // Not told: its pod stays unknown.
            Err(_) => None,
        });
        let finished: FinishTimes = told.collect();
        let pods = {
            let memory = &mut *memory.borrow_mut();
            memory.finished.extend(finished.iter().map(|(id, at)| (id.clone(), *at)));
            let Memory { runtime, finished, .. } = memory;
            let (pods, standings) = runtime.judge(&evidence, finished, settings.runtime_grace, now);
            memory.chronicle.note(standings, now);
            pods
        };
        let kubelet = settings.kubelet_root.join("pods");
        let report_only = if settings.runtime_beside_kubelet { None } else { self.kubelet_at(kubelet).await };
        Verdict { pods, report_only, finished, ..Verdict::default() }
    }

    /// Why a kubelet is taken to be on this node, if it is.
    async fn kubelet_at(&self, directory: PathBuf) -> Option<String> {
        let shown = directory.display().to_string();
        let root = directory.parent().map(Path::to_owned).unwrap_or_default();
        let look = move || match std::fs::read_dir(&directory) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            // A link to a disk that is not mounted (yet): what is behind it is not known.
            Err(_) if root.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) && !root.exists() => {
                Err(io::Error::other("it is a link to something that is not there"))
            }
            Err(error) => Err(error),
        };
        let found = self.files.run_within(ANSWER_WITHIN, look).await;
        let why = match found {
            Ok(Ok(false)) => return None,
            Ok(Err(error))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return None;
            }
            Ok(Ok(true)) => format!("{shown} is not empty, so a kubelet manages the pods of this node"),
            Ok(Err(error)) => {
                format!("{shown} cannot be read ({error}), so a kubelet may manage the pods of this node")
            }
            Err(gone) => format!("{shown} could not be looked at: {gone}"),
        };
        Some(format!(
            "{why}, and pods.source = \"runtime\" cannot tell which of them it still wants; containers, sandboxes and logs \
             are only reported (use another pod source, or set pods.runtime_beside_kubelet = true)"
        ))
    }

    /// By a source that lists pods.
    pub async fn judge_by_lists(
        &self,
        seen: &Seen,
        configuration: &Configure,
        memory: &RefCell<Memory>,
    ) -> Verdict {
        let settings = &configuration.settings;
        let began = self.clock.moment();
        let evidence = by_pod(seen);
        // One at a time: whoever comes meanwhile finds what was found out, and asks nobody again.
        let round = Rc::clone(&memory.borrow().round);
        let _round = if settings.pods.source == PodSource::KubeApi { Some(round.lock().await) } else { None };
        let mut kept = self.kept(settings, &evidence).await;
        let rules = memory.borrow().rules(configuration);
        let asked = memory.borrow_mut().absence.questions(&evidence, &kept, &rules, self.clock.now());
        let (api, again) = {
            let memory = memory.borrow();
            (memory.api.clone(), memory.ask_again.clone())
        };
        if let Some((_, error)) = again.filter(|(at, _)| Instant::now() < *at) {
            for uid in asked {
                memory.borrow_mut().absence.answered(uid, Answer::Away(error.clone()));
            }
        } else if let Some(api) = api.filter(|_| !asked.is_empty()) {
            let mut answers = futures_util::stream::iter(asked)
                .map(|uid| {
                    let (api, known) = (&api, evidence.get(uid.as_str()));
                    let names = known.map(|known| known.names.as_slice()).unwrap_or_default();
                    async move {
                        let answer = kube_source::ask(self, api, &uid, names).await;
                        (uid, answer)
                    }
                })
                .buffer_unordered(PARALLEL_ASKS);
            let until = Instant::now() + ASK_WITHIN;
            while let Ok(Some((uid, answer))) = timeout_at(until, answers.next()).await {
                let away = if let Answer::Away(error) = &answer { Some(error.clone()) } else { None };
                memory.borrow_mut().absence.answered(uid, answer);
                // The others would fail as well, each after its time. What concerns one pod alone holds up no other.
                if let Some(error) = away {
                    memory.borrow_mut().ask_again = Some((Instant::now() + ASK_AGAIN, error));
                    break;
                }
            }
            // A pod may have come back meanwhile.
            kept = self.kept(settings, &evidence).await;
        }
        // By the times of the other clock nothing can be told any more.
        if self.clock.was_set_since(&began) {
            return Verdict::nothing("the clock was set during the question".to_owned());
        }
        let memory = &mut *memory.borrow_mut();
        let now = self.clock.now();
        let Judgement { pods, standings, mut notes, asking_failed, wants_list } =
            memory.absence.judge(&evidence, &kept, &rules, now);
        let orphaned = memory.leftovers.note(&standings, now);
        if configuration.service {
            notes.extend(memory.asked_for_pods(asking_failed, now));
            // Logged here, once for all loops.
            if let Some(orphaned) = orphaned {
                warn!(self.log, "{}", orphaned);
            }
        } else {
            // A one-shot command reports what its only observation shows.
            notes.extend(asking_failed);
            notes.extend(memory.leftovers.notes(now));
        }
        memory.chronicle.note(standings, now);
        if wants_list {
            memory.list_wanted.notify_one();
        }
        let images_unknown = (!memory.absence.has_listing()).then(|| {
            "the pod source has not been read yet, so it is not known which images pods name, and no image is removed"
                .to_owned()
        });
        Verdict { pods, images_unknown, notes, ..Verdict::default() }
    }

    /// The pods that a kubelet has a directory of.
    async fn kept(&self, settings: &Settings, evidence: &HashMap<&str, Evidence<'_>>) -> Kept {
        let root = settings.pods.kubelet_root.join("pods");
        let shown = root.display().to_string();
        let look = move || {
            let names = std::fs::read_dir(&root)?.map(|entry| entry.map(|entry| entry.file_name()));
            names.map(|name| name.map(|name| name.to_string_lossy().into_owned())).collect::<io::Result<_>>()
        };
        let found: Result<io::Result<HashSet<String>>, _> = self.files.run_within(ANSWER_WITHIN, look).await;
        let mut running =
            evidence.iter().filter(|(_, evidence)| evidence.runs).map(|(uid, _)| *uid).peekable();
        let why = match found {
            // A node without a kubelet has no such directory; with this source one that can't be read is no evidence.
            Ok(found) if settings.pods.source == PodSource::File => {
                return Kept::Of(found.unwrap_or_default());
            }
            // A kubelet has a directory of every pod that it runs.
            Ok(Ok(uids)) if running.peek().is_none() || running.any(|uid| uids.contains(uid)) => {
                return Kept::Of(uids);
            }
            Ok(Ok(_)) => {
                "has a directory of none of the pods that run here, so it is not that of this kubelet"
                    .to_owned()
            }
            Ok(Err(error)) => format!("cannot be read ({error})"),
            Err(gone) => format!("cannot be read ({gone})"),
        };
        Kept::Unreadable(format!(
            "{shown} {why}; it is not known which pods the kubelet still has a directory of, and none counts as deleted: \
             check pods.kubelet_root, and that it is mounted where cri-gc runs in a container"
        ))
    }
}
