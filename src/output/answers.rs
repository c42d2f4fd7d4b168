//! The short answers of a service, in words.

use std::collections::HashMap;

use cri_gc_policy::text::one_line;
use cri_gc_proto::admin::ReloadResponse;

use super::ages::moment;
use super::text::{Style, Text};

/// Which loops are paused, until when, and why that would not hold over a restart. `begin` comes before their names.
#[must_use]
pub fn paused(begin: &str, loops: &[String], until: &HashMap<String, String>, problem: &str) -> Text {
    let named = |of: &String| match until.get(of) {
        Some(until) => format!("{of} (until {})", moment(until)),
        None => of.clone(),
    };
    let mut text = if loops.is_empty() {
        Text::from("No loop is paused now.\n")
    } else {
        let loops: Vec<String> = loops.iter().map(named).collect();
        Text::styled(Style::Attention, begin) + format!(" {}\n", loops.join(", "))
    };
    if !problem.is_empty() {
        text.push(Text::bad("This does not hold over a restart of the service:"));
        text.push(format!(" {}\n", one_line(problem)));
    }
    text
}

/// The result of a reload.
#[must_use]
pub fn reloaded(answer: &ReloadResponse) -> Text {
    let configuration = answer.configuration.clone().unwrap_or_default();
    let changed = match answer.changed.as_slice() {
        [] => "no setting has changed".to_owned(),
        keys => format!("changed: {}", keys.join(", ")),
    };
    let mut text = Text::from(format!(
        "Generation {} of the settings is in force; {changed}\n",
        configuration.generation
    ));
    if !configuration.waiting_for_restart.is_empty() {
        text.push(Text::styled(Style::Attention, "These settings take effect after a restart of cri-gc:"));
        text.push(format!(" {}\n", configuration.waiting_for_restart.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::admin::Configuration;

    use super::*;

    #[test]
    fn a_reload_shows_what_changed_and_what_waits() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut answer = ReloadResponse {
            configuration: Some(Configuration { generation: 4, ..Configuration::default() }),
            changed: Vec::new(),
        };
        assert_eq!(
            reloaded(&answer).to_string(),
            "Generation 4 of the settings is in force; no setting has changed\n"
        );
        answer.changed = keys(&["image_gc.min_age", "log.level"]);
        answer.configuration.as_mut().unwrap().waiting_for_restart = keys(&["log.format"]);
        assert_eq!(
            reloaded(&answer).to_string(),
            "Generation 4 of the settings is in force; changed: image_gc.min_age, log.level\n\
             These settings take effect after a restart of cri-gc: log.format\n"
        );
    }
}
