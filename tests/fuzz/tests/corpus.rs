//! Calls each target with the inputs of its corpus, and with mutations of these from a fixed seed: the same ones on each run.
//! `CRI_GC_FUZZ_INPUTS=100000` makes more of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: failing loudly is its job, and how many inputs there were is shown on request"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cri_gc_fuzz_targets::mutate::mutation;
use cri_gc_fuzz_targets::{TARGETS, Target, for_each_target};
use fastrand::Rng;

/// Mutations for each target that reads bytes, and for one that makes files.
const INPUTS: [usize; 2] = [6_000, 600];

/// The targets that make a directory for each input.
const ON_DISK: [&str; 4] = ["kubelet_config", "log_files", "log_trees", "settings"];

/// All corpora together, in bytes.
const LARGEST: u64 = 1 << 20;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, by the names of their files.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpora().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let path = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path();
    let mut paths: Vec<PathBuf> = entries.map(path).collect();
    paths.sort();
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (named(path), fs::read(path).unwrap())).collect()
}

fn call((name, target): Target, input: &[u8], origin: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        panic!("{name}, {origin}: {said}\nthe input: b\"{}\"", input.escape_ascii());
    }
}

fn run(target: Target) {
    let (name, _) = target;
    let corpus = corpus(name);
    assert!(corpus.len() >= 3, "{name} has no corpus");
    for (file, input) in &corpus {
        call(target, input, file);
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let count = std::env::var("CRI_GC_FUZZ_INPUTS").ok().and_then(|count| count.parse().ok());
    let count = count.unwrap_or(INPUTS[usize::from(ON_DISK.contains(&name))]);
    let mut random = Rng::with_seed(7);
    let began = Instant::now();
    for number in 0..count {
        call(target, &mutation(&inputs, &mut random), &format!("mutation {number}"));
    }
    println!("{name}: {} inputs and {count} mutations in {:?}", inputs.len(), began.elapsed());
}

/// A test for each target.
macro_rules! tests {
    ($($(#[$attribute:meta])* $name:ident,)+) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                run((stringify!($name), cri_gc_fuzz_targets::$name));
            }
        )+
    };
}

for_each_target!(tests);

#[test]
fn each_target_has_a_corpus_and_a_program_of_the_fuzzer() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: PathBuf| -> BTreeSet<String> {
        let stem = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()
        };
        let of_api = |name: &String| cfg!(feature = "kubernetes") || name != "api_pages";
        fs::read_dir(folder).unwrap().map(stem).filter(of_api).collect()
    };
    assert_eq!(names(corpora()), targets);
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    assert_eq!(names(fuzz.join("fuzz_targets")), targets);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in &targets {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "fuzz/Cargo.toml has no {name}");
    }
}

#[test]
fn the_corpora_are_small() {
    let size = |folder: PathBuf| -> u64 {
        let sizes = fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        sizes.sum()
    };
    let all: u64 = fs::read_dir(corpora()).unwrap().map(|folder| size(folder.unwrap().path())).sum();
    assert!(all <= LARGEST, "{all} bytes: leave only what `cargo fuzz cmin` leaves");
}
