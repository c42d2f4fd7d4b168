//! Names, as plainly as possible: of log directories, and of images that are written in full.

/// The UID in the name of a pod's log directory, `<namespace>_<name>_<uid>` or `<uid>`.
pub fn uid_of_log_dir(name: &str) -> Option<&str> {
    let parts: Vec<&str> = name.split('_').collect();
    let uid = match parts.as_slice() {
        [uid] => *uid,
        [namespace, pod, uid] if !namespace.is_empty() && !pod.is_empty() => *uid,
        _ => return None,
    };
    is_uid(uid).then_some(uid)
}

/// 8-4-4-4-12 or 32 hex digits.
fn is_uid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    hex && (groups == [8, 4, 4, 4, 12] || groups == [32])
}

/// Whether a pattern with `*` for any text matches the whole of a text.
pub fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len()).any(|at| text.is_char_boundary(at) && glob(&pattern[1..], &text[at..])),
        Some(c) => text.starts_with(c) && glob(&pattern[c.len_utf8()..], &text[c.len_utf8()..]),
    }
}

/// `repo`, and `:tag` or `@digest` with its sign. A colon before a slash is that of a port.
pub fn split(name: &str) -> (&str, &str) {
    let at = name
        .find('@')
        .or_else(|| name.rfind(':').filter(|&colon| !name[colon..].contains('/')))
        .unwrap_or(name.len());
    name.split_at(at)
}

/// Whether a pattern of `image_gc.protect` matches an image with this id and these names.
pub fn protects(pattern: &str, id: &str, names: &[String]) -> bool {
    if pattern == id {
        return true;
    }
    let (repo, rest) = split(pattern);
    names.iter().any(|name| {
        let (its_repo, its_rest) = split(name);
        // One that is known by its digest only may have had any tag.
        let any_tag = rest == ":*" && its_rest.starts_with('@');
        glob(repo, its_repo) && (rest.is_empty() || any_tag || glob(rest, its_rest))
    })
}
