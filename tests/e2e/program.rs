//! Running the program's binary, and what it answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

pub use cri_gc_test_support::{Ended, Running};
use serde_json::Value;

use crate::inventory::Inventory;

/// Starts the program's binary, with nothing of this process's environment.
pub fn start(arguments: &[String], input: Option<&Path>) -> Running {
    start_in(arguments, input, &[])
}

/// The same, with these variables in its environment.
pub fn start_in(arguments: &[String], input: Option<&Path>, environment: &[(&str, String)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cri-gc"));
    command.args(arguments).env_clear().envs(environment.iter().cloned());
    command.stdin(input.map_or(Stdio::null(), |path| File::open(path).unwrap().into()));
    Running::start(command)
}

/// What a sweep answered, its objects named as in an [`Inventory`].
#[derive(Debug)]
pub struct Report {
    pub code: i32,
    pub stderr: String,
    /// One for each loop.
    pub passes: Value,
    removals: Vec<(String, Value)>,
    follow: Vec<String>,
    kept: BTreeMap<String, String>,
}

impl Report {
    /// Reads the JSON of a sweep. `before` is what there was when it began.
    pub fn new(ended: &Ended, before: &Inventory) -> Self {
        let passes: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("no report ({error}), but: {ended:?}"));
        let all = |field: &str| -> Vec<Value> {
            // What a pass has nothing of, it leaves out.
            let lists = passes.as_array().unwrap().iter().filter_map(|pass| pass[field].as_array());
            lists.flatten().cloned().collect()
        };
        let name = |object: &Value| before.name_of(object["id"].as_str().unwrap());
        let removals = all("removals").into_iter().map(|removal| (name(&removal), removal)).collect();
        let follow = all("follow").iter().map(name).collect();
        let reason = |kept: &Value| kept["reason"].as_str().unwrap().to_owned();
        let kept = all("kept").iter().map(|kept| (name(kept), reason(kept))).collect();
        Self { code: ended.code, stderr: ended.stderr.clone(), passes, removals, follow, kept }
    }

    /// Why something was to be removed, and the result: "over_pod_container_limit: removed".
    pub fn removal(&self, name: &str) -> String {
        let found = self.removals.iter().find(|(known, _)| known == name);
        let (_, removal) = found.unwrap_or_else(|| panic!("{name} was not to be removed: {self:#?}"));
        let text = |field: &str| removal[field].as_str().unwrap_or_default();
        match text("because") {
            "" => format!("{}: {}", text("reason"), text("result")),
            because => format!("{}: {} ({because})", text("reason"), text("result")),
        }
    }

    /// Why something was kept.
    pub fn kept(&self, name: &str) -> &str {
        self.kept.get(name).unwrap_or_else(|| panic!("{name} was not kept: {self:#?}"))
    }

    /// Everything whose removal ended so, in the order in which it was done.
    pub fn with_result(&self, result: &str) -> Vec<&str> {
        let so = self.removals.iter().filter(|(_, removal)| removal["result"] == result);
        so.map(|(name, _)| name.as_str()).collect()
    }

    /// What would follow from other removals, loop by loop.
    pub fn follow(&self) -> Vec<&str> {
        self.follow.iter().map(String::as_str).collect()
    }

    /// The pass of a loop.
    pub fn pass(&self, name: &str) -> &Value {
        let passes = self.passes.as_array().unwrap();
        passes.iter().find(|pass| pass["loop"] == name).unwrap()
    }

    /// All errors of all passes.
    pub fn errors(&self) -> Vec<String> {
        self.texts("errors")
    }

    /// All notes of all passes.
    pub fn notes(&self) -> Vec<String> {
        self.texts("notes")
    }

    fn texts(&self, field: &str) -> Vec<String> {
        let lists = self.passes.as_array().unwrap().iter().map(|pass| pass[field].as_array().unwrap());
        lists.flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// What it reports as removed has to be what is removed.
    pub fn reports_exactly(&self, gone: &BTreeSet<String>) {
        let reported: BTreeSet<String> = self.with_result("removed").into_iter().map(str::to_owned).collect();
        let objects: BTreeSet<String> = gone.iter().filter(|name| is_reported(name)).cloned().collect();
        let links = |name: &&String| !name.starts_with("link ");
        let reported: BTreeSet<String> = reported.iter().filter(links).cloned().collect();
        assert_eq!(reported, objects, "what is removed and what is reported: {self:#?}");
    }

    /// Nothing went wrong.
    #[track_caller]
    pub fn is_good(&self) -> &Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:#?}");
        self
    }
}

/// Objects and whole log directories are reported one by one; a file that is removed with its container is not.
fn is_reported(name: &str) -> bool {
    match name.strip_prefix("log ") {
        Some(path) => path.strip_suffix('/').is_some_and(|directory| !directory.contains('/')),
        None => !name.starts_with("link "),
    }
}
