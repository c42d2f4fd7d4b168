//! What an operator should know of a configuration although it is valid: settings that contradict each other, and variables that
//! look like those of cri-gc and are not read.

use crate::settings::{ENV_PREFIX, Settings, key_names, variable};

/// A sentence for each.
pub(crate) fn notes(settings: &Settings, environment: &[(String, String)]) -> Vec<String> {
    let ages = &settings.image_gc;
    let is_late = !ages.max_age.is_zero() && ages.max_age < ages.min_age;
    let late = is_late.then(|| {
        "image_gc.max_age is shorter than image_gc.min_age: an unused image is removed once min_age has passed; raise max_age, or lower min_age".to_owned()
    });
    late.into_iter().chain(environment.iter().filter_map(|(name, _)| mistake(name))).collect()
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
            assert_eq!(notes(&settings, &[]).len(), noted, "{min_age:?}, {max_age:?}");
        }
    }
}
