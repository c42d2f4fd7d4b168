//! What is derived from the declarations of the settings: `default.toml` and `docs/settings.md`.

use std::fmt::Write;

use strum::EnumMessage;

use crate::settings::{Key, SECTIONS};
use crate::{LogFormat, LogLevel, Mode, PodSource, Settings, Unmanaged, render_value};

/// The file has to be what the declarations say. With `CRI_GC_UPDATE_EXPECTED=1` it is written again.
fn check(path: &str, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CRI_GC_UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let name = path.display();
    assert!(
        found == expected,
        "{name} is not what the settings say: CRI_GC_UPDATE_EXPECTED=1 writes it again"
    );
}

/// The words that a key accepts, with their meanings.
fn words(key: &Key) -> Vec<(&'static str, &'static str)> {
    let all = [
        meanings(Mode::ALL),
        meanings(PodSource::ALL),
        meanings(Unmanaged::ALL),
        meanings(LogLevel::ALL),
        meanings(LogFormat::ALL),
    ];
    let is_of_key = |words: &Vec<(&'static str, _)>| {
        words.iter().map(|(word, _)| *word).eq(key.form.allowed.iter().copied())
    };
    all.into_iter().find(is_of_key).unwrap_or_default()
}

/// The words of an enum, with the comments of its variants.
fn meanings<T: EnumMessage + Copy + Into<&'static str>>(all: &[T]) -> Vec<(&'static str, &'static str)> {
    all.iter().map(|word| ((*word).into(), word.get_documentation().unwrap())).collect()
}

/// The range of a key, where it is more than its type.
fn range(key: &Key) -> Option<&'static str> {
    match key.form.allowed {
        ["a string" | "true or false"] => None,
        [range] => Some(range),
        _ => None,
    }
}

fn value(key: &Key) -> String {
    render_value(&Settings::default(), key.name).unwrap()
}

fn default_toml() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        section.about.iter().for_each(|line| writeln!(text, "#{line}").unwrap());
        match section.name {
            "" => text.push('\n'),
            name => writeln!(text, "[{name}]").unwrap(),
        }
        for key in section.keys {
            key.about.iter().for_each(|line| writeln!(text, "#{line}").unwrap());
            let words = words(key);
            let width = words.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
            words.iter().for_each(|(word, meaning)| writeln!(text, "#   {word:width$}  {meaning}").unwrap());
            range(key).iter().for_each(|range| writeln!(text, "# Allowed: {range}").unwrap());
            let name = key.name.rsplit('.').next().unwrap();
            writeln!(text, "{name} = {}", value(key)).unwrap();
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The lines of a doc comment as one cell of a table.
fn cell(about: &[&str]) -> String {
    about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn settings_md() -> String {
    let mut text = "# Settings\n\n\
        Every setting of cri-gc, with its default. This page is derived from the declarations in `config/src/settings.rs`.\n\n\
        The environment variable that sets a key is `CRI_GC__` and the key in capitals, with two underscores for each dot: \
        `CRI_GC__IMAGE_GC__MIN_AGE` sets `image_gc.min_age`. Layers, reloading and messages: docs/behaviour.md, \
        \"Configuration\".\n"
        .to_owned();
    for section in SECTIONS {
        if section.name.is_empty() {
            writeln!(text, "\n## At the top of the file\n").unwrap();
        } else {
            writeln!(text, "\n## [{}]\n\n{}\n", section.name, cell(section.about)).unwrap();
        }
        writeln!(text, "| key | default | allowed | meaning |\n|---|---|---|---|").unwrap();
        for key in section.keys {
            let meanings = words(key).into_iter().map(|(word, meaning)| format!("<br>`{word}`: {meaning}"));
            let (name, meaning) = (key.name, cell(key.about) + &meanings.collect::<String>());
            let allowed = key.form.allowed.join(", ");
            writeln!(text, "| `{name}` | `{}` | {allowed} | {meaning} |", value(key)).unwrap();
        }
    }
    text
}

#[test]
fn the_default_file_is_derived_from_the_declarations() {
    check("default.toml", &default_toml());
}

#[test]
fn the_reference_is_derived_from_the_declarations() {
    check("../docs/settings.md", &settings_md());
}
