//! The configuration of a kubelet, as `cri-gc config import-kubelet` reads it.

use std::fs;

use cri_gc::kubelet_config::{DropIn, Flags, import};
use cri_gc_config::{FileSource, Mode, PodSource, Sources, load};

use crate::input::{lines, pieces};

/// The pieces are the file, the flags (a word in each line), and drop-ins. What is printed is a valid configuration of cri-gc with the
/// settings that it says: whatever the kubelet's file contains, a comment is a comment. It removes images and nothing else, and asks the API
/// server for pods. What is refused says why, and what to do.
pub fn kubelet_config(data: &[u8]) {
    let pieces = pieces(data);
    let Ok(texts) = pieces.iter().map(|piece| std::str::from_utf8(piece)).collect::<Result<Vec<_>, _>>() else { return };
    let words = pieces.get(1).map_or_else(Vec::new, |piece| lines(piece));
    let drop_ins: Vec<DropIn> = texts
        .iter()
        .skip(2)
        .zip(1..)
        .map(|(text, number)| DropIn { path: format!("kubelet.conf.d/{number}.conf"), text: (*text).to_owned() })
        .collect();
    let refused = |why: String, remedy: &str| assert!(!why.trim().is_empty() && !remedy.is_empty(), "{why:?}");
    let flags = match Flags::parse(&words) {
        Ok(flags) => flags,
        Err(error) => return refused(error.to_string(), error.remedy),
    };
    let file = Some(texts[0]).filter(|text| !text.is_empty());
    let imported = match import(file, &drop_ins, &flags) {
        Ok(imported) => imported,
        Err(error) => return refused(error.to_string(), error.remedy),
    };
    let settings = &imported.settings;
    assert_eq!(settings.pods.source, PodSource::KubeApi);
    let modes = [settings.container_gc.mode, settings.sandbox_gc.mode, settings.log_gc.mode];
    assert!(modes.iter().all(|mode| *mode == Mode::Report) && settings.image_gc.mode == Mode::Enforce);

    let printed = imported.to_toml("a file with an odd name\n[log_gc]\nmode = \"enforce\"\n#");
    for line in printed.lines().filter(|line| !line.is_empty()) {
        assert!(line.starts_with(['#', '[']) || line.contains(" = "), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, &printed).unwrap();
    let read = load(&Sources { file: FileSource::Explicit(path), ..Sources::default() });
    let read = read.unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(read.settings, *settings, "{printed}");
}
