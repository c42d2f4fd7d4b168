//! One look at a whole node, for `plan` and `snapshot`: what the collectors see, all at once.

use cri_gc_config::Settings;
use cri_gc_policy::Observation;

use crate::collector::{PassError, Tools};
use crate::observe;
use crate::pod_state::Verdict;

/// One look at a whole node.
pub struct Whole {
    /// What was seen.
    pub observation: Observation,
    /// What the pod-state provider said.
    pub verdict: Verdict,
    /// What could not be seen.
    pub problems: Vec<PassError>,
}

/// Looks at everything: pods and their objects, images with what is remembered of them, and file systems.
///
/// # Errors
/// A list of the runtime failed.
pub async fn look(tools: &Tools, settings: &Settings) -> Result<Whole, PassError> {
    let view = observe::pods(tools, settings).await?;
    let look = observe::images(tools).await?;
    let (filesystems, mut problems) = observe::measure(tools, &look.places).await;
    problems.extend(view.problem);
    problems.extend(tools.images.problem().await.map(PassError::Memory));
    let observation = Observation {
        images: look.images,
        sandbox_image: look.sandbox_image,
        filesystems,
        taken_at: tools.clock.now(),
        ..view.observation
    };
    Ok(Whole { observation, verdict: view.verdict, problems })
}
