//! The legacy links `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`: one symbolic link for each container.

use std::path::Path;

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

use crate::entries::{Entry, entries, to_path};
use crate::root::{FileError, Root, unlink};

/// A link of the legacy root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, which ends in `.log`.
    pub name: String,
    /// Whether what it points to is missing. A target that can't be accessed is not missing.
    pub dangling: bool,
}

/// Id of the container that a link of this name belongs to, from the end of the name; `None` if there is no whole id (64 hex digits)
/// there.
#[must_use]
pub fn container_id(name: &str) -> Option<&str> {
    let id = name.strip_suffix(".log")?.rsplit_once('-')?.1;
    (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

/// All symbolic links named `*.log` right in the legacy root; none if there is no such directory.
///
/// # Errors
/// What the operating system says of the root.
pub fn scan(root: &Path) -> Result<Vec<Link>, FileError> {
    let Some(opened) = Root::open(root)? else { return Ok(Vec::new()) };
    let mut links = Vec::new();
    for Entry { name, kind, .. } in entries(&opened, root)? {
        let Ok(name) = name.into_string() else { continue };
        if name.ends_with(".log") && kind == FileType::Symlink {
            let dangling = matches!(statat(&opened, &name, AtFlags::empty()), Err(Errno::NOENT));
            links.push(Link { name, dangling });
        }
    }
    links.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(links)
}

/// Removes the link `name` if it is a symbolic link whose target satisfies `condition`, and says whether it did.
///
/// # Errors
/// What the operating system says. A link that is gone already is no error.
pub fn remove_if(root: &Path, name: &str, condition: impl FnOnce(&Path) -> bool) -> Result<bool, FileError> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Ok(false);
    }
    let Some(opened) = Root::open(root)? else { return Ok(false) };
    let target = match readlinkat(&opened, name, Vec::new()) {
        Ok(target) => target,
        // Gone, or no symbolic link.
        Err(Errno::NOENT | Errno::INVAL) => return Ok(false),
        Err(error) => return Err(FileError::at(&root.join(name))(error)),
    };
    Ok(condition(to_path(&target)) && unlink(&opened, name, AtFlags::empty(), &root.join(name))?)
}

/// Removes the link `name` if what it points to is missing, and says whether it did.
///
/// # Errors
/// As [`remove_if`].
pub fn remove_dangling(root: &Path, name: &str) -> Result<bool, FileError> {
    remove_if(root, name, |target| {
        // A relative target counts from the directory of the link.
        matches!(rustix::fs::stat(root.join(target)), Err(Errno::NOENT))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_whole_id_is_read_from_the_end_of_the_name() {
        let id = "a1".repeat(32);
        assert_eq!(container_id(&format!("web-0_default_app-{id}.log")), Some(id.as_str()));
        assert_eq!(
            container_id(&format!("app-{}.log", &id[1..])),
            None,
            "a runtime would take it for a prefix"
        );
        assert_eq!(container_id(&format!("app_{id}.log")), None);
        assert_eq!(container_id(&format!("app-{id}.log.1")), None);
    }

    #[test]
    fn links_without_a_target_are_seen_and_only_they_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("target"), "x").unwrap();
        symlink(at("target"), at("good.log")).unwrap();
        symlink(at("nothing"), at("dangling.log")).unwrap();
        symlink("nothing", at("relative.log")).unwrap();
        symlink("target", at("relative-good.log")).unwrap();
        symlink(at("nothing"), at("no-log")).unwrap();
        fs::write(at("file.log"), "x").unwrap();
        let seen: Vec<(String, bool)> =
            scan(folder.path()).unwrap().into_iter().map(|link| (link.name, link.dangling)).collect();
        let expected = [
            ("dangling.log", true),
            ("good.log", false),
            ("relative-good.log", false),
            ("relative.log", true),
        ];
        assert_eq!(seen, expected.map(|(name, dangling)| (name.to_owned(), dangling)));
        for name in ["dangling.log", "good.log", "relative.log", "relative-good.log", "file.log", "gone.log"]
        {
            let removed = remove_dangling(folder.path(), name).unwrap();
            assert_eq!(removed, matches!(name, "dangling.log" | "relative.log"), "{name}");
        }
        assert!(at("good.log").exists() && at("file.log").exists());
    }

    #[test]
    fn without_a_root_there_are_no_links() {
        assert_eq!(scan(Path::new("/nonexistent/containers")).unwrap(), []);
        assert!(!remove_dangling(Path::new("/nonexistent/containers"), "a.log").unwrap());
    }
}
