//! What `cri-gc --version` shows of the build: its features, and the commit that a release is built from. The commit is `CRI_GC_COMMIT`
//! of the environment, for sources without a repository, else what git answers. A development build does not ask git, so that a commit
//! does not make it build again.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CRI_GC_COMMIT");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let named = std::env::var("CRI_GC_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| is_release.then(head).flatten());
    println!("cargo::rustc-env=CRI_GC_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let features = ["demo", "kubernetes"];
    let on =
        features.map(|name| std::env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).map(|_| name));
    let on: Vec<&str> = on.into_iter().flatten().collect();
    println!(
        "cargo::rustc-env=CRI_GC_FEATURES={}",
        if on.is_empty() { "none".to_owned() } else { on.join(", ") }
    );
}

/// Hash and date of the commit that is checked out.
fn head() -> Option<String> {
    // This file changes with every commit and checkout.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["log", "-1", "--abbrev=12", "--format=%h of %cs"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
