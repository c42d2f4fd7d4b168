//! Whether there is colour: the one place that decides it, for stdout, stderr and the log.

use std::env::var_os;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;

use crate::cli::Color;

/// What `--color` says.
static CHOSEN: OnceLock<Color> = OnceLock::new();

/// Sets what `--color` says, once.
pub fn choose(color: Color) {
    // A second choice would contradict what is printed already.
    let _ = CHOSEN.set(color);
}

/// Whether what is written to that stream has colour.
#[must_use]
pub fn is_on(stream: &impl IsTerminal) -> bool {
    match CHOSEN.get().copied().unwrap_or_default() {
        Color::Always => true,
        Color::Never => false,
        // https://no-color.org
        Color::Auto => can_draw(stream) && var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// Whether a stream is a terminal that understands escape sequences.
#[must_use]
pub fn can_draw(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// What `--color` says among arguments that could not be read as a whole: it applies to the error about them, too.
#[must_use]
pub fn among(args: impl IntoIterator<Item = OsString>) -> Color {
    let args = args.into_iter().map_while(|arg| arg.into_string().ok()).take_while(|arg| arg != "--");
    let (mut is_next, mut found) = (false, Color::Auto);
    for arg in args {
        let value = if is_next { Some(arg.as_str()) } else { arg.strip_prefix("--color=") };
        if let Some(color) = value.and_then(|value| Color::from_str(value, false).ok()) {
            found = color;
        }
        is_next = arg == "--color";
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_found_in_a_wrong_command_line() {
        let among = |args: &[&str]| among(args.iter().map(OsString::from));
        assert_eq!(among(&["cri-gc", "plann", "--color", "never"]), Color::Never);
        assert_eq!(among(&["cri-gc", "--color=always", "plann"]), Color::Always);
        assert_eq!(among(&["cri-gc", "config", "import-kubelet", "--", "--color=never"]), Color::Auto);
        assert_eq!(among(&["cri-gc", "--color", "blue"]), Color::Auto);
    }
}
