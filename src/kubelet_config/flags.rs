//! The kubelet's command line: which flags are given, with what. Written `--flag=value` or `--flag value`, or wrapped in the
//! flag of another program, as k3s' `--kubelet-arg=flag=value`.
//!
//! Flags that have nothing to do with garbage collection are named, without knowing whether they take a value: a word that
//! follows one counts as its value.

use super::BadValue;
use super::near::meant;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    /// In their order; the later one of two wins.
    given: Vec<(String, String)>,
    /// k3s or rke2 starts the kubelet.
    pub(super) is_k3s: bool,
}

/// Flags that are translated, or that name what stays with the kubelet. All of them take a value.
const KNOWN: [&str; 18] = [
    "config",
    "config-dir",
    "container-log-max-files",
    "container-log-max-size",
    "container-runtime-endpoint",
    "eviction-hard",
    "eviction-minimum-reclaim",
    "eviction-soft",
    "eviction-soft-grace-period",
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

/// Words that may stand before the first flag; so may paths.
const PROGRAMS: [&str; 8] = ["kubelet", "hyperkube", "k3s", "rke2", "agent", "server", "exec", "sudo"];

impl Flags {
    /// The value of a flag.
    pub(super) fn get(&self, flag: &str) -> Option<&str> {
        self.given.iter().rev().find(|(name, _)| name == flag).map(|(_, value)| value.as_str())
    }

    /// The flags that were taken into account, each once.
    pub(super) fn used(&self) -> Vec<String> {
        self.names(true)
    }

    /// The flags that were not, each once.
    pub(super) fn others(&self) -> Vec<String> {
        self.names(false)
    }

    fn names(&self, known: bool) -> Vec<String> {
        let names = self.given.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<_> =
            names.filter(|name| KNOWN.contains(name) == known).map(|name| format!("--{name}")).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn add(&mut self, name: String, value: &str) -> Result<(), BadValue> {
        if let Some(meant) = meant(&name, KNOWN) {
            return Err(typed(format!(
                "--{name}: the kubelet has no such flag; write --{meant} if that is meant"
            )));
        }
        if value.contains(" --") {
            return Err(typed(format!(
                "--{name}={value}: several flags are in one word; write them without quotes around all of them"
            )));
        }
        if KNOWN.contains(&name.as_str()) {
            check_shell(&name, value)?;
        }
        // The kubelet adds the maps of several flags up.
        if name.starts_with("eviction-")
            && let Some((_, before)) = self.given.iter_mut().find(|(given, _)| *given == name)
        {
            before.push(',');
            before.push_str(value);
            return Ok(());
        }
        self.given.push((name, value.to_owned()));
        Ok(())
    }
}

/// Refuses what a shell would have taken away or replaced.
fn check_shell(name: &str, value: &str) -> Result<(), BadValue> {
    if value.contains(['"', '\'']) {
        return Err(typed(format!(
            "--{name}={value}: the quotes are part of the value, which the kubelet would refuse; leave them out"
        )));
    }
    if value.contains('$') {
        let remedy = match name {
            "hostname-override" => "write the name that `kubectl get nodes` shows for this machine",
            _ => "write what it stands for on the node",
        };
        return Err(typed(format!(
            "--{name}={value}: it holds a variable that nothing replaces here; {remedy}"
        )));
    }
    Ok(())
}

/// Reads the arguments, with or without the program's name in front.
pub(super) fn parse(arguments: &[String]) -> Result<Flags, BadValue> {
    let is_k3s = arguments.iter().any(|word| word.starts_with("--kubelet-arg"));
    let mut flags = Flags { is_k3s, ..Flags::default() };
    let mut words = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = words.next_if(|word| !word.starts_with('-')) {
        let program = word.rsplit('/').next().unwrap_or_default();
        if !(word.starts_with(['/', '.']) || PROGRAMS.contains(&program)) {
            return Err(stray(word));
        }
        flags.is_k3s |= matches!(program, "k3s" | "rke2");
    }
    read(&mut flags, &mut words)?;
    Ok(flags)
}

fn read<'a>(
    flags: &mut Flags,
    words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Result<(), BadValue> {
    while let Some(word) = words.next() {
        if word == "--" {
            // What follows is no flag to the kubelet either.
            if let Some(next) = words.next() {
                return Err(typed(format!(
                    "`{next}`: what stands behind a second -- is no flag to the kubelet; leave that out"
                )));
            }
            break;
        }
        let Some(flag) = word.strip_prefix("--") else {
            // A flag of one letter, as -v 2.
            if word.len() > 1 && word.starts_with('-') {
                let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
                if let Some(meant) =
                    KNOWN.into_iter().find(|known| *known == name).or_else(|| meant(name, KNOWN))
                {
                    return Err(typed(format!("`{word}`: write it with two dashes, as --{meant}=VALUE")));
                }
                words.next_if(|next| !word.contains('=') && !next.starts_with('-'));
                continue;
            }
            return Err(stray(word));
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
        let wraps = matches!(name.as_str(), "kubelet-arg" | "kubelet-extra-args");
        let value = match value {
            Some(value) => value,
            None if wraps || KNOWN.contains(&name.as_str()) => {
                words.next().ok_or_else(|| typed(format!("--{name}: it needs a value")))?
            }
            None => words.next_if(|next| !next.starts_with('-')).unwrap_or_default(),
        };
        match name.as_str() {
            "kubelet-arg" => {
                let (name, value) = value.trim_start_matches('-').split_once('=').unwrap_or((value, ""));
                flags.add(name.trim_start_matches('-').replace('_', "-"), value)?;
            }
            "kubelet-extra-args" => {
                let inner = value.trim_matches(['"', '\'']).split_whitespace().map(str::to_owned);
                let inner = parse(&inner.collect::<Vec<_>>())?;
                for (name, value) in inner.given {
                    flags.add(name, &value)?;
                }
            }
            // What k3s and rke2 make of their own flag.
            "node-name" if flags.is_k3s => flags.add("hostname-override".to_owned(), value)?,
            _ => flags.add(name, value)?,
        }
    }
    Ok(())
}

fn stray(word: &str) -> BadValue {
    typed(format!(
        "`{word}`: it is neither a flag of the kubelet nor the value of one (a shell's quotes and variables do not belong here)"
    ))
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
             --image_gc_high_threshold=90 -v=4 --maximum-dead-containers -1 --root-dir=/kubelet --exit-on-lock",
        )
        .unwrap();
        assert_eq!(flags.get("root-dir"), Some("/kubelet"));
        assert_eq!(flags.get("image-gc-high-threshold"), Some("90"));
        assert_eq!(flags.get("maximum-dead-containers"), Some("-1"));
        assert_eq!(flags.get("minimum-image-ttl-duration"), None);
        assert_eq!(flags.others(), ["--enable-server", "--exit-on-lock", "--node-ip"]);
        assert_eq!(
            flags.used(),
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
                flags.used(),
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
            (flags.used(), flags.others()),
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
            ("--root-dir=${SNAP_COMMON}/kubelet", "what it stands for"),
            ("--hostname-override=${NODE}", "kubectl get nodes"),
            ("--hostname-override=$(NODE_NAME)", "kubectl get nodes"),
            ("--hostname-override=$NODE", "kubectl get nodes"),
            ("\"--root-dir=/x\"", "quotes"),
            ("KUBELET_EXTRA_ARGS=--root-dir=/x", "neither a flag"),
            ("--v=2 -- --root-dir=/x", "second --"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.typed && error.what.contains(part), "{line}: {error:?}");
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
            assert!(error.typed && error.what.contains(part), "{line}: {error:?}");
        }
        let error = parse(&["--root-dir --v=2".to_owned()]).unwrap_err();
        assert!(error.what.contains("--flag=value"), "{error:?}");
    }
}
