//! The kubelet's command line: which flags are given, with what. Written `--flag=value` or `--flag value`.
//!
//! Most flags have nothing to do with garbage collection. They are passed over without knowing whether they take a value,
//! so a word that follows one counts as its value.

use super::BadValue;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    /// In their order; the later one of two wins.
    given: Vec<(String, String)>,
}

/// Flags that are translated, or that name what stays with the kubelet. All of them take a value.
pub(super) const KNOWN: [&str; 16] = [
    "config-dir",
    "container-log-max-files",
    "container-log-max-size",
    "container-runtime-endpoint",
    "eviction-hard",
    "eviction-minimum-reclaim",
    "eviction-soft",
    "hostname-override",
    "image-gc-high-threshold",
    "image-gc-low-threshold",
    "image-service-endpoint",
    "maximum-dead-containers",
    "maximum-dead-containers-per-container",
    "minimum-container-ttl-duration",
    "minimum-image-ttl-duration",
    "root-dir",
];

impl Flags {
    /// The value of a flag.
    pub(super) fn get(&self, flag: &str) -> Option<&str> {
        self.given.iter().rev().find(|(name, _)| name == flag).map(|(_, value)| value.as_str())
    }

    /// The flags that were taken into account, each once.
    pub(super) fn used(&self) -> Vec<String> {
        let used = self.given.iter().map(|(name, _)| name).filter(|name| KNOWN.contains(&name.as_str()));
        once(used.map(|name| format!("--{name}")))
    }

    /// Flags that are not known here and sound as if they had to do with garbage collection.
    pub(super) fn suspects(&self) -> Vec<String> {
        let suspect = |name: &&String| {
            let name = name.as_str();
            !KNOWN.contains(&name)
                && name.split('-').any(|word| matches!(word, "gc" | "ttl" | "dead" | "diskspace" | "prune"))
        };
        once(self.given.iter().map(|(name, _)| name).filter(suspect).map(|name| format!("--{name}")))
    }
}

fn once(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Reads the arguments, with or without the program's name in front.
pub(super) fn parse(arguments: &[String]) -> Result<Flags, BadValue> {
    let mut flags = Flags::default();
    let mut words = arguments.iter().map(String::as_str).peekable();
    words.next_if(|first| !first.starts_with('-'));
    while let Some(word) = words.next() {
        if word == "--" {
            // What follows is no flag to the kubelet either.
            break;
        }
        let Some(flag) = word.strip_prefix("--") else {
            // A flag of one letter, as -v 2.
            if word.len() > 1 && word.starts_with('-') {
                words.next_if(|next| !word.contains('=') && !next.starts_with('-'));
                continue;
            }
            return Err(typed(format!("`{word}`: it is neither a flag of the kubelet nor the value of one")));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
            return Err(typed(format!("`{word}`: it is not written as a flag is, --flag=value")));
        }
        // The kubelet takes both signs for each other.
        let name = name.replace('_', "-");
        let value = match value {
            Some(value) => value,
            None if KNOWN.contains(&name.as_str()) => {
                words.next().ok_or_else(|| typed(format!("--{name}: it needs a value")))?
            }
            None => words.next_if(|next| !next.starts_with('-')).unwrap_or_default(),
        };
        flags.given.push((name, value.to_owned()));
    }
    Ok(flags)
}

fn typed(what: String) -> BadValue {
    BadValue { what, typed: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, BadValue> {
        parse(&line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_whole_command_line_can_be_pasted() {
        let flags = parsed(
            "/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml -v 2 --root-dir /data --node-ip 10.0.0.1 --enable-server \
             --image_gc_high_threshold=90 -v=4 --maximum-dead-containers -1 --root-dir=/kubelet --exit-on-lock -- --root-dir=/x",
        )
        .unwrap();
        assert_eq!(flags.get("root-dir"), Some("/kubelet"));
        assert_eq!(flags.get("image-gc-high-threshold"), Some("90"));
        assert_eq!(flags.get("maximum-dead-containers"), Some("-1"));
        assert_eq!(flags.get("minimum-image-ttl-duration"), None);
        assert_eq!(flags.used(), ["--image-gc-high-threshold", "--maximum-dead-containers", "--root-dir"]);
        assert_eq!(flags.suspects(), [""; 0]);
        assert!(parsed("").unwrap().given.is_empty());
        assert!(parsed("kubelet").unwrap().given.is_empty());
    }

    #[test]
    fn unknown_flags_that_sound_like_garbage_collection_are_told() {
        let flags =
            parsed("--low-diskspace-threshold-mb=256 --max-pods 50 --image-gc-whatever --v=2").unwrap();
        assert_eq!(flags.suspects(), ["--image-gc-whatever", "--low-diskspace-threshold-mb"]);
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for (line, part) in [
            ("kubelet run", "`run`"),
            ("--v=2 stray", "`stray`"),
            ("--root-dir", "--root-dir: it needs a value"),
            ("---root-dir=/x", "`---root-dir=/x`"),
            ("--=x", "`--=x`"),
            ("-v 2 -", "`-`"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.typed && error.what.contains(part), "{line}: {error:?}");
        }
        let error = parse(&["--root-dir --v=2".to_owned()]).unwrap_err();
        assert!(error.what.contains("--flag=value"), "{error:?}");
    }
}
