//! `cri-gc config import-kubelet`: prints the configuration that does what a kubelet does. What that is, is worked out in
//! [`kubelet_config`](crate::kubelet_config); here is the file, and the sentence for what is wrong with it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::cli::{Global, ImportKubelet};
use crate::failure::Failure;
use crate::kubelet_config::import;
use crate::output::print;

/// A file that is larger is no kubelet's; without a bound, a device given by mistake would fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Reads, translates and prints.
///
/// # Errors
/// The file can't be read or is no `KubeletConfiguration`, values that can't be taken over, flags that are none.
pub fn run(global: &Global, args: &ImportKubelet) -> Result<(), Failure> {
    // Nobody may think that these are in what is printed.
    if !global.set.is_empty() || global.endpoint.is_some() {
        return Err(Failure::usage(
            "what is printed follows the kubelet's configuration alone, so --set and --endpoint have no place here\n  change \
             the file that you make of it, or give --container-runtime-endpoint after --",
        ));
    }
    let stdin = args.file == Path::new("-");
    let shown = if stdin { "standard input".to_owned() } else { args.file.display().to_string() };
    let imported = import(&read(&args.file, stdin, &shown)?, &args.flags).map_err(|error| {
        let remedy = error.remedy();
        if error.is_usage() {
            Failure::usage(format_args!("the kubelet's flags can't be taken over: {error}\n  {remedy}"))
        } else {
            Failure::configuration(format_args!("{shown} can't be imported: {error}\n  {remedy}"))
        }
    })?;
    print(&imported.to_toml(&shown))
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
            _ => bad(&error.to_string(), "see to the file, or give it on standard input, as -"),
        }),
    }
}
