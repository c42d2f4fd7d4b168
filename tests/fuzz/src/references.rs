//! Names of images: in which parts they are read, and which image of a list they mean.

use cri_gc_policy::Image;
use cri_gc_policy::images::{ImageUse, Names};
use cri_gc_policy::reference::{Reference, canonical};

use crate::input::{lines, pieces};

/// The pieces are the three names by which a container calls its image, then lines with the names of images of a list. The parts of a name
/// make it up again; its full form is the full form of itself. A use means the same after it was written as text. A name or an id that an image has means
/// that image, whatever the other fields are.
pub fn references(data: &[u8]) {
    let pieces = pieces(data);
    let texts: Vec<String> = pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
    // The end of the line is no part of the name, unless there are two.
    let field = |at: usize| texts.get(at).map_or("", |text| text.strip_suffix('\n').unwrap_or(text));
    let used = ImageUse { image_id: field(0), image_ref: field(1), image: field(2) };
    for text in [used.image_id, used.image_ref, used.image] {
        parts(text);
    }
    let images: Vec<Image> = pieces.iter().skip(3).take(8).map(|piece| image(&lines(piece))).collect();
    let names = Names::new(&images);
    let text = used.to_text();
    assert_eq!(ImageUse::from_text(&text), used, "{text:?}");

    let meant = names.used(used);
    assert!(meant.iter().all(|index| *index < images.len()));
    for (index, image) in images.iter().enumerate() {
        for name in image.names().chain([image.id.as_str()]).filter(|name| !name.is_empty()) {
            let resolved: Vec<usize> = names.resolve(name).collect();
            assert!(resolved.contains(&index), "{name:?} is a name of {image:?}");
            for field in [used.image_id, used.image_ref] {
                assert!(field != name || meant.contains(&index), "{name:?} is used: {used:?}");
            }
            let counts = names.resolve(used.image_id).chain(names.resolve(used.image_ref)).next().is_none();
            assert!(used.image != name || !counts || meant.contains(&index), "{name:?} is used: {used:?}");
        }
    }
}

fn image(lines: &[String]) -> Image {
    let names = |with_digest: bool| -> Vec<String> {
        lines.iter().skip(1).filter(|name| name.contains('@') == with_digest).cloned().collect()
    };
    let id = lines.first().cloned().unwrap_or_default();
    Image { id, repo_tags: names(false), repo_digests: names(true), ..Image::default() }
}

fn parts(text: &str) {
    let Reference { repo, tag, digest } = Reference::parse(text);
    let mut again = repo.to_owned();
    for (sign, part) in [(':', tag), ('@', digest)] {
        again.extend(part.map(|part| format!("{sign}{part}")));
    }
    assert_eq!(again, text);
    assert!(!tag.is_some_and(|tag| tag.contains('/')), "{text:?}: {tag:?} is behind a port");
    let full = canonical(text);
    // A name with two colons behind its last slash is none.
    assert!(Reference::parse(repo).tag.is_some() || canonical(&full) == full, "the full form of {text:?}");
    assert!(full.contains([':', '@']), "{full:?} has neither a tag nor a digest");
}
