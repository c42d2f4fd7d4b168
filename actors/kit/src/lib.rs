//! What every actor of cri-gc is built from: settings in generations, seams, worker threads, supervision, the recorder of events.
//!
//! Nothing here knows a runtime, a pod, an image or a file of a container.

pub mod generation;
pub mod histogram;
pub mod in_flight;
pub mod line;
pub mod parallel;
pub mod recorder;
pub mod seams;
pub mod supervision;
pub mod text;
pub mod words;
pub mod workers;
