//! Images of a containerd, by `ctr`: what CRI itself has no call for.

use std::ffi::OsStr;

use super::{Containerd, run, tool};
use crate::cri::Cri;
use crate::oci::OciImage;
use crate::poll::block_on;

impl Containerd {
    /// Imports an image and waits until CRI lists all its names.
    ///
    /// # Panics
    /// If it can't be imported, e.g. because the filesystem is full.
    pub fn import(&self, image: &OciImage) {
        self.try_import(image).unwrap_or_else(|why| panic!("importing {:?}: {why}", image.names()));
    }

    /// As [`import`](Self::import), for images that may not fit.
    ///
    /// # Errors
    /// What `ctr` or the runtime said.
    pub fn try_import(&self, image: &OciImage) -> Result<(), String> {
        // Not below the root: the archive must not take up space of the filesystem under test.
        let archive = tempfile::NamedTempFile::new_in(self.dir()).map_err(|error| error.to_string())?;
        image.write(archive.path()).map_err(|error| error.to_string())?;
        self.try_ctr([OsStr::new("images"), OsStr::new("import"), archive.path().as_os_str()])?;
        image.names().iter().try_for_each(|name| self.wait_image(name))
    }

    /// Gives an image one more name, moving the name if another image has it. `repo@sha256:...` with the image's
    /// [`manifest_digest`](OciImage::manifest_digest) gives it a repo digest, as if it had been pulled.
    ///
    /// # Panics
    /// If the runtime refuses.
    pub fn tag(&self, image: &str, name: &str) {
        self.ctr(["images", "tag", "--force", image, name]);
        self.wait_image(name).unwrap_or_else(|why| panic!("tagging {image} as {name}: {why}"));
    }

    /// Runs `ctr` on the namespace of CRI; gives what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn ctr<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.try_ctr(arguments).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_ctr<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String, String> {
        run(tool("ctr")?.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(arguments))
    }

    fn wait_image(&self, name: &str) -> Result<(), String> {
        let socket = self.socket();
        block_on(async { Cri::new(&socket).wait_image(name).await })
            .map(drop)
            .map_err(|status| format!("{name} is not listed: {status}"))
    }
}
