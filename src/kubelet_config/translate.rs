//! What the kubelet's fields and flags mean here: each has one key, with the kubelet's own rules for its values.
//!
//! A default of the kubelet is the same default here, so what is not set there is not set here. This module must not read what
//! an operator wrote: `kubelet` does.

use cri_gc_config::{Endpoint, Settings, Sources, load, render_value};

use super::error::{BadValue, ImportError};
use super::known::{CHOICES, ENDPOINT, HIGH, IMAGE_ENDPOINT, LOW, MAX_AGE, MIN_AGE, translated};
use super::kubelet::{Found, Kubelet};
use super::remaining::remaining;
use super::text::{Imported, Translated};

/// Translates, or says everything that is wrong.
pub(super) fn translate(mut kubelet: Kubelet<'_>) -> Result<Imported, ImportError> {
    let mut found: Translated = translated().map(|known| (known.key, kubelet.find(known))).collect();
    let chosen = |value: &str, why: &str| Found {
        value: Some(value.to_owned()),
        origin: why.to_owned(),
        is_flag: false,
    };
    found.extend(CHOICES.map(|(key, value)| (key, chosen(value, ""))));
    if let Some((endpoint, why)) = kubelet.endpoint
        && found.get(ENDPOINT.key).is_none_or(|found| found.value.is_none())
    {
        found.insert(ENDPOINT.key, chosen(endpoint, why));
    }
    let wrong = |(key, found): (&&str, &Found)| Some(found.bad(&in_range(key, found.value.as_ref()?).err()?));
    kubelet.bad.extend(found.iter().filter_map(wrong));
    // Of an invalid value only its default is left, which is not to be compared.
    let translated = match kubelet.bad.is_empty() {
        true => settings(&mut found, &mut kubelet.bad),
        false => None,
    };
    let (settings, in_kubelet) = translated.unwrap_or_default();
    let remaining = remaining(&mut kubelet, settings.image_gc.high_threshold_percent);
    match kubelet.bad.as_slice() {
        [] => Ok(Imported { settings, found, in_kubelet, remaining, flags: kubelet.flags.names(true) }),
        bad => Err(ImportError::values(bad)),
    }
}

/// The ranges of the kubelet, which it checks after a flag has overridden the file.
fn in_range(key: &str, value: &str) -> Result<(), String> {
    let is_percent = || value.parse().is_ok_and(|percent: u8| percent <= 100);
    if (key == HIGH.key || key == LOW.key) && !is_percent() {
        return Err("it is not from 0 to 100".to_owned());
    }
    if key == ENDPOINT.key || key == IMAGE_ENDPOINT.key && !value.is_empty() {
        value.parse::<Endpoint>()?;
    }
    Ok(())
}

/// The settings, and what to set in the kubelet.
fn settings(found: &mut Translated, bad: &mut Vec<BadValue>) -> Option<(Settings, [String; 3])> {
    let is_flag = found.get(HIGH.key)?.is_flag;
    let is_off = thresholds(found, bad)?;
    let given = found.iter().filter_map(|(key, found)| Some(((*key).to_owned(), found.value.clone()?)));
    let settings = match load(&Sources { overrides: given.collect(), ..Sources::default() }) {
        Ok(loaded) => loaded.settings,
        Err(error) => {
            // What cri-gc does not accept although the kubelet does, e.g. `/` as the directory of logs.
            bad.extend(error.problems.iter().map(|problem| {
                let found = problem.key.as_deref().and_then(|key| found.get(key));
                match (found, &problem.allowed) {
                    (Some(found), Some(allowed)) => {
                        found.bad(&format!("{}; allowed: {allowed}", problem.what))
                    }
                    _ => BadValue { what: problem.to_string(), is_flag: false },
                }
            }));
            return None;
        }
    };
    let gc = &settings.image_gc;
    if !gc.max_age.is_zero() && gc.max_age <= gc.min_age {
        let shown = render_value(&settings, MIN_AGE.key)?;
        let (shown, origin) = (shown.trim_matches('"'), &found.get(MIN_AGE.key)?.origin);
        let what = format!("it is not above {shown}, the minimum age ({origin})");
        bad.push(found.get(MAX_AGE.key)?.bad(&what));
    }
    let in_kubelet = in_kubelet(is_off, is_flag, gc.max_age.is_zero());
    Some((settings, in_kubelet))
}

/// Whether the kubelet removes no image for lack of space.
fn thresholds(found: &mut Translated, bad: &mut Vec<BadValue>) -> Option<bool> {
    let (mut high, mut low) = (found.remove(HIGH.key)?, found.remove(LOW.key)?);
    let percent = |found: &Found, default: u8| {
        found.value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let default = Settings::default().image_gc;
    let high_percent = percent(&high, default.high_threshold_percent);
    let low_percent = percent(&low, default.low_threshold_percent);
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
    found.extend([(HIGH.key, high), (LOW.key, low)]);
    Some(is_off)
}

fn in_kubelet(is_off: bool, is_flag: bool, has_no_age: bool) -> [String; 3] {
    let heading = match is_off && has_no_age {
        true => "The kubelet's own image collection is off. Leave it so, or both collect images:",
        false => {
            "Set this in the kubelet once `cri-gc status` shows the pod source synced, so that only cri-gc removes images:"
        }
    };
    let line = |field: &str, is_set: bool, effect: &str| match is_set {
        true => format!("{field} (already so): {effect}"),
        false => format!("{field} ({effect})"),
    };
    let mut high = line("imageGCHighThresholdPercent: 100", is_off, "none for lack of space");
    if is_flag && !is_off {
        high.push_str(", and no --image-gc-high-threshold, which overrides the file");
    }
    [heading.to_owned(), high, line("imageMaximumGCAge: 0s", has_no_age, "none for their age")]
}
