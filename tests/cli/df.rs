//! `cri-gc df` on the embedded runtime: what it prints, and what it leaves out where the runtime does not answer.

use std::time::Duration;

use cri_gc_sim::{Code, ContainerSpec, Fault, ImageSpec, Method, Options, PodSpec, Scope, Sim, Space};

use super::expected::is_as_expected;
use super::program::{Bench, Said, said};

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A node with a pod that runs and a pod that has ended: the layers of its containers take 5 MiB and 3 MiB.
fn node() -> (Sim, tempfile::TempDir) {
    let folder = tempfile::Builder::new().prefix("cri-gc-cli-").tempdir_in("/tmp").unwrap();
    let options = Options { start_time: jiff::Timestamp::now(), ..Options::default() };
    let sim = Sim::start(folder.path(), options).unwrap();
    for (tag, size) in [("registry.example.com/web:1", 40), ("registry.example.com/old:1", 70)] {
        sim.add_image(ImageSpec::single(tag, size * MIB, 2 * size * MIB));
    }
    let sized = |mib, files| {
        move |spec: &mut ContainerSpec| spec.writable = Space { bytes: mib * MIB, inodes: files }
    };
    let pod = PodSpec::new("shop", "web-0", "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5");
    let pod = sim.add_pod(pod.created_at(sim.ago(2 * HOUR))).unwrap();
    let web =
        ContainerSpec::new(&pod, "web").image("registry.example.com/web:1").created_at(sim.ago(2 * HOUR));
    sim.add_container(web.with(sized(5, 20))).unwrap();
    for attempt in 0..2 {
        let job = ContainerSpec::new(&pod, "job").image("registry.example.com/web:1").attempt(attempt);
        let job = job.exited(sim.ago(2 * HOUR), sim.ago(HOUR)).with(sized(3 - u64::from(attempt), 1));
        sim.add_container(job).unwrap();
    }
    for name in ["ci_job-1_1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "lost+found"] {
        sim.with(|node| node.add_log_dir(name, node.ago(HOUR))).unwrap();
    }
    sim.advance(Duration::from_secs(10));
    (sim, folder)
}

const SETTINGS: &[&str] =
    &["pods.runtime_grace=0s", "image_gc.min_age=0s", "image_gc.high_threshold_percent=100"];

fn df(sim: &Sim, args: &[&str]) -> Said {
    let bench = Bench::new();
    said(bench.command_on(sim, &[&["df"], args].concat(), SETTINGS), "")
}

/// Without what this machine's disk says: the first table, and the row of the other files.
fn without_disk(table: &str) -> String {
    let (filesystems, rest) = table.split_once("\n\n").unwrap();
    assert!(filesystems.contains("images, containers, logs"), "one disk for all of it: {filesystems}");
    assert_eq!(rest.lines().filter(|line| line.starts_with("other files  ")).count(), 1, "{rest}");
    rest.lines().filter(|line| !line.starts_with("other files ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn as_a_table_by_sums_or_by_objects() {
    let (sim, _folder) = node();
    is_as_expected("df-table", &without_disk(&df(&sim, &[]).succeeded()));
    is_as_expected("df-table-verbose", &without_disk(&df(&sim, &["--verbose"]).succeeded()));
}

#[test]
fn as_json_and_yaml_it_adds_up() {
    let (sim, _folder) = node();
    let json: serde_json::Value = serde_json::from_str(&df(&sim, &["-o", "json"]).succeeded()).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&df(&sim, &["-o", "yaml"]).succeeded()).unwrap();
    for part in ["usage", "images", "containers", "log_dirs"] {
        let (json, yaml) = (&json[part], &yaml[part]);
        let ids = |of: &serde_json::Value| -> Vec<String> {
            of.as_array().unwrap().iter().map(|one| format!("{}{}", one["id"], one["kind"])).collect()
        };
        assert_eq!(ids(json), ids(yaml));
    }
    let usage = json["usage"].as_array().unwrap();
    let known: u64 = usage.iter().map(|sum| sum["size_bytes"].as_u64().unwrap()).sum();
    let filesystem = &json["filesystems"][0];
    let number = |field: &str| filesystem[field].as_u64().unwrap();
    assert_eq!(number("known_bytes"), known);
    assert_eq!(number("known_bytes") + number("other_bytes"), number("used_bytes"));
    assert_eq!(
        number("used_bytes") + number("reserved_bytes") + number("available_bytes"),
        number("capacity_bytes")
    );
    let stats = rustix::fs::statvfs(&sim.paths().root).unwrap();
    assert_eq!(number("capacity_bytes"), stats.f_blocks * stats.f_frsize);
}

#[test]
fn what_the_runtime_does_not_answer_is_unknown_and_the_rest_is_printed() {
    let (sim, _folder) = node();
    for code in [Code::Unimplemented, Code::Unknown] {
        sim.fault(Method::ListContainerStats, Fault::error(code, "no such thing"), Scope::Times(1));
        let said = df(&sim, &[]);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains("ListContainerStats") && said.err.contains("no such thing"), "{said:?}");
        let row = |name: &str| {
            let row = said.out.lines().find(|line| line.starts_with(name)).unwrap();
            row.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert!(row("running containers").starts_with("running containers 1 ? 1 running"), "{said:?}");
        assert!(row("dead containers").starts_with("dead containers 2 ? ? (1)"), "{said:?}");
        assert!(row("images in use").starts_with("images in use 1 40.0 MiB"), "{said:?}");
    }
}

#[test]
fn a_layer_that_is_not_counted_yet_is_unknown_and_no_error() {
    let (sim, _folder) = node();
    let pod = sim.sandbox_ids().remove(0);
    sim.add_container(ContainerSpec::new(&pod, "new")).unwrap();
    let said = df(&sim, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("has not counted the writable layers of 1 container yet"), "{said:?}");
    assert!(said.out.contains("1 without a known size"), "{said:?}");
}
