//! Container images made on the spot: OCI archives with busybox in them, for `ctr images import`.
//!
//! The same image built twice is the same bytes, so ids are known before anything is imported, and layers of the same
//! content are shared by a runtime as they are in a registry.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::skip::find_tool;

/// The sandbox image of every [`Containerd`](crate::Containerd); imported when it starts.
pub const PAUSE_IMAGE: &str = "cri-gc.test/pause:1";

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// One layer of an image: an uncompressed tar, and its digest.
#[derive(Debug, Clone)]
pub struct Layer {
    tar: Arc<[u8]>,
    digest: String,
}

impl Layer {
    /// The layer that every image stands on: `/bin/busybox`, linked as `sh` and `sleep`.
    ///
    /// # Panics
    /// Without a busybox on this machine.
    #[must_use]
    pub fn busybox() -> Self {
        let busybox = find_tool("busybox").expect("a busybox in PATH (Debian package busybox-static)");
        let binary = std::fs::read(busybox).expect("busybox is readable");
        let mut tar = Builder::new(Vec::new());
        for folder in ["bin/", "data/", "tmp/"] {
            add(&mut tar, folder, EntryType::Directory, 0o755, &[]);
        }
        add(&mut tar, "bin/busybox", EntryType::Regular, 0o755, &binary);
        for name in ["bin/sh", "bin/sleep"] {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, name, "busybox").expect("a link fits a tar header");
        }
        Self::from_tar(tar)
    }

    /// One file of `bytes` bytes that do not compress. The same seed and size give the same layer.
    #[must_use]
    pub fn payload(seed: u64, bytes: u64) -> Self {
        Self::files(seed, 1, bytes)
    }

    /// `count` files of `bytes` bytes each: many small ones use up inodes.
    #[must_use]
    pub fn files(seed: u64, count: u64, bytes: u64) -> Self {
        let mut random = SplitMix(seed);
        let mut tar = Builder::new(Vec::new());
        for number in 0..count {
            let mut content = vec![0; bytes as usize];
            for chunk in content.chunks_mut(8) {
                chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
            }
            let name = format!("data/{seed}-{number}");
            add(&mut tar, &name, EntryType::Regular, 0o644, &content);
        }
        Self::from_tar(tar)
    }

    /// Size of the layer as the runtime stores it (before it is unpacked), in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tar.len() as u64
    }

    fn from_tar(tar: Builder<Vec<u8>>) -> Self {
        let tar: Arc<[u8]> = tar.into_inner().expect("writing to memory").into();
        Self { digest: digest(&tar), tar }
    }
}

/// An image: one or more names, layers, and the command that it runs when none is given.
#[derive(Debug, Clone)]
pub struct OciImage {
    names: Vec<String>,
    layers: Vec<Layer>,
    command: Vec<String>,
}

impl OciImage {
    /// An image of one busybox layer. The name is a full one, `host/path:tag`; it is a part of the image's id, so
    /// that two images of the same layers are two images.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let command = ["/bin/sleep", "2147483647"].map(str::to_owned).to_vec();
        Self { names: vec![name.to_owned()], layers: vec![Layer::busybox()], command }
    }

    /// The sandbox image.
    #[must_use]
    pub fn pause() -> Self {
        Self::new(PAUSE_IMAGE)
    }

    /// One more name for the same image.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// One more layer, which other images may have as well.
    #[must_use]
    pub fn layer(mut self, layer: &Layer) -> Self {
        self.layers.push(layer.clone());
        self
    }

    /// One more layer of `bytes` bytes that do not compress.
    #[must_use]
    pub fn payload(self, seed: u64, bytes: u64) -> Self {
        self.layer(&Layer::payload(seed, bytes))
    }

    /// All names, the first one first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The image's id as a runtime reports it: `sha256:` and the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> String {
        digest(&self.config())
    }

    /// Digest of the manifest, as it stands in `repo@sha256:...`.
    #[must_use]
    pub fn manifest_digest(&self) -> String {
        digest(&self.manifest())
    }

    /// Writes the image as an OCI archive.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut tar = Builder::new(io::BufWriter::new(std::fs::File::create(path)?));
        let mut blobs = [(digest(&self.config()), self.config()), (self.manifest_digest(), self.manifest())];
        blobs.sort();
        add(&mut tar, "oci-layout", EntryType::Regular, 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
        add(&mut tar, "index.json", EntryType::Regular, 0o644, &self.index());
        let layers = self.layers.iter().map(|layer| (&layer.digest, &layer.tar[..]));
        for (digest, bytes) in blobs.iter().map(|(digest, bytes)| (digest, &bytes[..])).chain(layers) {
            add(&mut tar, &format!("blobs/{}", digest.replace(':', "/")), EntryType::Regular, 0o644, bytes);
        }
        io::Write::flush(&mut tar.into_inner()?)
    }

    fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.digest.as_str()).collect();
        to_bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Cmd": self.command, "Env": ["PATH=/bin"], "Labels": {"cri-gc.test/name": self.names[0]}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))
    }

    fn manifest(&self) -> Vec<u8> {
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| descriptor(LAYER_TYPE, &layer.digest, layer.tar.len())).collect();
        let config = self.config();
        to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &digest(&config), config.len()),
            "layers": layers,
        }))
    }

    fn index(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let manifests: Vec<Value> = self
            .names
            .iter()
            .map(|name| {
                let mut entry = descriptor(MANIFEST_TYPE, &digest(&manifest), manifest.len());
                entry["annotations"] = json!({"io.containerd.image.name": name});
                entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
                entry
            })
            .collect();
        to_bytes(&json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}))
    }
}

/// The machine's architecture in Go's words, which image configurations use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON values can be written")
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar header that depends on nothing but its arguments: no owner, no time.
fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add<W: io::Write>(tar: &mut Builder<W>, name: &str, kind: EntryType, mode: u32, content: &[u8]) {
    tar.append_data(&mut header(kind, mode, content.len()), name, content).expect("an entry of the archive");
}

/// A small generator of bytes that look random, the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
