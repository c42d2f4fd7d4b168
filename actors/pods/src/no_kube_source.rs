//! In place of `kube_source` in a program that was built without the cargo feature `kubernetes`: it can only say so.

use std::rc::Rc;
use std::sync::Arc;

use cri_gc_config::Settings;
use tokio::sync::Notify;

use super::absence::Reading;
use super::error::SourceError;
use super::kube_api::Api;
use super::sources::{SourceChange, Sources};

#[expect(clippy::unused_async, reason = "as the source that is not here")]
pub async fn read(_: &Sources, _: &Settings, _: Option<Api>) -> Result<(Reading, Api), SourceError> {
    Err(SourceError::NotBuiltIn)
}

#[expect(clippy::unused_async, reason = "as the source that is not here")]
pub async fn follow(_: Sources, _: Arc<Settings>, _: Rc<Notify>, report: impl Fn(SourceChange)) {
    report(SourceChange::Lost(SourceError::NotBuiltIn));
}
