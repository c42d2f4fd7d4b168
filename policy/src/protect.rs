//! Which images the operator protects: the patterns of `image_gc.protect` (behaviour: Images).
//!
//! A pattern that matched nothing by mistake would cost an air-gapped node its images, so matching is generous:
//! Docker's short names match as well as the full ones, and an id may be given short, as `crictl images` prints it.

use std::fmt;
use std::str::FromStr;

use crate::reference::{Reference, familiar_repo, full_repo, path_on_hub};

/// One entry of `image_gc.protect`: `repo`, `repo:tag`, `repo@digest`, each with `*` (any run of characters, slashes
/// included), or an image id, whole or at least 12 of its hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Hex digits that the id of the image begins with, where the pattern may be an id.
    id: Option<String>,
    repo: String,
    /// Of a pattern with a digest: the tag in front of that.
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a pattern can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between the quotes.
    #[error("it is empty; write `repo`, `repo:tag`, `repo@digest` (each may contain `*`) or an image id")]
    Empty,
    /// No image name contains white space.
    #[error("it contains white space, which no image name does")]
    WhiteSpace,
    /// A character that is in no image name: a regular expression, a negation, or a whole list in one entry.
    #[error(
        "no image name contains `{0}`; only `*` is special, regular expressions and `!` are not supported; write one pattern \
         in each entry (in the environment and on the command line: a,b)"
    )]
    Character(char),
    /// A part of the path that begins with a dot, most likely of the regular expression `.*`.
    #[error(
        "no part of an image name begins with `.`; regular expressions are not supported, write `*` instead of `.*`"
    )]
    Dot,
    /// An address.
    #[error("an image name has no `://`; write it as `crictl images` shows it")]
    Scheme,
    /// A folder of a registry.
    #[error("it ends with `/`, as no image name does; append `*` to protect everything below it")]
    Folder,
    /// `sha256:` and something that is no id.
    #[error("an image id is \"sha256:\" and 12 to 64 hex digits; this would protect nothing")]
    NoId,
    /// `repo:` or `repo@` with nothing behind, or nothing in front.
    #[error("the part before or after `{0}` is empty; use `*` to match anything")]
    EmptyPart(char),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.chars().any(char::is_whitespace) {
            return Err(PatternError::WhiteSpace);
        }
        if let Some(odd) = text.chars().find(|c| !is_of_references(*c)) {
            return Err(PatternError::Character(odd));
        }
        if text.split('/').any(|part| part.starts_with('.')) {
            return Err(PatternError::Dot);
        }
        if text.contains("://") {
            return Err(PatternError::Scheme);
        }
        if text.ends_with('/') {
            return Err(PatternError::Folder);
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = (12..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if text.starts_with("sha256:") && !is_id {
            return Err(PatternError::NoId);
        }
        let hex = is_id.then(|| hex.to_ascii_lowercase());
        let Reference { repo, tag, digest } = Reference::parse(hex.as_deref().unwrap_or(text));
        match (text.split_once('@'), tag) {
            (Some((name, digest)), _) if name.is_empty() || digest.is_empty() => {
                return Err(PatternError::EmptyPart('@'));
            }
            (None, Some(tag)) if repo.is_empty() || tag.is_empty() => {
                return Err(PatternError::EmptyPart(':'));
            }
            _ => {}
        }
        Ok(Self {
            text: text.to_owned(),
            repo: repo.to_owned(),
            tag: tag.map(ToOwned::to_owned),
            digest: digest.map(ToOwned::to_owned),
            id: hex,
        })
    }
}

/// Whether a character may be in a reference (the `+` in the name of a digest's algorithm), or is the wildcard.
fn is_of_references(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+' | '*')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether the pattern protects the image of this id and these names (tags and digests).
    #[must_use]
    pub fn matches<'a>(&self, id: &str, names: impl IntoIterator<Item = &'a str>) -> bool {
        self.matches_parsed(id, &names.into_iter().map(Reference::parse).collect::<Vec<_>>())
    }

    /// The same with names that were parsed before: once for all patterns.
    pub(crate) fn matches_parsed(&self, id: &str, names: &[Reference<'_>]) -> bool {
        // "*" means every image, those without a name included.
        if self.text.bytes().all(|b| b == b'*') {
            return true;
        }
        if let Some(hex) = &self.id {
            // A digest has the form of an id.
            let mut digests = names.iter().filter_map(|name| name.digest?.strip_prefix("sha256:"));
            let begins = |digits: &str| digits.get(..hex.len()).is_some_and(|d| d.eq_ignore_ascii_case(hex));
            if begins(id.strip_prefix("sha256:").unwrap_or(id)) || digests.any(begins) {
                return true;
            }
        }
        // One that was side-loaded has no digest to know it by, but its tag.
        let is_side_loaded = self.tag.is_some() && names.iter().all(|name| name.digest.is_none());
        names.iter().any(|name| {
            let matches = match &self.digest {
                Some(_) if is_side_loaded => self.matches_tag(name),
                Some(digest) => name.digest.is_some_and(|d| glob(digest, d)),
                None => self.matches_tag(name),
            };
            matches && self.matches_repo(name.repo)
        })
    }

    /// One that is known by its digest only may have had any tag.
    fn matches_tag(&self, name: &Reference<'_>) -> bool {
        self.tag.as_ref().is_none_or(|tag| name.tag.map_or(tag == "*", |t| glob(tag, t)))
    }

    /// In its own form, in the full one, and in the short ones: a runtime may report any of them.
    fn matches_repo(&self, repo: &str) -> bool {
        let full = full_repo(repo);
        glob(&self.repo, repo)
            || glob(&full_repo(&self.repo), &full)
            || path_on_hub(&self.repo).is_some_and(|path| glob(&format!("docker.io/{path}"), &full))
            || familiar_repo(&full).any(|short| glob(&self.repo, short))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters, none included.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` yields at least one part: what the value has to begin with.
    let Some(rest) = parts.next().and_then(|head| text.strip_prefix(head)) else {
        return false;
    };
    let Some(tail) = parts.next_back() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            // The leftmost place leaves the most for what follows.
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches("sha256:00", [name])
    }

    #[test]
    fn a_repo_matches_every_tag_and_digest_of_it() {
        assert!(matches("registry.k8s.io/pause", "registry.k8s.io/pause:3.9"));
        assert!(matches("registry.k8s.io/pause", "registry.k8s.io/pause@sha256:ab"));
        assert!(!matches("registry.k8s.io/pause", "registry.k8s.io/pause-arm:3.9"));
        assert!(!matches("pause", "registry.k8s.io/pause:3.9"), "a repo is matched whole");
    }

    #[test]
    fn tags_and_digests_are_matched_whole() {
        assert!(matches("a/b:1.0", "a/b:1.0"));
        assert!(!matches("a/b:1", "a/b:1.0"));
        assert!(!matches("a/b:1.0", "a/b@sha256:1.0"));
        assert!(matches("a/b:*", "a/b@sha256:ff"), "it may have had any tag");
        assert!(matches("a/b:1@sha256:ff", "a/b:1"), "it may have lost its digest");
        assert!(!matches("a/b:1@sha256:ff", "a/b:2"));
        assert!(matches("a/b@sha256:ff", "a/b@sha256:ff"));
        assert!(matches("a/b:1.0@sha256:ff", "a/b@sha256:ff"));
    }

    #[test]
    fn a_star_matches_any_run_slashes_included() {
        assert!(matches("registry.k8s.io/*", "registry.k8s.io/coredns/coredns:v1"));
        assert!(matches("*/coredns:v*", "registry.k8s.io/coredns/coredns:v1"));
        assert!(matches("*pause*", "k8s.gcr.io/pause:3.1"));
        assert!(matches("a*b*c", "aXbYbZc:1"));
        assert!(!matches("a*b*c", "aXcYb:1"));
        assert!(!matches("ab*ba", "aba:1"), "the ends may not overlap");
    }

    #[test]
    fn a_port_is_no_tag() {
        assert!(matches("localhost:5000/app", "localhost:5000/app:2"));
        assert!(matches("localhost:5000/app:2", "localhost:5000/app:2"));
        assert!(!matches("localhost:5000/app:2", "localhost:5000/app:3"));
    }

    #[test]
    fn docker_hub_images_match_by_their_short_names_too() {
        for pattern in [
            "busybox",
            "library/busybox",
            "docker.io/library/busybox",
            "busybox:1.36",
            "busy*",
            "docker.io/busybox:1.36",
            "docker.io/*",
        ] {
            assert!(matches(pattern, "docker.io/library/busybox:1.36"), "{pattern}");
            assert!(matches(pattern, "busybox:1.36"), "{pattern}: a runtime that reports short names");
        }
        assert!(matches("grafana/grafana", "docker.io/grafana/grafana:11"));
    }

    #[test]
    fn an_id_matches_whole_or_by_its_first_digits() {
        let id = "sha256:e6f1816883972d4be47bd48879a08919b96afcd344132622e4d444987919323c";
        for pattern in [id, &id[7..], "e6f181688397", "sha256:e6f181688397"] {
            assert!(pattern.parse::<Pattern>().unwrap().matches(id, []), "{pattern}");
        }
        assert!(!"e6f181688398".parse::<Pattern>().unwrap().matches(id, []));
    }

    #[test]
    fn star_alone_protects_images_without_a_name_too() {
        assert!("*".parse::<Pattern>().unwrap().matches("sha256:00", []));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Empty));
        assert_eq!("a b".parse::<Pattern>(), Err(PatternError::WhiteSpace));
        assert_eq!("[\"a/*\"".parse::<Pattern>(), Err(PatternError::Character('[')));
        for (pattern, odd) in [
            ("^a.*$", '^'),
            ("a$", '$'),
            ("(a|b)", '('),
            ("a|b", '|'),
            ("a\\.b", '\\'),
            ("a[0-9]", '['),
            ("!a/b", '!'),
            ("a?", '?'),
            ("b\u{e4}r", '\u{e4}'),
            ("a\u{202e}b", '\u{202e}'),
        ] {
            assert_eq!(pattern.parse::<Pattern>(), Err(PatternError::Character(odd)), "{pattern}");
        }
        for pattern in [".*", "registry.example/.*", ".*/base:1"] {
            assert_eq!(pattern.parse::<Pattern>(), Err(PatternError::Dot), "{pattern}");
        }
        let good = ["a_b/c-d.e:V1_2-x", "localhost:5000/*", "a@sha256:*", "a@sha512+b64:ff"];
        for pattern in good {
            assert!(pattern.parse::<Pattern>().is_ok(), "{pattern}");
        }
        for id in ["sha256:", "sha256:abc", "sha256:e6f1816883972*"] {
            assert_eq!(id.parse::<Pattern>(), Err(PatternError::NoId), "{id}");
        }
        assert_eq!("a:".parse::<Pattern>(), Err(PatternError::EmptyPart(':')));
        assert_eq!("@sha256:1".parse::<Pattern>(), Err(PatternError::EmptyPart('@')));
        assert_eq!("docker://busybox".parse::<Pattern>(), Err(PatternError::Scheme));
        assert_eq!("registry.example/base/".parse::<Pattern>(), Err(PatternError::Folder));
    }
}
