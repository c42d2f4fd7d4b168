//! Output compared with files: the diff of a change shows what operators will see.

use std::path::Path;

/// Compares `found` with `expected/<name>.txt`, or writes that file.
pub fn is_as_expected(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected").join(format!("{name}.txt"));
    if std::env::var_os("CRI_GC_UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; CRI_GC_UPDATE_EXPECTED=1 writes it", path.display()));
    assert!(
        found == expected,
        "not as in {} (CRI_GC_UPDATE_EXPECTED=1 writes it again):\n--- expected\n{expected}--- found\n{found}",
        path.display()
    );
}
