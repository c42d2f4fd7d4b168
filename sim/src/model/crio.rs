//! What CRI-O does differently from containerd: the forms of its names, what it refuses to remove, and what it reports of
//! times and logs. Seen on CRI-O 1.37.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::logs;
use super::names::{PREFIX, complete, repository};
use super::node::Node;
use super::objects::{Container, Image};
use crate::clock::{earlier, later};
use crate::error::SimError;
use crate::options::Flavour;

/// What a restart of the runtime adds to the creation times in lists.
const MOVE: Duration = Duration::from_micros(100);

/// An image id in the form of CRI-O.
pub(crate) fn image_id(id: &str) -> String {
    id.strip_prefix(PREFIX).unwrap_or(id).to_owned()
}

/// A complete name. One with a digest loses the registry's port and all that follows it.
pub(crate) fn name(name: &str) -> String {
    let name = complete(name);
    match name.split_once('@') {
        Some((repository, digest)) => format!("{}@{digest}", without_port(repository)),
        None => name,
    }
}

/// CRI-O cuts a repository at its first colon, which it takes for that of a tag.
fn without_port(repository: &str) -> &str {
    repository.split_once(':').map_or(repository, |(host, _)| host)
}

/// The names with a digest that an image has: those given, else one for the repository of each tag, else an invented one.
pub(crate) fn repo_digests(given: &[String], tags: &[String], manifest: &str) -> Vec<String> {
    if !given.is_empty() {
        return given.iter().map(|digest| name(digest)).collect();
    }
    let mut digests: Vec<String> =
        tags.iter().map(|tag| format!("{}@{manifest}", without_port(repository(tag)))).collect();
    digests.dedup();
    if digests.is_empty() {
        let hex = image_id(manifest);
        digests.push(format!("docker.io/library/{}-tmp@{manifest}", hex.get(..12).unwrap_or(&hex)));
    }
    digests
}

/// The `image_ref` of a container that was made of `image` by that name: the digest in the repository of that name,
/// else the first one, else the bare id.
pub(crate) fn image_ref(image: &Image, name: &str) -> String {
    let name = complete(name);
    let wanted = format!("{}@", without_port(repository(&name)));
    let digest = image.digests.iter().find(|digest| digest.starts_with(&wanted));
    digest.or(image.digests.first()).unwrap_or(&image.id).clone()
}

impl Node {
    /// RemoveImage: an image in use is refused by whatever name; an id or a part of it removes the image, one of several
    /// tags only that tag. An artifact is removed only by a tag or digest.
    pub(crate) fn remove_image_as_crio(&mut self, given: &str) -> Result<String, SimError> {
        if given.starts_with(PREFIX) {
            let problem = "did not resolve to an alias and no search registries are defined";
            return Err(SimError::Refused(format!("short-name {given:?} {problem}")));
        }
        let id = self.resolve_image(given)?;
        if let Some(user) = self.image_user(&id) {
            return Err(SimError::Refused(format!("image used by {user}: image is in use by a container")));
        }
        let mounted = |container: &&Container| container.volumes.iter().any(|volume| volume.image_id == id);
        if let Some(user) = self.containers.values().find(mounted) {
            return Err(SimError::Refused(format!("the image is in use by {}", user.id)));
        }
        let name = name(given);
        let image = self.image_mut(&id)?;
        let by_name = image.is_named(&name);
        let last_name = image.tags.iter().all(|tag| *tag == name);
        let is_removed = if image.artifact { by_name } else { !by_name || last_name };
        if is_removed {
            self.drop_image(&id);
        } else if !image.kept_on_removal {
            image.tags.retain(|tag| *tag != name);
        }
        Ok(id)
    }

    /// A container, a sandbox, or a container of another program in the same store that was made of the image.
    fn image_user(&self, image: &str) -> Option<&str> {
        let container = self.containers.values().find(|container| container.image_id == image);
        let sandbox = || self.sandboxes.values().find(|sandbox| sandbox.image_id == image);
        let elsewhere = || self.images.get(image)?.held_by.as_deref();
        container
            .map(|container| container.id.as_str())
            .or_else(|| sandbox().map(|sandbox| sandbox.id.as_str()))
            .or_else(elsewhere)
    }

    /// `created_at` of a container in lists. With CRI-O it is that of the record, which is made 40 to 70 ms before the
    /// container that the status is about, and is read from the disk at a restart with another precision.
    #[must_use]
    pub fn listed_created_at(&self, container: &Container) -> Timestamp {
        if self.options.flavour != Flavour::CriO {
            return container.created_at;
        }
        let spread = container.id.bytes().fold(0u64, |sum, byte| sum + u64::from(byte));
        let listed = earlier(container.created_at, Duration::from_millis(40 + spread % 31));
        if self.options.list_times_move { later(listed, MOVE.saturating_mul(self.restarts)) } else { listed }
    }

    /// The log of that name of a container: in the log directory of the sandbox, or in the runtime's own where the sandbox has
    /// none.
    pub(crate) fn log_path_as_crio(&self, sandbox: &str, log: &str) -> PathBuf {
        let own = self.sandboxes.get(sandbox).map(|sandbox| &sandbox.log_directory);
        let own = own.filter(|folder| !folder.as_os_str().is_empty()).cloned();
        own.unwrap_or_else(|| self.paths.runtime_logs.join(sandbox)).join(log.trim_start_matches('/'))
    }

    /// Makes the empty log of a sandbox, where its log directory exists and this node may write.
    pub(crate) fn make_sandbox_log(&self, sandbox: &str) -> Result<(), SimError> {
        let Some(sandbox) = self.sandboxes.get(sandbox) else { return Ok(()) };
        let path = sandbox.log_directory.join(format!("{}.log", sandbox.id));
        if sandbox.log_directory.is_dir() && self.may_write(&path) {
            logs::write_log(&path, 0, sandbox.created_at)?;
        }
        Ok(())
    }
}
