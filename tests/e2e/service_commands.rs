//! The commands that call a running service, by the program's own binary.

use serde_json::Value;

use crate::node::Node;
use crate::program::{self, Ended};
use crate::running_service::{serve, status, well};

on_both!(
    status_reports_everything_and_explain_why_an_object_is_kept,
    a_loop_is_paused_resumed_and_run_by_command,
    a_runtime_that_hangs_keeps_no_client_waiting,
    settings_are_reloaded_by_command_and_by_a_change_of_the_file,
);

/// Runs a command that calls the service.
pub fn ask(node: &Node, command: &[&str]) -> Ended {
    let socket = node.path("admin.sock").display().to_string();
    let arguments = command.iter().map(ToString::to_string).chain(["--socket".to_owned(), socket]);
    program::start(&arguments.collect::<Vec<_>>(), None).wait()
}

pub fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {ended:?}"))
}

#[track_caller]
pub fn succeeded(ended: Ended) -> Ended {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended
}

async fn status_reports_everything_and_explain_why_an_object_is_kept(node: &mut Node) {
    let web = node.pod("web").await;
    let main = node.running(&web, "main").await;
    let jobs = node.dead(&web, "job", 0..1).await;
    let _running = serve(node);
    status(node, well).await;

    let table = succeeded(ask(node, &["status"])).stdout;
    for words in ["container_gc", "sandbox_gc", "log_gc", "image_gc", "enforce", "generation 1", "reachable"]
    {
        assert!(table.contains(words), "no {words} in:\n{table}");
    }
    let status = json(&succeeded(ask(node, &["status", "-o", "json"])));
    assert_eq!(status["loops"].as_array().unwrap().len(), 4);
    assert_eq!(status["runtime"]["reachable"], true);
    assert!(!status["filesystems"].as_array().unwrap().is_empty(), "{status:#}");

    // By a full id, by the beginning of one, by a name, by a pod, by a tag.
    for (object, reason) in [
        (main.as_str(), "running"),
        (&jobs[0][..12], "within_limits"),
        ("web/main", "running"),
        ("cri-gc.test/app:1", "in_use"),
    ] {
        let said = json(&succeeded(ask(node, &["explain", object, "-o", "json"])));
        let found = said["objects"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{object}: {said:#}");
        assert_eq!(
            (&found[0]["decision"], &found[0]["reason"]),
            (&"keep".into(), &reason.into()),
            "{object}"
        );
    }
    let pod = json(&succeeded(ask(node, &["explain", "default/web", "-o", "json"])));
    let mut kinds: Vec<&str> =
        pod["objects"].as_array().unwrap().iter().map(|o| o["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["container", "container", "log directory", "sandbox"]);
    let nothing = ask(node, &["explain", "no-such-thing"]);
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert!(nothing.stderr.contains("no-such-thing"), "{nothing:?}");
}

async fn a_loop_is_paused_resumed_and_run_by_command(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let _running = serve(node);
    status(node, well).await;
    succeeded(ask(node, &["pause", "containers"]));
    let jobs = node.dead(&web, "job", 0..3).await;
    let paused = status(node, |s| s.loops[0].state == "paused" && s.loops[1].passes > 0).await;
    // The others continue; this one does not.
    let later = status(node, |s| s.loops[1].passes >= paused.loops[1].passes + 3).await;
    assert_eq!(later.loops[0].passes, paused.loops[0].passes);
    let refused = ask(node, &["run-now", "containers"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("paused"), "{refused:?}");
    succeeded(ask(node, &["pause"]));
    succeeded(ask(node, &["resume"]));
    status(node, |s| s.loops.iter().all(|l| l.state != "paused") && s.loops[0].removed == 2).await;
    let left: Vec<String> =
        node.cri.list_containers().await.unwrap().into_iter().map(|container| container.id).collect();
    assert!(!left.contains(&jobs[0]) && !left.contains(&jobs[1]) && left.contains(&jobs[2]));

    // A requested pass ends, is reported, and has nothing left to do.
    let run = succeeded(ask(node, &["run-now", "-o", "json"]));
    let updates: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended: Vec<&str> = updates
        .iter()
        .filter_map(|update| update.get("ended"))
        .map(|e| e["loop"].as_str().unwrap())
        .collect();
    assert_eq!(ended, ["container_gc", "sandbox_gc", "log_gc", "image_gc"]);
    let events = succeeded(ask(node, &["events", "-o", "json"]));
    let kinds: Vec<String> = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!(
        (count("Started"), count("Removed"), count("Paused"), count("Resumed")),
        (1, 2, 4, 4),
        "{kinds:?}"
    );
}

async fn a_runtime_that_hangs_keeps_no_client_waiting(node: &mut Node) {
    let web = node.pod("web").await;
    let main = node.running(&web, "main").await;
    let running = serve(node);
    status(node, well).await;
    node.runtime.hang();
    let said = ask(node, &["status"]);
    assert_eq!(said.code, 3, "{said:?}");
    for text in ["has not answered within 2s", "could not be observed within 2s"] {
        assert!(said.stdout.contains(text), "{said:?}");
    }
    let said = ask(node, &["explain", &main, "--timeout", "2s"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.stderr.contains("the node could not be observed within 2s"), "{said:?}");
    let said = ask(node, &["run-now"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.stderr.contains("the runtime does not answer"), "{said:?}");
    node.runtime.go_on();
    status(node, well).await;
    succeeded(ask(node, &["explain", &main]));
    succeeded(ask(node, &["run-now"]));
    running.terminate();
    assert_eq!(running.wait().code, 0);
}

async fn settings_are_reloaded_by_command_and_by_a_change_of_the_file(node: &mut Node) {
    let running = serve(node);
    status(node, well).await;
    let file = node.path("cri-gc.toml");
    std::fs::write(&file, "[pods]\nmax_staleness = \"7m\"\n").unwrap();
    let reloaded = succeeded(ask(node, &["config", "reload"]));
    // On a slow machine the service may have seen the change by itself before.
    assert!(reloaded.stdout.starts_with("Generation "), "{reloaded:?}");
    let shown = succeeded(ask(node, &["config", "show", "--running", "-o", "json"]));
    assert_eq!(json(&shown)["pods"]["max_staleness"], "7m");

    std::fs::write(&file, "[pods]\nmax_stalenes = \"8m\"\n").unwrap();
    let refused = ask(node, &["config", "reload"]);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.stderr.contains("max_stalenes") && refused.stderr.contains("cri-gc.toml"), "{refused:?}");

    // As Kubernetes swaps a ConfigMap: the file is a link into a folder that is a link.
    let swap = |version: &str, text: &str| {
        let folder = node.path(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("cri-gc.toml"), text).unwrap();
        std::os::unix::fs::symlink(&folder, node.path("..data_tmp")).unwrap();
        std::fs::rename(node.path("..data_tmp"), node.path("..data")).unwrap();
    };
    let generation = |n: u64| {
        move |s: &cri_gc_proto::admin::StatusResponse| {
            let followed = s.loops.iter().all(|l| l.generation >= n);
            s.configuration.as_ref().is_some_and(|c| c.generation >= n && c.trigger == "file") && followed
        }
    };
    swap("v1", "[log]\nlevel = \"debug\"\n");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(node.path("..data").join("cri-gc.toml"), &file).unwrap();
    let first = status(node, |s| s.log_level == "debug" && generation(3)(s)).await;
    swap("v2", "[log]\nlevel = \"warning\"\n");
    let second = first.configuration.unwrap().generation + 1;
    status(node, |s| s.log_level == "warning" && generation(second)(s)).await;

    // One that is set by hand is in force until the file changes it.
    succeeded(ask(node, &["log-level", "error"]));
    assert_eq!(succeeded(ask(node, &["log-level"])).stdout.trim(), "error");
    succeeded(ask(node, &["config", "reload"]));
    assert_eq!(succeeded(ask(node, &["log-level"])).stdout.trim(), "error");
    running.terminate();
    assert_eq!(running.wait().code, 0);
}
