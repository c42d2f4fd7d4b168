//! What an operator should know of a configuration although it is valid: settings without effect, and variables that look
//! like those of cri-gc and are not read.

use crate::origins::Origins;
use crate::settings::{ENV_PREFIX, Settings, key_names, variable};

/// A sentence for each.
pub(crate) fn notes(settings: &Settings, origins: &Origins, environment: &[(String, String)]) -> Vec<String> {
    let default = Settings::default();
    // No part of this release reads these yet.
    let unsupported =
        [("state.history_max_events", settings.state.history_max_events != default.state.history_max_events)];
    let without_effect = unsupported.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| {
        let from = origins.get(key).map(|origin| format!(" ({origin})")).unwrap_or_default();
        format!("{key}{from} has no effect: this release does not support it yet")
    });
    let ages = &settings.image_gc;
    let is_late = !ages.max_age.is_zero() && ages.max_age < ages.min_age;
    let late = is_late.then(|| {
        "image_gc.max_age is shorter than image_gc.min_age: an unused image is removed once min_age has passed; raise max_age, or lower min_age".to_owned()
    });
    without_effect.chain(late).chain(environment.iter().filter_map(|(name, _)| mistake(name))).collect()
}

/// What a variable was probably meant to be, if it differs from one of cri-gc's in its underscores alone.
fn mistake(name: &str) -> Option<String> {
    let rest = name.strip_prefix("CRI_GC_").filter(|_| !name.starts_with(ENV_PREFIX))?;
    let plain = |name: &str| name.replace("__", "_").to_ascii_lowercase();
    let meant = key_names().find(|key| key.replace('.', "_") == plain(rest))?;
    Some(format!("the environment variable {name} is not read: {} sets {meant}", variable(meant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_too_few_underscores_is_named() {
        let meant = "the environment variable CRI_GC_IMAGE_GC_MIN_AGE is not read: CRI_GC__IMAGE_GC__MIN_AGE sets image_gc.min_age";
        assert_eq!(mistake("CRI_GC_IMAGE_GC_MIN_AGE").as_deref(), Some(meant));
        assert!(mistake("CRI_GC_IMAGE_GC__MIN_AGE").is_some() && mistake("CRI_GC_NODE_NAME").is_some());
        // Set by Kubernetes for a service of that name, and read as ours.
        for other in ["CRI_GC_SERVICE_HOST", "CRI_GC_PORT_80_TCP", "CRI_GC__IMAGE_GC__MIN_AGE", "PATH"] {
            assert_eq!(mistake(other), None, "{other}");
        }
    }

    #[test]
    fn ages_of_images_that_contradict_each_other_are_named() {
        let second = std::time::Duration::from_secs(1);
        let mut settings = Settings::default();
        for (min_age, max_age, noted) in
            [(second, std::time::Duration::ZERO, 0), (2 * second, second, 1), (second, 2 * second, 0)]
        {
            (settings.image_gc.min_age, settings.image_gc.max_age) = (min_age, max_age);
            assert_eq!(notes(&settings, &Origins::default(), &[]).len(), noted, "{min_age:?}, {max_age:?}");
        }
    }

    #[test]
    fn a_setting_without_effect_is_named_where_it_is_not_the_default() {
        let mut settings = Settings::default();
        assert_eq!(notes(&settings, &Origins::default(), &[]), Vec::<String>::new());
        settings.state.history_max_events = 7;
        let notes = notes(&settings, &Origins::default(), &[]);
        assert_eq!(
            notes,
            [
                "state.history_max_events (built-in default) has no effect: this release does not support it yet"
            ]
        );
    }
}
