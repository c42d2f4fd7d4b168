//! Images and their layers.

/// One layer of an image. A node stores it once, however many images have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// What makes it the same layer as another one. The first layer of that name on a node decides the sizes.
    pub name: String,
    /// Bytes in the content store; what the size of an image in lists is made of.
    pub compressed_bytes: u64,
    /// Bytes in the snapshot.
    pub unpacked_bytes: u64,
    /// Inodes in the snapshot.
    pub files: u64,
}

impl LayerSpec {
    /// A layer with one file for every 16 KiB that it unpacks to.
    #[must_use]
    pub fn new(name: impl Into<String>, compressed_bytes: u64, unpacked_bytes: u64) -> Self {
        let files = unpacked_bytes.div_ceil(16 * 1024);
        Self { name: name.into(), compressed_bytes, unpacked_bytes, files }
    }

    /// Sets the number of inodes.
    #[must_use]
    pub fn files(mut self, files: u64) -> Self {
        self.files = files;
        self
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageSpec {
    /// Its id, `sha256:` and 64 hex digits (CRI-O drops the prefix); one is made up if this is empty.
    pub id: String,
    /// Names with a tag. Short ones are completed as containerd does (`busybox` is
    /// `docker.io/library/busybox:latest`); one that another image has moves over from it.
    pub tags: Vec<String>,
    /// Names with a digest; `None` makes one up for the repository of the first tag. CRI-O makes one up for no names, too.
    pub digests: Option<Vec<String>>,
    /// Its layers.
    pub layers: Vec<LayerSpec>,
    /// Whether the runtime asks that nobody collects it (reported by containerd 2.1, and by CRI-O as one of its `pinned_images`).
    pub pinned: bool,
    /// Whether it is an OCI artifact: CRI-O lists it as an image, but removes it only by a tag or digest.
    pub artifact: bool,
}

impl ImageSpec {
    /// An image with that tag and no layers yet.
    #[must_use]
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tags: vec![tag.into()], ..Self::default() }
    }

    /// An image of one layer that no other image shares.
    #[must_use]
    pub fn single(tag: impl Into<String>, compressed_bytes: u64, unpacked_bytes: u64) -> Self {
        let tag = tag.into();
        let layer = LayerSpec::new(format!("only of {tag}"), compressed_bytes, unpacked_bytes);
        Self::new(tag).layer(layer)
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a name with a digest; then none is made up.
    #[must_use]
    pub fn digest(mut self, digest: impl Into<String>) -> Self {
        self.digests.get_or_insert_default().push(digest.into());
        self
    }

    /// Leaves it without any name with a digest, as an image that was imported from a file.
    #[must_use]
    pub fn no_digest(mut self) -> Self {
        self.digests = Some(Vec::new());
        self
    }

    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, layer: LayerSpec) -> Self {
        self.layers.push(layer);
        self
    }

    /// Pins it.
    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    /// Makes it an OCI artifact; for containerd it is an image as any other.
    #[must_use]
    pub fn artifact(mut self) -> Self {
        self.artifact = true;
        self
    }
}
