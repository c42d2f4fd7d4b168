//! The answers of the actors as metrics, in the format that the client reads. docs/metrics.md has a row for each; a test compares the two.
//!
//! No label has the name of an object: all values are out of closed sets, but for the directories of the few image filesystems.
//!
//! - `loops`: what the loops do and have done. `node`: the runtime, the pod source, the filesystems, the configuration. `process`:
//!   what the process uses.

mod loops;
mod node;
mod process;

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use super::answers::Answers;
use super::sheet::Sheet;

/// A format, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus asks for first.
    OpenMetrics,
    /// What older readers ask for.
    Plain,
}

impl Format {
    /// The format for a client that accepts these types: OpenMetrics, unless it asks for another one.
    pub fn accepted(accept: &str) -> Self {
        match accept.contains("text/plain") && !accept.contains("application/openmetrics-text") {
            true => Self::Plain,
            false => Self::OpenMetrics,
        }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// All metrics.
///
/// # Errors
/// The encoder refuses one of them, which no test has seen.
pub fn metrics(answers: &Arc<Answers>, format: Format) -> Result<String, Error> {
    let (mut registry, mut text) = (Registry::default(), String::new());
    registry.register_collector(Box::new(Figures(Arc::clone(answers))));
    match format {
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
        Format::Plain => prometheus_text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

#[derive(Debug)]
struct Figures(Arc<Answers>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (answers, sheet) = (&*self.0, &mut Sheet(encoder));
        node::service(sheet, answers)?;
        loops::state(sheet, answers)?;
        loops::work(sheet, answers)?;
        node::space(sheet, answers)?;
        node::surroundings(sheet, answers)?;
        process::write(sheet, answers)
    }
}
