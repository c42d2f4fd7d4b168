//! `cri-gc config import-kubelet`: prints the configuration that does what a kubelet does. This module reads the files and
//! reports errors; [`kubelet_config`](crate::kubelet_config) translates.

use std::fs::{DirEntry, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use cri_gc_policy::text::counted;

use crate::cli::{Global, ImportKubelet};
use crate::failure::Failure;
use crate::kubelet_config::{DropIn, Flags, ImportError, import};
use crate::output::print;

/// A larger file is not a kubelet's configuration; without a limit, a device given by mistake would fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Reads, translates and prints.
///
/// # Errors
/// The file can't be read or is not a `KubeletConfiguration`; a field or a flag is invalid.
pub fn run(global: &Global, args: &ImportKubelet) -> Result<(), Failure> {
    // These would not be in what is printed.
    if !global.set.is_empty() || global.endpoint.is_some() {
        return Err(Failure::usage(
            "what is printed follows the kubelet's configuration alone, so --set and --endpoint can't be used here\n  change the \
             printed file, or give --container-runtime-endpoint after --",
        ));
    }
    let failed = |error: ImportError, shown: &str| {
        let remedy = error.remedy;
        if error.is_usage {
            Failure::usage(format_args!("the kubelet's flags can't be imported: {error}\n  {remedy}"))
        } else {
            Failure::configuration(format_args!("{shown} can't be imported: {error}\n  {remedy}"))
        }
    };
    let flags = Flags::parse(&args.flags).map_err(|error| failed(error, ""))?;
    if args.file.is_none() && args.flags.is_empty() {
        return Err(Failure::usage(
            "nothing to import\n  name the kubelet's configuration (with kubeadm /var/lib/kubelet/config.yaml), or give the \
             kubelet's flags after --, or both",
        ));
    }
    let file = args.file.as_deref().or(flags.path("config"));
    let stdin = args.file.as_deref() == Some(Path::new("-"));
    let mut shown = match file {
        _ if stdin => "standard input".to_owned(),
        Some(file) => file.display().to_string(),
        None => "the kubelet's command line".to_owned(),
    };
    let text = file.map(|file| read(file, stdin, &shown)).transpose()?;
    let mut drop_ins = Vec::new();
    if let Some(folder) = flags.path("config-dir") {
        let mut paths = Vec::new();
        add_drop_ins(folder, &mut paths, &mut 0)?;
        for path in paths {
            let path_shown = path.display().to_string();
            drop_ins.push(DropIn { text: read(&path, false, &path_shown)?, path: path_shown });
        }
        shown.push_str(&format!(" and {} of {}", counted(drop_ins.len(), "drop-in"), folder.display()));
    }
    let imported = import(text.as_deref(), &drop_ins, &flags).map_err(|error| failed(error, &shown))?;
    if let (Some(_), Some(config)) = (&args.file, flags.path("config")) {
        shown.push_str(&format!(" (in place of {})", config.display()));
    }
    print(imported.to_toml(&shown))
}

/// Adds the files of `--config-dir` that the kubelet merges: those of directories in it too, in the order of their names.
fn add_drop_ins(folder: &Path, found: &mut Vec<PathBuf>, listed: &mut usize) -> Result<(), Failure> {
    const MAX: usize = 1000;
    let bad = |error: std::io::Error| {
        Failure::configuration(format_args!(
            "{} can't be read for the drop-ins of --config-dir: {error}\n  name the directory of that node, or a copy of it",
            folder.display()
        ))
    };
    let mut entries: Vec<_> = folder.read_dir().and_then(Iterator::collect).map_err(bad)?;
    entries.sort_by_key(DirEntry::file_name);
    *listed += entries.len();
    if *listed > MAX {
        return Err(Failure::configuration(format_args!(
            "{} contains more than {MAX} files\n  name the directory with the kubelet's drop-ins",
            folder.display()
        )));
    }
    for entry in entries {
        if entry.file_type().map_err(bad)?.is_dir() {
            add_drop_ins(&entry.path(), found, listed)?;
        } else if entry.file_name().as_encoded_bytes().ends_with(b".conf") {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn read(file: &Path, stdin: bool, shown: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    let bad = |what: &str, remedy: &str| {
        Failure::configuration(format_args!("{shown} can't be imported: {what}\n  {remedy}"))
    };
    const NAME_IT: &str =
        "name the kubelet's configuration; with kubeadm that is /var/lib/kubelet/config.yaml";
    match read {
        Ok(n) if n as u64 > MAX_BYTES => Err(bad("it is larger than 1MiB", NAME_IT)),
        Ok(_) => String::from_utf8(bytes).map_err(|_| bad("the text is not UTF-8", "save it in UTF-8")),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => bad("the file does not exist", NAME_IT),
            ErrorKind::IsADirectory => bad("it is a directory", "name the file in it, as config.yaml"),
            ErrorKind::PermissionDenied => bad("no permission to read it", "run this as root"),
            _ => bad(&error.to_string(), "check the file, or give it on standard input, as -"),
        }),
    }
}
