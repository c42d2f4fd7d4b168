//! Which images a reference means: by id, tag or digest; and which images a container uses.
//!
//! Generous on purpose: a reference that means an image in any way keeps it.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _};

use crate::observation::{Container, Image};
use crate::reference::{Reference, canonical, has_registry, path_on_hub};

/// How a container, the spec of a pod or the runtime refers to an image it uses.
///
/// A container of the CRI has three fields for it, and runtimes fill them differently: containerd leaves `image_id` empty, CRI-O may
/// list a digest in `image_ref` that no image has any more, and `image` may be a tag that has moved to another image since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageUse<'a> {
    /// Id of the image.
    pub image_id: &'a str,
    /// The image as the runtime resolved it.
    pub image_ref: &'a str,
    /// The image as its user named it. It counts only where neither of the two others is an image of the list.
    pub image: &'a str,
}

/// Between the parts of a use in text form. No reference contains it, but a runtime may answer anything.
const BETWEEN: char = '\n';

/// Begins a text form whose parts have their lengths before them: of a use that would else be cut at another place, so that one of its
/// fields would hide the next one.
const COUNTED: char = '\u{1}';

impl<'a> ImageUse<'a> {
    /// The use of an image by one name: that in the spec of a pod, an image volume, the sandbox image.
    #[must_use]
    pub fn named(image: &'a str) -> Self {
        Self { image_id: "", image_ref: "", image }
    }

    /// The uses of a container: its own image, and its image volumes.
    pub fn of_container(container: &'a Container) -> impl Iterator<Item = Self> {
        let Container { image_id, image_ref, image, image_volumes, .. } = container;
        let volumes = image_volumes.iter().map(|volume| Self::named(volume));
        std::iter::once(Self { image_id, image_ref, image }).chain(volumes)
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.image_id.is_empty() && self.image_ref.is_empty() && self.image.is_empty()
    }

    /// One text for it, from which [`Self::from_text`] makes it again. The use of an image by one name is that name.
    #[must_use]
    pub fn to_text(self) -> String {
        let Self { image_id, image_ref, image } = self;
        let text = if image_id.is_empty() && image_ref.is_empty() && !image.contains(BETWEEN) {
            image.to_owned()
        } else {
            format!("{image_id}{BETWEEN}{image_ref}{BETWEEN}{image}")
        };
        if image_id.contains(BETWEEN) || image_ref.contains(BETWEEN) || text.starts_with(COUNTED) {
            return format!("{COUNTED}{} {} {image_id}{image_ref}{image}", image_id.len(), image_ref.len());
        }
        text
    }

    /// Reads what [`Self::to_text`] wrote.
    #[must_use]
    pub fn from_text(text: &'a str) -> Self {
        if let Some(counted) = text.strip_prefix(COUNTED).and_then(Self::from_counted) {
            return counted;
        }
        let mut parts = text.splitn(3, BETWEEN);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(image_id), Some(image_ref), Some(image)) => Self { image_id, image_ref, image },
            _ => Self::named(text),
        }
    }

    fn from_counted(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let mut length = || parts.next()?.parse::<usize>().ok();
        let (id, reference, rest) = (length()?, length()?, parts.next()?);
        let (image_id, rest) = rest.split_at_checked(id)?;
        let (image_ref, image) = rest.split_at_checked(reference)?;
        Some(Self { image_id, image_ref, image })
    }
}

impl<'a> From<&'a str> for ImageUse<'a> {
    fn from(image: &'a str) -> Self {
        Self::named(image)
    }
}

/// All ids, tags and digests of a list of images, to look references up in.
pub struct Names<'a> {
    /// Positions by id, without "sha256:".
    ids: HashMap<&'a str, Vec<usize>>,
    /// Positions by full name.
    names: HashMap<Cow<'a, str>, Vec<usize>>,
    /// Positions by digest: the same digest is the same image, whatever repository it was pulled from.
    digests: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Names<'a> {
    /// Takes in the names of all of them.
    #[must_use]
    pub fn new(images: &'a [Image]) -> Self {
        let mut all = Self {
            ids: HashMap::with_capacity(images.len()),
            names: HashMap::with_capacity(images.iter().map(|image| image.names().count()).sum()),
            digests: HashMap::with_capacity(images.len()),
        };
        for (index, image) in images.iter().enumerate() {
            all.ids.entry(bare(&image.id)).or_default().push(index);
            for name in image.names() {
                all.names.entry(canonical(name)).or_default().push(index);
                if let Some(digest) = Reference::parse(name).digest {
                    all.digests.entry(digest).or_default().push(index);
                }
            }
        }
        all
    }

    /// Positions of the images that are used; some may come twice (behaviour: Images in use). A field that is empty or is no image of the list never
    /// hides the next one.
    #[must_use]
    pub fn used(&self, used: ImageUse<'_>) -> Vec<usize> {
        let ImageUse { image_id, image_ref, image } = used;
        let resolved: Vec<usize> = self.resolve(image_id).chain(self.resolve(image_ref)).collect();
        if !resolved.is_empty() {
            return resolved;
        }
        let named: Vec<usize> = self.resolve(image).collect();
        if !named.is_empty() {
            return named;
        }
        // CRI-O takes the beginning of an id for the image, and lists a container's image as it was asked for.
        let begin = [image_id, image_ref, image].into_iter().flat_map(|prefix| self.beginning_with(prefix));
        begin.chain(self.on_any_registry(image)).collect()
    }

    /// Positions of the images that a name without a registry may mean: CRI-O looks it up in the registries of its own settings.
    fn on_any_registry(&self, name: &str) -> Vec<usize> {
        if name.is_empty() || has_registry(Reference::parse(name).repo) {
            return Vec::new();
        }
        let tagged = canonical(name);
        let Some(short) = path_on_hub(&tagged) else { return Vec::new() };
        let short = short.strip_prefix("library/").unwrap_or(short);
        let means = |known: &str| {
            known
                .split_once('/')
                .is_some_and(|(registry, path)| has_registry(known) && !registry.is_empty() && path == short)
        };
        self.names
            .iter()
            .filter(|(known, _)| means(known))
            .flat_map(|(_, positions)| positions)
            .copied()
            .collect()
    }

    /// Positions of the images that `reference` means; some may come twice.
    pub fn resolve(&self, reference: &str) -> impl Iterator<Item = usize> + use<'_> {
        let known = !reference.is_empty();
        let digest = Reference::parse(reference).digest.unwrap_or(reference);
        let ids = self.ids.get(bare(reference)).filter(|_| known);
        let names = self.names.get(canonical(reference).as_ref()).filter(|_| known);
        let digests = self.digests.get(digest).filter(|_| known);
        [ids, names, digests].into_iter().flatten().flatten().copied()
    }

    /// Positions of the images whose ids begin with these hexadecimal digits.
    fn beginning_with(&self, prefix: &str) -> Vec<usize> {
        let prefix = bare(prefix);
        if prefix.len() < SHORTEST_PREFIX || !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Vec::new();
        }
        let begin = self.ids.iter().filter(|(id, _)| id.starts_with(prefix));
        begin.flat_map(|(_, positions)| positions).copied().collect()
    }
}

/// Shorter beginnings of ids are not taken by any runtime.
const SHORTEST_PREFIX: usize = 3;

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, tags: &[&str], digests: &[&str]) -> Image {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Image {
            id: id.to_owned(),
            runtime_handler: String::new(),
            repo_tags: own(tags),
            repo_digests: own(digests),
            size_bytes: 0,
            pinned: false,
            first_detected: None,
            last_used: None,
            in_use_elsewhere: false,
        }
    }

    fn used(images: &[Image], [image_id, image_ref, image]: [&str; 3]) -> Vec<usize> {
        let mut used = Names::new(images).used(ImageUse { image_id, image_ref, image });
        used.sort_unstable();
        used.dedup();
        used
    }

    #[test]
    fn a_field_that_is_no_listed_image_never_hides_the_next_one() {
        let hex = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        let images =
            [image(hex, &["r.example/web:v2"], &["r.example/web@sha256:dddd"]), image("bb", &[], &[])];
        for fields in [
            // CRI-O after a restart: the digest is listed no more, the image was asked for by its id.
            ["", "r.example/web@sha256:aaaa", hex],
            ["0000", "r.example/web@sha256:dddd", ""],
            ["0000", "r.example/web@sha256:aaaa", "r.example/web:v2"],
            ["0000", "", "r.example/web:v2"],
            [hex, "r.example/web@sha256:aaaa", "other:v1"],
            ["", "", &hex[..12]],
            ["", &format!("sha256:{}", &hex[..12]), ""],
        ] {
            assert_eq!(used(&images, fields), [0], "{fields:?}");
        }
        for listed in ["localhost/app:1", "quay.io/app:1", "registry.example:5000/app:1"] {
            let listed =
                [image("aa", &[listed], &[]), image("bb", &["quay.io/team/app:1", "quay.io/app:2"], &[])];
            assert_eq!(used(&listed, ["", "", "app:1"]), [0], "CRI-O resolved it");
            assert_eq!(used(&listed, ["", "", "other.example/app:1"]), [0usize; 0]);
        }
        assert_eq!(used(&images, [hex, "bb", ""]), [0, 1], "both of the resolved ones count");
        assert_eq!(used(&images, ["bb", "", "r.example/web:v2"]), [1], "a tag that moved on uses nothing");
        for nothing in [["", "", ""], ["", "", "6b"], ["", "", "6b86b273x"], ["0000", "", "r.example/web:v3"]]
        {
            assert_eq!(used(&images, nothing), [0usize; 0], "{nothing:?}");
        }
    }

    #[test]
    fn a_use_survives_its_text_form() {
        let odd = [
            ["a\nb", "c", "d"],
            ["", "b\nc", ""],
            ["\u{1}1 1 ab", "", ""],
            ["", "", "\u{1}2"],
            ["\n", "\n", "\n"],
        ];
        let usual = [["", "", "a:1"], ["a", "b", "c"], ["", "b", ""], ["", "", ""], ["", "", "odd\nname"]];
        for fields in usual.into_iter().chain(odd) {
            let [image_id, image_ref, image] = fields;
            let used = ImageUse { image_id, image_ref, image };
            assert_eq!(ImageUse::from_text(&used.to_text()), used);
        }
        // What an older release remembered.
        assert_eq!(ImageUse::from_text("sha256:aa"), ImageUse::named("sha256:aa"));
    }

    #[test]
    fn a_reference_finds_its_image_in_every_form_runtimes_use() {
        let images = [
            image("sha256:aa", &["docker.io/library/busybox:1.36"], &["docker.io/library/busybox@sha256:d1"]),
            image("sha256:bb", &["registry.k8s.io/pause:3.9"], &[]),
        ];
        let names = Names::new(&images);
        let found = |reference: &str| names.resolve(reference).next();
        for reference in [
            "sha256:aa",
            "aa",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
            "docker.io/library/busybox@sha256:d1",
            "docker.io/library/busybox:1.36@sha256:d1",
            "mirror.example/busybox@sha256:d1",
            "sha256:d1",
        ] {
            assert_eq!(found(reference), Some(0), "{reference}");
        }
        assert_eq!(found("registry.k8s.io/pause:3.9"), Some(1));
        for reference in ["", "busybox", "registry.k8s.io/pause", "sha256:cc", "sha256:"] {
            assert_eq!(found(reference), None, "{reference:?}");
        }
    }
}
