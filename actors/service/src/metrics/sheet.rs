//! Writes metrics: a thin layer over the encoder of `prometheus-client`, so that each metric is one call with its name, unit and help.

use std::fmt::Error;

use cri_gc_kit::histogram::Histogram;
use jiff::Timestamp;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The labels of a sample: names and values, both out of closed sets.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A metric: its name without unit and suffix, its unit, and what it says.
pub type Metric<'a> = (&'a str, Option<Unit>, &'a str);

/// A point in time, in the unit of all of them.
pub fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Unit of times and lengths of time.
pub const SECONDS: Option<Unit> = Some(Unit::Seconds);
/// Unit of sizes.
pub const BYTES: Option<Unit> = Some(Unit::Bytes);

/// A sample without labels, if it is known.
pub fn plain<V>(value: Option<V>) -> Option<(Labels<'static>, V)> {
    value.map(|value| (Labels::new(), value))
}

/// The metrics being written. A metric is written whole, with all of its samples, once.
pub struct Sheet<'a>(pub DescriptorEncoder<'a>);

impl Sheet<'_> {
    /// A figure that rises and falls.
    pub fn gauge<'l, V: EncodeGaugeValue>(
        &mut self,
        metric: Metric<'_>,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> Result<(), Error> {
        self.write(metric, MetricType::Gauge, samples, |mut sample, value| sample.encode_gauge(&value))
    }

    /// A figure that only rises. Its name gets the suffix `_total`.
    pub fn counter<'l, V: EncodeCounterValue>(
        &mut self,
        metric: Metric<'_>,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> Result<(), Error> {
        self.write(metric, MetricType::Counter, samples, |mut sample, value| {
            sample.encode_counter::<NoLabelSet, V, f64>(&value, None)
        })
    }

    /// Lengths of time.
    pub fn histogram<'l, 'h>(
        &mut self,
        metric: Metric<'_>,
        samples: impl IntoIterator<Item = (Labels<'l>, &'h Histogram)>,
    ) -> Result<(), Error> {
        self.write(metric, MetricType::Histogram, samples, |mut sample, took| {
            let buckets: Vec<(f64, u64)> = took.buckets().collect();
            sample.encode_histogram::<NoLabelSet>(took.sum(), took.count(), &buckets, None)
        })
    }

    /// A fact that is all labels. Its name gets the suffix `_info`.
    pub fn info(&mut self, (name, unit, help): Metric<'_>, labels: Labels<'_>) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Info)?.encode_info(&labels)
    }

    fn write<'l, V>(
        &mut self,
        (name, unit, help): Metric<'_>,
        of: MetricType,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
        encode: impl Fn(MetricEncoder<'_>, V) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), of)?;
        for (labels, value) in samples {
            encode(metric.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}
