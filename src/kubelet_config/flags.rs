//! The kubelet's command line: which flags are given, with which values. Written `--flag=value` or `--flag value`, or wrapped
//! in the flag of another program, as k3s' `--kubelet-arg=flag=value`.
//!
//! Flags that are not read are listed, without knowing whether they take a value: a word that follows one counts as its value.
//! This module must not judge the values, except for what a shell would have changed in them.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{BadValue, ImportError};
use super::known;
use super::near::{meant, nearest};

/// The flags of a command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Those that are given, with their values; the later one of two wins.
    given: BTreeMap<String, String>,
    /// k3s or rke2 starts the kubelet.
    pub(super) is_k3s: bool,
}

/// Words that may come before the first flag; so may paths.
const PROGRAMS: [&str; 8] = ["kubelet", "hyperkube", "k3s", "rke2", "agent", "server", "exec", "sudo"];

impl Flags {
    /// Reads the arguments, with or without the program's name before them.
    ///
    /// # Errors
    /// A kubelet would refuse the arguments, or something else was meant by one of them.
    pub fn parse(arguments: &[String]) -> Result<Self, ImportError> {
        parse(arguments).map_err(|bad| ImportError::values(&[bad]))
    }

    /// The file of `--config`, or the directory of `--config-dir`.
    #[must_use]
    pub fn path(&self, flag: &str) -> Option<&Path> {
        self.get(flag).filter(|path| !path.is_empty()).map(Path::new)
    }

    /// The value of a flag.
    pub(super) fn get(&self, flag: &str) -> Option<&str> {
        self.given.get(flag).map(String::as_str)
    }

    /// The flags that are read, or those that are not.
    pub(super) fn names(&self, read: bool) -> Vec<String> {
        self.given.keys().filter(|name| is_known(name) == read).map(|name| format!("--{name}")).collect()
    }

    /// Adds the flags of these words, or says what is wrong with one.
    fn read<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let stray = |word: &str| {
            format!(
                "`{word}`: it is neither a flag of the kubelet nor the value of one (quotes and variables of a shell do not belong here)"
            )
        };
        let mut words = words.peekable();
        while let Some(word) = words.next_if(|word| !word.starts_with('-')) {
            let program = word.rsplit('/').next().unwrap_or_default();
            if !(word.starts_with(['/', '.']) || PROGRAMS.contains(&program)) {
                return Err(stray(word));
            }
            self.is_k3s |= matches!(program, "k3s" | "rke2");
        }
        while let Some(word) = words.next() {
            let dashes = word.len() - word.trim_start_matches('-').len();
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let name = name.get(dashes..).unwrap_or_default().replace('_', "-");
            match dashes {
                _ if word == "-" || dashes == 0 => return Err(stray(word)),
                1 => {
                    if let Some(meant) = nearest(&name, known::flags()) {
                        return Err(format!("`{word}`: write it with two dashes, as --{meant}=VALUE"));
                    }
                    // A flag of one letter, as -v 2.
                    words.next_if(|next| value.is_none() && !next.starts_with('-'));
                    continue;
                }
                // What follows is not a flag to the kubelet either.
                2 if word == "--" => {
                    return words.next().map_or(Ok(()), |next| {
                        Err(format!(
                            "`{next}`: words after a second -- are not flags to the kubelet; leave them out"
                        ))
                    });
                }
                2 if !name.is_empty() && !name.contains(char::is_whitespace) => {}
                _ => return Err(format!("`{word}`: it is not written as a flag, --flag=value")),
            }
            let value = match value {
                Some(value) => value,
                None if is_known(&name) || matches!(name.as_str(), "kubelet-arg" | "kubelet-extra-args") => {
                    words.next().ok_or_else(|| format!("--{name}: it needs a value"))?
                }
                None => words.next_if(|next| !next.starts_with('-')).unwrap_or_default(),
            };
            match name.as_str() {
                "kubelet-arg" => {
                    let (name, value) = value.split_once('=').unwrap_or((value, ""));
                    self.add(name.trim_start_matches('-'), value)?;
                }
                "kubelet-extra-args" => self.read(value.trim_matches(['"', '\'']).split_whitespace())?,
                // What k3s and rke2 make of their own flag.
                "node-name" if self.is_k3s => self.add("hostname-override", value)?,
                _ => self.add(&name, value)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        // The kubelet takes both signs for each other.
        let name = name.replace('_', "-");
        if let Some(meant) = meant(&name, known::flags()) {
            return Err(format!("--{name}: the kubelet has no such flag; write --{meant} if that is meant"));
        }
        let bad = match name.as_str() {
            _ if value.contains(" --") => {
                "several flags are in one word; write them without quotes around all of them"
            }
            name if !is_known(name) => "",
            // What a shell would have taken away or replaced.
            _ if value.contains(['"', '\'']) => {
                "the quotes are part of the value, which the kubelet would refuse; leave them out"
            }
            _ if !value.contains('$') => "",
            "hostname-override" => {
                "it contains a variable that is not replaced here; write the name that `kubectl get nodes` shows for this machine"
            }
            _ => "it contains a variable that is not replaced here; write the value that it has on the node",
        };
        if !bad.is_empty() {
            return Err(format!("--{name}={value}: {bad}"));
        }
        match self.given.get_mut(&name) {
            // The kubelet merges the maps of several flags.
            Some(before) if name.starts_with("eviction-") => before.extend([",", value]),
            _ => drop(self.given.insert(name, value.to_owned())),
        }
        Ok(())
    }
}

fn is_known(name: &str) -> bool {
    known::flags().any(|known| known == name)
}

fn parse(arguments: &[String]) -> Result<Flags, BadValue> {
    let is_k3s = arguments.iter().any(|word| word.starts_with("--kubelet-arg"));
    let mut flags = Flags { is_k3s, ..Flags::default() };
    let read = flags.read(arguments.iter().map(String::as_str));
    read.map(|()| flags).map_err(|what| BadValue { what, is_flag: true })
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
             --image_gc_high_threshold=90 -v=4 --maximum-dead-containers -1 --root-dir=/kubelet --exit-on-lock",
        )
        .unwrap();
        assert_eq!(flags.get("root-dir"), Some("/kubelet"));
        assert_eq!(flags.get("image-gc-high-threshold"), Some("90"));
        assert_eq!(flags.get("maximum-dead-containers"), Some("-1"));
        assert_eq!(flags.get("minimum-image-ttl-duration"), None);
        assert_eq!(flags.names(false), ["--enable-server", "--exit-on-lock", "--node-ip"]);
        assert_eq!(
            flags.names(true),
            ["--config", "--image-gc-high-threshold", "--maximum-dead-containers", "--root-dir"]
        );
        assert!(parsed("").unwrap().given.is_empty());
        assert!(parsed("kubelet").unwrap().given.is_empty());
    }

    #[test]
    fn wrapped_flags_are_unwrapped() {
        for line in [
            "k3s agent --kubelet-arg=root-dir=/d --node-name=n1 --kubelet-arg image-gc-high-threshold=90 --server https://x",
            "rke2 server --kubelet-arg=--root-dir=/d --node-name n1 --kubelet-arg=image_gc_high_threshold=90 --v=1",
            "--node-name=n1 --kubelet-arg=root-dir=/d --kubelet-arg=image-gc-high-threshold=90",
        ] {
            let flags = parsed(line).unwrap();
            assert!(flags.is_k3s, "{line}");
            assert_eq!(
                flags.names(true),
                ["--hostname-override", "--image-gc-high-threshold", "--root-dir"],
                "{line}"
            );
            assert_eq!(
                (flags.get("root-dir"), flags.get("hostname-override")),
                (Some("/d"), Some("n1")),
                "{line}"
            );
        }
        for before in
            ["/usr/local/bin/k3s", "./kubelet", "exec /usr/bin/kubelet", "hyperkube kubelet", "sudo /k"]
        {
            assert_eq!(
                parsed(&format!("{before} --root-dir=/d")).unwrap().get("root-dir"),
                Some("/d"),
                "{before}"
            );
        }
        let extra = ["--kubelet-extra-args".to_owned(), "'--root-dir=/d --max-pods=5'".to_owned()];
        let flags = parse(&extra).unwrap();
        assert_eq!(
            (flags.names(true), flags.names(false)),
            (vec!["--root-dir".to_owned()], vec!["--max-pods".to_owned()])
        );
    }

    #[test]
    fn maps_of_eviction_add_up_as_in_the_kubelet() {
        let flags = parsed("--eviction-hard=a<1 --root-dir=/a --eviction-hard=b<2 --root-dir=/b").unwrap();
        assert_eq!((flags.get("eviction-hard"), flags.get("root-dir")), (Some("a<1,b<2"), Some("/b")));
    }

    #[test]
    fn what_was_nearly_a_flag_is_refused_with_the_one_that_is_meant() {
        for (line, part) in [
            ("--image-gc-high-treshold=90", "write --image-gc-high-threshold"),
            ("--Root-Dir=/x", "write --root-dir"),
            ("--imageGCHighThreshold=90", "write --image-gc-high-threshold"),
            ("--kubelet-arg=maximum-dead-container=3", "write --maximum-dead-containers"),
            ("-root-dir=/x", "two dashes"),
            ("--root-dir=\"/x\"", "leave them out"),
            ("--root-dir=${SNAP_COMMON}/kubelet", "the value that it has on the node"),
            ("--hostname-override=${NODE}", "kubectl get nodes"),
            ("--hostname-override=$(NODE_NAME)", "kubectl get nodes"),
            ("--hostname-override=$NODE", "kubectl get nodes"),
            ("\"--root-dir=/x\"", "quotes"),
            ("KUBELET_EXTRA_ARGS=--root-dir=/x", "neither a flag"),
            ("--v=2 -- --root-dir=/x", "second --"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.is_flag && error.what.contains(part), "{line}: {error:?}");
        }
        let error = parse(&["--root-dir=/x --v=2".to_owned()]).unwrap_err();
        assert!(error.what.contains("several flags"), "{error:?}");
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
            assert!(error.is_flag && error.what.contains(part), "{line}: {error:?}");
        }
        let error = parse(&["--root-dir --v=2".to_owned()]).unwrap_err();
        assert!(error.what.contains("--flag=value"), "{error:?}");
    }
}
