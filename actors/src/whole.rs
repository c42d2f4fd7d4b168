//! One look at a whole node, for `plan` and `snapshot`: what the collectors see, all at once.

use actix::Recipient;
use cri_gc_config::Settings;
use cri_gc_policy::Observation;

use crate::collector::{PassError, Tools};
use crate::gateway::{CriError, CriResult};
use crate::image_gc::LookAtImages;
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
pub async fn look(tools: &Tools, settings: &Settings, images: &Recipient<LookAtImages>) -> CriResult<Whole> {
    let view = observe::pods(tools, settings).await?;
    let look =
        images.send(LookAtImages).await.unwrap_or_else(|_| Err(CriError::gateway_gone("ListImages")))?;
    let (filesystems, mut problems) = observe::measure(tools, &look.places).await;
    problems.extend(view.problem);
    let observation = Observation {
        images: look.images,
        sandbox_image: look.sandbox_image,
        filesystems,
        taken_at: tools.clock.now(),
        ..view.observation
    };
    Ok(Whole { observation, verdict: view.verdict, problems })
}
