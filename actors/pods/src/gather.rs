//! Everything that a judgement queries: reads the source, gathers the facts, and asks what is still open by these. Nothing is
//! judged or remembered here.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use cri_gc_config::{PodSource, Settings};
use ecow::EcoString;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::absence::{Answer, Kept, Questions, Reading};
use super::error::SourceError;
use super::evidence::{Evidence, Seen, by_pod};
use super::judge::{Facts, Found};
use super::kube_api::Api;
use super::kube_source;
use super::messages::Configure;
use super::sources::{ANSWER_WITHIN, Before, Sources};
use super::verdict::FinishTimes;
use cri_gc_gateway::ErrorClass;
use cri_gc_kit::workers::WorkerGone;

/// How long all questions of one judgement may take; the others wait for the next one.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// Questions for single pods in flight: the API server has other nodes as well.
const PARALLEL_ASKS: usize = 4;

impl Sources {
    /// Reads the source once; `earlier` is what the last judgement saw of the runtime. It comes with the client that it was read by, if there is one.
    ///
    /// # Errors
    /// It could not be read whole, or is not that of this node.
    pub async fn read(
        &self,
        settings: &Settings,
        api: Option<Api>,
        earlier: Option<Rc<Before>>,
    ) -> Result<(Reading, Option<Api>), SourceError> {
        let pods = &settings.pods;
        match (pods.source, &pods.file) {
            (PodSource::Kubelet, _) => Ok((self.kubelet(&pods.kubelet, earlier).await?, None)),
            (PodSource::KubeApi, _) => {
                let (reading, api) = kube_source::read(self, settings, api).await?;
                Ok((reading, Some(api)))
            }
            (PodSource::File, Some(file)) => Ok((self.file(file, earlier).await?, None)),
            // Valid settings of the source `file` name one; the source `runtime` is not read.
            (PodSource::File | PodSource::Runtime, _) => Err(SourceError::Failed),
        }
    }

    /// The facts for a judgement of these pods, without the queries that depend on what is remembered.
    pub async fn gather(&self, seen: Seen, configuration: &Configure) -> Facts {
        let settings = &configuration.settings;
        let found = if settings.pods.source == PodSource::Runtime {
            let at = self.clock.now();
            let returns = configuration.service.then(|| self.gateway.returns());
            let has_no_kubelet = settings.pods.runtime_beside_kubelet;
            let kubelet = if has_no_kubelet { None } else { self.kubelet_here(settings).await };
            Found::Runtime { at, returns, kubelet, to_ask: Vec::new(), finished: FinishTimes::new() }
        } else {
            let kept = self.kept(settings, &by_pod(&seen)).await;
            Found::Lists { kept, asked: Questions::default() }
        };
        Facts { seen, found }
    }

    /// Asks what was planned. Returns why the API server is unreachable, if it is; where that is known already
    /// (`unreachable`), it is not asked for pods.
    pub async fn ask(
        &self,
        facts: &mut Facts,
        settings: &Settings,
        api: Option<Api>,
        unreachable: Option<String>,
    ) -> Option<String> {
        match &mut facts.found {
            Found::Runtime { to_ask, finished, .. } => {
                *finished = self.finish_times(std::mem::take(to_ask)).await;
                None
            }
            Found::Lists { asked, .. } if asked.uids.is_empty() => None,
            Found::Lists { kept, asked } => {
                if let Some(error) = unreachable {
                    let failed = |uid: &EcoString| (uid.clone(), Answer::Failed(error.clone()));
                    asked.answers = asked.uids.iter().map(failed).collect();
                    return None;
                }
                let evidence = by_pod(&facts.seen);
                let unreachable = self.pods(&api?, asked, &evidence).await;
                // A pod may have been started again meanwhile.
                *kept = self.kept(settings, &evidence).await;
                unreachable
            }
        }
    }

    /// When these containers finished, as far as the runtime answers. A pod with one that it does not answer for is unknown.
    async fn finish_times(&self, ids: Vec<EcoString>) -> FinishTimes {
        let answers = self.gateway.statuses(ids.clone(), Instant::now() + ASK_WITHIN).await;
        let finished = ids.into_iter().zip(answers).filter_map(|(id, answer)| match answer {
            // One that has ended without a finish time counts as not answered.
            Ok(facts) => facts.status.finished_at.map(|at| (id, Some(at))),
            // It does not exist any more: what remains decides.
            Err(error) if error.class == ErrorClass::NotFound => Some((id, None)),
            Err(_) => None,
        });
        finished.collect()
    }

    /// Asks for single pods. Returns why the API server is unreachable, if it is.
    async fn pods(
        &self,
        api: &Api,
        asked: &mut Questions,
        evidence: &HashMap<&str, Evidence<'_>>,
    ) -> Option<String> {
        let mut answers = futures_util::stream::iter(&asked.uids)
            .map(|uid| async move {
                let names = evidence.get(uid.as_str()).map(|known| known.names.as_slice());
                (uid, self.clock.now(), api.is_there(uid, names.unwrap_or_default()).await)
            })
            .buffer_unordered(PARALLEL_ASKS);
        let until = Instant::now() + ASK_WITHIN;
        while let Ok(Some((uid, at, answer))) = timeout_at(until, answers.next()).await {
            let (answer, unreachable) = match answer {
                Ok(true) => (Answer::There, None),
                Ok(false) => (Answer::Gone { at }, None),
                Err(error) => {
                    let text = error.to_string();
                    (Answer::Failed(text.clone()), error.is_unreachable().then_some(text))
                }
            };
            asked.answers.insert(uid.clone(), answer);
            // The others would fail as well, each after its time. What concerns one pod alone holds up no other.
            if unreachable.is_some() {
                return unreachable;
            }
        }
        None
    }

    /// Why a kubelet is taken to be on this node, if it is.
    async fn kubelet_here(&self, settings: &Settings) -> Option<String> {
        let (shown, found) = self.kubelet_dirs(settings).await;
        let why = match found {
            Ok(Ok(uids)) if uids.is_empty() => return None,
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return None;
            }
            Ok(Ok(_)) => format!("{shown} is not empty: a kubelet manages the pods of this node"),
            Ok(Err(error)) => {
                format!("{shown} cannot be read ({error}): a kubelet may manage the pods of this node")
            }
            Err(gone) => format!("{shown} could not be read: {gone}"),
        };
        Some(format!(
            "{why}; so containers, sandboxes and logs are in report mode: with pods.source = \"runtime\" it is not known which \
             pods the kubelet still needs. Set pods.source to \"kube-api\", \"kubelet\" or \"file\" \
             (pods.runtime_beside_kubelet = true only if no kubelet runs here and that directory is a leftover)"
        ))
    }

    /// The pods that a kubelet has a directory of.
    async fn kept(&self, settings: &Settings, evidence: &HashMap<&str, Evidence<'_>>) -> Kept {
        let (shown, found) = self.kubelet_dirs(settings).await;
        let mut running = evidence.iter().filter(|(_, evidence)| evidence.runs).peekable();
        let why = match found {
            // A node without a kubelet has no such directory; with this source one that cannot be read is no evidence.
            Ok(found) if settings.pods.source == PodSource::File => {
                return Kept::Of(found.unwrap_or_default());
            }
            // A kubelet has a directory of every pod that it runs.
            Ok(Ok(uids)) if running.peek().is_none() || running.any(|(uid, _)| uids.contains(*uid)) => {
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
            "{shown} {why}, so no pod counts as deleted; check pods.kubelet_root, and in a container the mount of that directory"
        ))
    }

    /// The directory of a kubelet's pods, and the names in it.
    async fn kubelet_dirs(
        &self,
        settings: &Settings,
    ) -> (String, Result<io::Result<HashSet<EcoString>>, WorkerGone>) {
        let root = settings.pods.kubelet_root.clone();
        let pods = root.join("pods");
        let shown = pods.display().to_string();
        let list = move || {
            let entries = match std::fs::read_dir(&pods) {
                // A link to a disk that is not mounted (yet): what is behind it is not known.
                Err(_) if root.is_symlink() && !root.exists() => {
                    Err(io::Error::other("it is a link to something that is not there"))
                }
                entries => entries,
            };
            let names = entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().as_ref().into()));
            names.collect()
        };
        (shown, self.files.run_within(ANSWER_WITHIN, list).await)
    }
}
