//! What the kubelet's fields and flags mean here: each has one key, with the kubelet's own rules for its values.
//!
//! A default of the kubelet is the same default here, so what is not set there is not set here.

use std::collections::BTreeMap;

use cri_gc_config::{Endpoint, Settings, Sources, load, render_value};

use super::document::Document;
use super::error::{BadValue, ImportError};
use super::flags::Flags;
use super::known::{CHOICES, ENDPOINT, HIGH, IMAGE_ENDPOINT, LOW, MAX_AGE, MIN_AGE, translated};
use super::reader::{Found, Reader};
use super::remaining::remaining;
use super::text::Imported;

/// Translates, or says everything that is wrong.
pub(super) fn translate(document: &Document, flags: &Flags) -> Result<Imported, ImportError> {
    let mut reader = Reader { document, flags, bad: document.bad.clone() };
    let mut found: BTreeMap<_, _> = translated().map(|known| (known.key, reader.find(known))).collect();
    if let (Some((endpoint, why)), Some(found)) = (document.endpoint, found.get_mut(ENDPOINT.key))
        && found.value.is_none()
    {
        *found = Found { value: Some(endpoint.to_owned()), origin: why.to_owned(), is_flag: false };
    }
    let out_of_range = found
        .iter()
        .filter_map(|(key, found)| in_range(key, found.value.as_ref()?).err().map(|what| found.bad(&what)));
    reader.bad.extend(out_of_range);
    // Of an invalid value only its default is left, which is not to be compared.
    let translated = match reader.bad.is_empty() {
        true => settings(&mut found, &mut reader.bad),
        false => None,
    };
    let high = translated.as_ref().map_or(0, |(settings, _)| settings.image_gc.high_threshold_percent);
    let remaining = remaining(&mut reader, high);
    match (translated, reader.bad.as_slice()) {
        (Some((settings, in_kubelet)), []) => {
            Ok(Imported { settings, found, in_kubelet, remaining, flags: flags.names(true) })
        }
        (_, bad) => Err(ImportError::values(bad)),
    }
}

/// The ranges of the kubelet, which it checks after a flag has overridden the file.
fn in_range(key: &str, value: &str) -> Result<(), String> {
    match value.parse::<u8>() {
        Ok(0..=100) if key == HIGH.key || key == LOW.key => Ok(()),
        _ if key == HIGH.key || key == LOW.key => Err("it is not from 0 to 100".to_owned()),
        _ if key == ENDPOINT.key || key == IMAGE_ENDPOINT.key && !value.is_empty() => {
            value.parse::<Endpoint>().map(drop)
        }
        _ => Ok(()),
    }
}

/// The settings, and what to set in the kubelet.
fn settings(
    found: &mut BTreeMap<&'static str, Found>,
    bad: &mut Vec<BadValue>,
) -> Option<(Settings, [&'static str; 3])> {
    let mut high = found.remove(HIGH.key)?;
    let mut low = found.remove(LOW.key)?;
    let is_off = thresholds(&mut high, &mut low, bad);
    let is_flag = high.is_flag;
    found.extend([(HIGH.key, high), (LOW.key, low)]);

    let given = found.iter().filter_map(|(key, found)| Some(((*key).to_owned(), found.value.clone()?)));
    let chosen = CHOICES.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let overrides = chosen.into_iter().chain(given).collect();
    let settings = match load(&Sources { overrides, ..Sources::default() }) {
        Ok(loaded) => loaded.settings,
        Err(error) => {
            // What cri-gc does not accept although the kubelet does, e.g. `/` as the directory of logs.
            bad.extend(error.problems.iter().map(|problem| {
                let found = problem.key.as_deref().and_then(|key| found.get(key));
                match (found, &problem.allowed) {
                    (Some(found), Some(allowed)) => {
                        found.bad(&format!("{}; allowed: {allowed}", problem.what))
                    }
                    _ => BadValue::field(problem.to_string()),
                }
            }));
            return None;
        }
    };
    let gc = &settings.image_gc;
    if !gc.max_age.is_zero() && gc.max_age <= gc.min_age {
        let (min_age, max_age) = (found.get(MIN_AGE.key)?, found.get(MAX_AGE.key)?);
        let shown = render_value(&settings, MIN_AGE.key)?;
        let shown = shown.trim_matches('"');
        bad.push(max_age.bad(&format!("it is not above {shown}, the minimum age ({})", min_age.origin)));
    }
    let in_kubelet = in_kubelet(is_off, is_flag, gc.max_age.is_zero());
    Some((settings, in_kubelet))
}

/// Whether the kubelet removes no image for lack of space.
fn thresholds(high: &mut Found, low: &mut Found, bad: &mut Vec<BadValue>) -> bool {
    let default = Settings::default().image_gc;
    let percent = |found: &Found, default: u8| {
        found.value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let high_percent = percent(high, default.high_threshold_percent);
    let low_percent = percent(low, default.low_threshold_percent);
    if low_percent >= high_percent {
        // Of the one that was set, if only one was.
        bad.push(match low.value {
            Some(_) => {
                low.bad(&format!("it is not below {high_percent}, the high threshold ({})", high.origin))
            }
            None => high.bad(&format!("it is not above {low_percent}, the low threshold ({})", low.origin)),
        });
        (high.value, low.value) = (None, None);
    }
    let is_off = high_percent == 100;
    if is_off {
        // The same here would let the disk fill up.
        high.value = None;
        high.origin.push_str(
            ": image GC of the kubelet is off (100), so the default of cri-gc applies here. Write another threshold, or 100 to turn \
             off image removal for lack of space in both.",
        );
        if low.value.take().is_some() {
            low.origin
                .push_str(": without a high threshold it has no effect, so the default of cri-gc applies.");
        }
    }
    is_off
}

fn in_kubelet(is_off: bool, is_flag: bool, has_no_age: bool) -> [&'static str; 3] {
    let heading = match is_off && has_no_age {
        true => "The kubelet's own image collection is off. Leave it so, or both collect images:",
        false => {
            "Set this in the kubelet once `cri-gc status` shows the pod source synced, so that only cri-gc removes images:"
        }
    };
    let high = match (is_off, is_flag) {
        (true, _) => "imageGCHighThresholdPercent: 100 (already set): none for lack of space",
        (false, true) => {
            "imageGCHighThresholdPercent: 100 (none for lack of space), and no --image-gc-high-threshold, which overrides the \
             file"
        }
        (false, false) => "imageGCHighThresholdPercent: 100 (none for lack of space)",
    };
    let age = match has_no_age {
        true => "imageMaximumGCAge: 0s (already set): none for their age",
        false => "imageMaximumGCAge: 0s (none for their age)",
    };
    [heading, high, age]
}
