//! What is one collector's own.

use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_kit::supervision::failure_log::First;
use cri_gc_kit::words::Loop;

use super::pass::Pass;
use crate::report::PassError;
use crate::tools::Tools;

/// What is one collector's own.
pub trait Collect: Unpin + 'static {
    /// Which loop it is.
    const LOOP: Loop;

    /// How its first failure is logged.
    const FIRST_FAILURE: First = First::Error;

    /// How often it checks, between passes, whether one has to begin at once; `None` is never.
    fn pressure_check_every(_settings: &Settings) -> Option<Duration> {
        None
    }

    /// Such a check. The runtime is asked nothing.
    fn is_under_pressure(&self, _tools: &Tools, _settings: &Settings) -> impl Future<Output = bool> {
        std::future::ready(false)
    }

    /// What the only pass of a one-shot command needs to have been done some time before it.
    fn prepare(&self, _tools: &Tools, _settings: &Settings) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    /// One pass: observe, plan, re-check, act. It is not called again before it has ended.
    ///
    /// # Errors
    /// Why the rest of the pass is not made. What a pass does without is an [error](Pass::error) that it reports itself.
    fn pass(&self, pass: &Pass) -> impl Future<Output = Result<(), PassError>>;
}
