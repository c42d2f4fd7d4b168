//! After the drop nothing is left: no process, no mount, no network interface, no cgroup, no file.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly as tests may")]

use std::fs;
use std::path::Path;

use cri_gc_test_support::{
    ContainerSpec, Containerd, OciImage, Options, PodSpec, TmpfsSize, containerd_or_skip,
};

/// What the machine holds of instances with this folder, and all its interfaces.
fn traces(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if process
            .file_name()
            .to_string_lossy()
            .parse::<i32>()
            .is_ok_and(|pid| pid != std::process::id() as i32)
        {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            found.extend(command.contains(folder).then_some(command));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(folder)).map(str::to_owned));
    let results = fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten();
    let results = results.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    found.extend(results.filter(|result| result.contains(folder)));
    found.extend(Path::new(folder).exists().then(|| folder.to_owned()));
    found
}

fn interfaces() -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").unwrap().flatten();
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn cgroups_of_tests() -> Vec<String> {
    let prefix = format!("cri-gc-test-{}-", std::process::id());
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let entries = hierarchies.flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

async fn fill(containerd: &Containerd) -> i32 {
    containerd.import(&OciImage::new("cri-gc.test/app:1"));
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0").logs(containerd.pod_logs())).await.unwrap();
    cri.run_dead(&pod, &ContainerSpec::exits("job", "cri-gc.test/app:1"), 0..1).await.unwrap();
    let running = cri.run(&pod, &ContainerSpec::stubborn("main", "cri-gc.test/app:1")).await.unwrap();
    containerd.init_pid(&running).unwrap()
}

// One test, for it checks the whole machine: those of this file would disturb each other.
#[tokio::test]
async fn nothing_is_left_whether_containerd_ran_on_or_was_killed() {
    let name = "nothing_is_left_whether_containerd_ran_on_or_was_killed";
    let before = interfaces();
    for killed in [false, true] {
        let options = Options { root_tmpfs: Some(TmpfsSize::mib(64)), ..Options::default() };
        let Some(mut containerd) = containerd_or_skip(name, options) else {
            return;
        };
        let folder = containerd.dir().display().to_string();
        let pid = fill(&containerd).await;
        assert!(!traces(&folder).is_empty() && !cgroups_of_tests().is_empty());
        assert_eq!(interfaces(), before, "the machine's own network is left alone");
        if killed {
            containerd.kill();
        }
        drop(containerd);

        assert_eq!(traces(&folder), [""; 0]);
        assert_eq!(cgroups_of_tests(), [""; 0]);
        assert_eq!(interfaces(), before);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}
