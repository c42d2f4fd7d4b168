//! What the kubelet's fields and flags mean here: each has one setting, with the kubelet's own rules for its values.
//!
//! A flag beats the file. A default of the kubelet is the same default here, so what is not set there is not set here.

use std::time::Duration;

use cri_gc_config::{Endpoint, Mode, PodSource, Settings};

use super::document::Document;
use super::flags::Flags;
use super::left::left;
use super::reader::{Known, Reader, known, never};
use super::{BadValue, Imported, InKubelet, Source, values};

const HIGH: Known = known(
    "image_gc.high_threshold_percent",
    Some("imageGCHighThresholdPercent"),
    Some("image-gc-high-threshold"),
);
const LOW: Known = known(
    "image_gc.low_threshold_percent",
    Some("imageGCLowThresholdPercent"),
    Some("image-gc-low-threshold"),
);
const MIN_AGE: Known =
    known("image_gc.min_age", Some("imageMinimumGCAge"), Some("minimum-image-ttl-duration"));
const MAX_AGE: Known = known("image_gc.max_age", Some("imageMaximumGCAge"), None);
const ENDPOINT: Known =
    known("runtime.endpoint", Some("containerRuntimeEndpoint"), Some("container-runtime-endpoint"));
const IMAGE_ENDPOINT: Known =
    known("runtime.image_endpoint", Some("imageServiceEndpoint"), Some("image-service-endpoint"));
const POD_LOGS: Known = known("log_gc.pod_logs_root", Some("podLogsDir"), None);
const CONTAINER_AGE: Known = known("container_gc.min_age", None, Some("minimum-container-ttl-duration"));
const PER_CONTAINER: Known =
    known("container_gc.max_per_pod_container", None, Some("maximum-dead-containers-per-container"));
const CONTAINERS: Known = known("container_gc.max_containers", None, Some("maximum-dead-containers"));
const ROOT: Known = known("pods.kubelet_root", None, Some("root-dir"));
const NODE: Known = known("node_name", None, Some("hostname-override"));

/// Translates, or says everything that is wrong.
pub(super) fn translate(document: &Document, flags: &Flags) -> Result<Imported, Vec<BadValue>> {
    let mut reader = Reader::new(document, flags);
    let mut settings = beside_a_kubelet();
    paths(&mut reader, &mut settings);
    containers(&mut reader, &mut settings);
    let in_kubelet = images(&mut reader, &mut settings);
    let left = left(&mut reader, &settings);
    let Reader { mut bad, sources, .. } = reader;
    if bad.is_empty() {
        bad = unfit(&settings, &sources);
    }
    if !bad.is_empty() {
        return Err(bad);
    }
    Ok(Imported { settings, sources, in_kubelet, left, flags: flags.used() })
}

/// A kubelet is there, so that somebody else than the runtime knows which pods exist; and until an operator says so,
/// only images are removed beside it (spec 12).
fn beside_a_kubelet() -> Settings {
    let mut settings = Settings::default();
    settings.pods.source = PodSource::KubeApi;
    settings.container_gc.mode = Mode::Report;
    settings.sandbox_gc.mode = Mode::Report;
    settings.log_gc.mode = Mode::Report;
    settings.image_gc.mode = Mode::Enforce;
    settings
}

fn paths(reader: &mut Reader<'_>, settings: &mut Settings) {
    let endpoint = |text: &String| text.parse::<Endpoint>().map_err(|error| error.to_string());
    let found = reader.find(ENDPOINT, values::endpoint, String::is_empty);
    reader.set(&mut settings.runtime.endpoint, &found, endpoint);
    if let (None, Some((text, why))) = (&found.value, reader.document.endpoint) {
        match text.parse() {
            Ok(endpoint) => settings.runtime.endpoint = endpoint,
            Err(error) => reader.refuse(&found, &format!("{text}: {error}")),
        }
        reader.preset(ENDPOINT.key, why);
    }
    let found = reader.find(IMAGE_ENDPOINT, values::endpoint, String::is_empty);
    reader.set(&mut settings.runtime.image_endpoint, &found, |text| match text.as_str() {
        "" => Ok(None),
        _ => endpoint(text).map(Some),
    });
    let found = reader.find(POD_LOGS, values::text, String::is_empty);
    reader.set(&mut settings.log_gc.pod_logs_root, &found, |text| Ok(text.into()));
    let found = reader.find(ROOT, values::text, never);
    reader.set(&mut settings.pods.kubelet_root, &found, |text| Ok(text.into()));
    let found = reader.find(NODE, values::text, never);
    reader.set(&mut settings.node_name, &found, |text| {
        // So does the kubelet, before it looks for its Node.
        let name = text.trim().to_lowercase();
        match name.as_str() {
            "" if !text.is_empty() => Err("it is no name".to_owned()),
            "" => Ok(None),
            _ => Ok(Some(name)),
        }
    });
}

fn containers(reader: &mut Reader<'_>, settings: &mut Settings) {
    let gc = &mut settings.container_gc;
    // Any negative number is "no limit" to the kubelet.
    let count = |count: &i64| Ok((*count).max(-1));
    let found = reader.find(CONTAINER_AGE, values::duration, never);
    reader.set(&mut gc.min_age, &found, |age| Ok(*age));
    let found = reader.find(PER_CONTAINER, values::number, never);
    reader.set(&mut gc.max_per_pod_container, &found, count);
    let found = reader.find(CONTAINERS, values::number, never);
    reader.set(&mut gc.max_containers, &found, count);
}

/// Image GC; what to set in the kubelet, so that it leaves images alone.
fn images(reader: &mut Reader<'_>, settings: &mut Settings) -> InKubelet {
    let gc = &mut settings.image_gc;
    let default = gc.clone();
    let percent = |number: &i64| match u8::try_from(*number) {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err("it is not from 0 to 100".to_owned()),
    };
    let high = reader.find(HIGH, values::number, never);
    reader.set(&mut gc.high_threshold_percent, &high, percent);
    let low = reader.find(LOW, values::number, never);
    reader.set(&mut gc.low_threshold_percent, &low, percent);
    let min_age = reader.find(MIN_AGE, values::duration, Duration::is_zero);
    reader.set(&mut gc.min_age, &min_age, |age| Ok(*age));
    let max_age = reader.find(MAX_AGE, values::duration, never);
    reader.set(&mut gc.max_age, &max_age, |age| Ok(*age));
    if !reader.bad.is_empty() {
        // What is left of a bad value is its default; what follows from that is no news.
        return InKubelet::default();
    }
    let (high_is, low_is) = (gc.high_threshold_percent, gc.low_threshold_percent);
    if low_is >= high_is {
        // Told of the one that was set, if only one was.
        match low.value {
            Some(_) => {
                reader
                    .refuse(&low, &format!("it is not below {high_is}, the high threshold ({})", high.said));
            }
            None => {
                reader.refuse(&high, &format!("it is not above {low_is}, the low threshold ({})", low.said))
            }
        }
    }
    if !gc.max_age.is_zero() && gc.max_age <= gc.min_age {
        reader.refuse(
            &max_age,
            &format!("it is not above {:?}, the minimum age ({})", gc.min_age, min_age.said),
        );
    }
    let off = high_is == 100;
    if off {
        // The same here would leave the disk to fill up.
        gc.high_threshold_percent = default.high_threshold_percent;
        gc.low_threshold_percent = default.low_threshold_percent;
        reader.override_source(
            HIGH.key,
            ": the kubelet removes no image for lack of space, as it should beside cri-gc. The same here would leave that to \
             nobody, so the default of cri-gc holds. Write the threshold that you want, or 100 if no image is to go for lack \
             of space.",
        );
        if low.value.is_some() {
            let why = ": without a high threshold it has no effect, so the default of cri-gc holds.";
            reader.override_source(LOW.key, why);
        }
    }
    let beaten = if high.typed { ", and no --image-gc-high-threshold, which beats the file" } else { "" };
    let high_line = match off {
        true => "imageGCHighThresholdPercent: 100 (it has that already): none for lack of space".to_owned(),
        false => format!("imageGCHighThresholdPercent: 100 (none for lack of space){beaten}"),
    };
    let age_line = match gc.max_age.is_zero() {
        true => "imageMaximumGCAge: 0s (it has that already): none for their age",
        false => "imageMaximumGCAge: 0s (none for their age)",
    };
    InKubelet { done: off && gc.max_age.is_zero(), fields: vec![high_line, age_line.to_owned()] }
}

/// What our settings do not take although the kubelet does, e.g. `/` as the directory of logs.
fn unfit(settings: &Settings, sources: &[Source]) -> Vec<BadValue> {
    let problems = settings.problems().into_iter().map(|problem| {
        let key = problem.key.unwrap_or_default();
        let said =
            sources.iter().find(|source| source.key == key).map_or(key.as_str(), |source| &source.said);
        let allowed = problem.allowed.map_or_else(String::new, |allowed| format!("; allowed: {allowed}"));
        BadValue { what: format!("{said}: {}{allowed}", problem.what), typed: said.starts_with("--") }
    });
    problems.collect()
}
