//! One observation of a whole node, for questions: what the collectors see, all at once. Nothing is remembered of it.

use cri_gc_config::Settings;
use cri_gc_policy::{Kind, Observation};

use crate::observe;
use crate::report::PassError;
use crate::tools::Tools;
use cri_gc_gateway::FsPlaces;
use cri_gc_pods::Verdict;

/// One observation of a whole node.
pub struct Whole {
    /// What was seen.
    pub observation: Observation,
    /// What the pod-state provider said.
    pub verdict: Verdict,
    /// Where images and containers lie, if the runtime reports it.
    pub places: Option<FsPlaces>,
    /// What could not be seen.
    pub problems: Vec<PassError>,
    /// The kinds of objects that could not be listed.
    pub unseen: Vec<Kind>,
}

/// Observes everything: pods and their objects, images with what is remembered of them, and filesystems. It only reads. A call
/// that fails is a problem, and hides nothing but what can't be decided without its answer.
///
/// # Errors
/// The runtime can't be reached.
pub async fn look(tools: &Tools, settings: &Settings) -> Result<Whole, PassError> {
    let (mut problems, mut unseen) = (Vec::new(), Vec::new());
    let (observation, verdict, uses) = match observe::pods(tools, settings).await {
        Ok(view) => {
            let uses = view.uses().map(|used| (used.to_text(), view.listed_at.wall())).collect();
            unseen.extend(view.problem.is_some().then_some(Kind::LogDir));
            problems.extend(view.problem);
            unseen.extend(view.gaps.iter().map(|(kind, _)| *kind));
            problems.extend(view.gaps.into_iter().map(|(_, gap)| gap));
            (Some(view.observation), view.verdict, uses)
        }
        Err(error) if error.is_unreachable() => return Err(error.into()),
        Err(error) => {
            problems.push(error.into());
            unseen.extend([Kind::Container, Kind::Sandbox, Kind::LogDir]);
            (None, Verdict::default(), Vec::new())
        }
    };
    let mut observation = observation.unwrap_or_else(|| Observation {
        uses_unknown: Some("the containers and sandboxes could not be listed".to_owned()),
        ..Observation::empty(tools.clock.now())
    });
    let places = match observe::images(tools).await {
        Ok(seen) => {
            match tools.images.recall(seen.images, uses, tools.clock.moment()).await {
                Some(recalled) => {
                    problems.extend(recalled.problem.map(PassError::Memory));
                    observation.images = recalled.images;
                }
                None => {
                    problems.push(PassError::Records);
                    unseen.push(Kind::Image);
                }
            }
            let sandbox_image = observe::sandbox_image(&mut observation, seen.sandbox_image);
            problems.extend(sandbox_image.err().map(PassError::from));
            seen.places
        }
        Err(error) => {
            problems.push(error);
            unseen.push(Kind::Image);
            tools.gateway.image_fs_info().await
        }
    };
    let places = match places {
        Ok(places) => {
            let (filesystems, unmeasured) = observe::measure(tools, &places).await;
            observation.filesystems = filesystems;
            problems.extend(unmeasured);
            Some(places)
        }
        Err(error) => {
            problems.push(error.into());
            None
        }
    };
    observation.taken_at = tools.clock.now();
    Ok(Whole { observation, verdict, places, problems, unseen })
}
