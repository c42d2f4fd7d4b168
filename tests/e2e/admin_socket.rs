//! The admin socket under clients of every kind, with the service as a process of its own on the embedded runtime: nothing
//! that a client does may disturb a loop.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_proto::admin::{
    ExplainRequest, FollowRequest, PauseRequest, PlanRequest, ReloadRequest, ResumeRequest, RunNowRequest,
    StatusRequest, StatusResponse,
};
use cri_gc_test_support::{until, until_async};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::embedded;
use crate::node::Node;
use crate::program::{self, Running};

const PATIENCE: Duration = Duration::from_secs(90);

/// A service with something to observe, whose loops make a pass every second.
struct Served {
    node: Node,
    running: Running,
    socket: PathBuf,
}

impl Served {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let mut node = embedded::node();
        let web = node.pod("web").await;
        node.running(&web, "main").await;
        node.dead(&web, "job", 0..1).await;
        for section in ["container_gc", "sandbox_gc", "log_gc", "image_gc"] {
            node.set(&format!("{section}.period"), "1s");
        }
        node.set("image_gc.mode", "report").set("log.format", "json");
        for (key, value) in settings {
            node.set(key, value);
        }
        let running = program::start(&node.arguments(&["run"]), None);
        let socket = node.path("admin.sock");
        let served = Self { node, running, socket };
        served.until(|status| status.loops.iter().all(|l| l.passes > 0)).await;
        served
    }

    async fn client(&self) -> AdminClient<Channel> {
        let endpoint = Endpoint::try_from(format!("unix://{}", self.socket.display())).unwrap();
        let connect = || async { endpoint.connect().await.ok() };
        AdminClient::new(until_async(PATIENCE, connect).await.expect("the service answers"))
    }

    /// Waits for a status that suits.
    async fn until(&self, suits: impl Fn(&StatusResponse) -> bool) -> StatusResponse {
        let mut client = self.client().await;
        let client = &mut client;
        for _ in 0..(PATIENCE.as_millis() / 50) {
            if let Ok(status) = client.status(StatusRequest::default()).await
                && suits(status.get_ref())
            {
                return status.into_inner();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such status in time");
    }

    /// All loops make passes as before, and none has failed.
    async fn continues(&self) {
        let before = self.until(|_| true).await;
        let more = |now: &StatusResponse| {
            now.loops.iter().zip(&before.loops).all(|(now, before)| now.passes >= before.passes + 3)
        };
        let after = self.until(more).await;
        let failed = after.loops.iter().filter(|l| l.failures > 0 || l.restarts > 0).count();
        assert_eq!(failed, 0, "{after:#?}");
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.id())).unwrap().count()
    }

    /// Waits until all that clients used is released.
    fn until_idle(&self, descriptors: usize) {
        until(PATIENCE, "connections are released", || (self.descriptors() <= descriptors).then_some(()));
    }

    /// A status as another user requests it.
    fn status_as(&self, uid: u32, gid: u32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cri-gc"));
        command.args(["status", "--socket"]).arg(&self.socket).env_clear().current_dir("/");
        command.uid(uid).gid(gid).output().unwrap()
    }

    /// A command of a user that has this group as a supplementary one.
    fn run_in_group(&self, group: u32, args: &[&str]) -> Output {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid=65534", "--regid=65534", &format!("--groups={group}")]);
        command.arg(env!("CARGO_BIN_EXE_cri-gc")).args(args).arg("--socket").arg(&self.socket);
        command.env_clear().current_dir("/").output().unwrap()
    }
}

/// Opens the folders of a test, so that another user gets as far as the socket.
fn open_up(socket: &Path) {
    for folder in socket.ancestors().skip(1) {
        // Only those of the test's own can be private.
        if let Ok(meta) = folder.metadata()
            && meta.permissions().mode() & 0o001 == 0
        {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
        }
    }
}

#[tokio::test]
async fn garbage_and_silence_and_half_a_request_disturb_no_loop() {
    let served = Served::start().await;
    let idle = served.descriptors();
    let mut open = Vec::new();
    for number in 0..60_u8 {
        let mut stream = UnixStream::connect(&served.socket).unwrap();
        let text: Vec<u8> = match number % 6 {
            // No request, and the connection remains.
            0 => Vec::new(),
            1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            2 => vec![number; 100_000],
            // Half of the preface of HTTP/2, all of it, and all of it with a frame that is none.
            3 => b"PRI * HTTP".to_vec(),
            4 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            _ => [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 512]].concat(),
        };
        // It may hang up while this is written.
        let _ = stream.write_all(&text);
        open.push(stream);
    }
    served.continues().await;
    // A client that sends nonsense gets an error, or the connection ends.
    for stream in &mut open {
        stream.set_nonblocking(true).unwrap();
        let _ = stream.read(&mut [0; 1_024]);
    }
    drop(open);
    served.continues().await;
    served.until_idle(idle);
    assert!(!served.running.stderr().contains("panic"), "{}", served.running.stderr());
}

#[tokio::test]
async fn two_hundred_clients_at_once_are_all_answered_and_disturb_no_loop() {
    let served = Served::start().await;
    let idle = served.descriptors();
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = served.client().await;
        clients.push(tokio::spawn(async move {
            for _ in 0..5 {
                match number % 4 {
                    0 => drop(client.status(StatusRequest::default()).await.unwrap()),
                    1 => drop(client.plan(PlanRequest {}).await.unwrap()),
                    2 => drop(
                        client
                            .explain(ExplainRequest { object: "job".to_owned(), wait_seconds: 0.0 })
                            .await
                            .unwrap(),
                    ),
                    _ => {
                        let mut events = client
                            .follow(FollowRequest { recent: 10, filter: None })
                            .await
                            .unwrap()
                            .into_inner();
                        while events.message().await.unwrap().unwrap().kind != "Now" {}
                    }
                }
            }
        }));
    }
    served.continues().await;
    for client in clients {
        client.await.unwrap();
    }
    served.continues().await;
    served.until_idle(idle);
}

#[tokio::test]
async fn clients_that_vanish_or_never_read_disturb_no_loop() {
    let served = Served::start().await;
    let idle = served.descriptors();
    let mut never_read = Vec::new();
    for number in 0..40 {
        let mut client = served.client().await;
        if number % 2 == 0 {
            // Dropped in the middle of the call, with its connection.
            let call = tokio::spawn(async move {
                let run = RunNowRequest { loops: vec!["container_gc".to_owned()], confirm_deleted: false };
                let _ = client.run_now(run).await;
            });
            tokio::task::yield_now().await;
            call.abort();
        } else {
            let events = client.follow(FollowRequest { recent: 1_000, filter: None }).await.unwrap();
            never_read.push((client, events));
        }
    }
    // Far more events than the buffer of a connection.
    let mut busy = served.client().await;
    for _ in 0..300 {
        busy.pause(PauseRequest { loops: vec!["image_gc".to_owned()], ..PauseRequest::default() })
            .await
            .unwrap();
        busy.resume(ResumeRequest { loops: vec!["image_gc".to_owned()] }).await.unwrap();
    }
    served.continues().await;
    drop((never_read, busy));
    served.until_idle(idle);
}

#[tokio::test]
async fn who_has_no_right_is_refused_by_the_socket_and_by_the_service() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED who_has_no_right_is_refused_by_the_socket_and_by_the_service: needs root");
        return;
    }
    // A group of this test, by its number.
    let served = Served::with(&[("admin.group", "54321")]).await;
    open_up(&served.socket);
    open_up(Path::new(env!("CARGO_BIN_EXE_cri-gc")));
    let mode = |socket: &Path| socket.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&served.socket), 0o660);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let unprivileged = served.status_as(65_534, 65_534);
    assert_eq!(unprivileged.status.code(), Some(4), "the kernel refuses: {}", said(&unprivileged));
    // If an administrator opens the socket to all, the service still checks who connects.
    std::fs::set_permissions(&served.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let unprivileged = served.status_as(65_534, 65_534);
    assert_ne!(unprivileged.status.code(), Some(0));
    assert!(said(&unprivileged).contains("65534 has no access to it"), "{}", said(&unprivileged));
    let member = served.status_as(65_534, 54_321);
    assert_eq!(member.status.code(), Some(0), "{}", said(&member));
    served.continues().await;
}

#[tokio::test]
async fn who_may_read_asks_everything_and_changes_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED who_may_read_asks_everything_and_changes_nothing: needs root");
        return;
    }
    let (operators, readers) = (54_321, 54_322);
    let groups = [("admin.group", operators.to_string()), ("admin.read_group", readers.to_string())];
    let served = Served::with(&groups.each_ref().map(|(key, group)| (*key, group.as_str()))).await;
    open_up(&served.socket);
    open_up(Path::new(env!("CARGO_BIN_EXE_cri-gc")));
    let reading = served.node.path("admin-read.sock");
    for (socket, group) in [(&served.socket, operators), (&reading, readers)] {
        let meta = socket.metadata().unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.gid()), (0o660, group), "{}", socket.display());
    }
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for args in [
        &["status"][..],
        &["explain", "web"],
        &["events"],
        &["history"],
        &["config", "show", "--running"],
        &["log-level"],
    ] {
        for group in [operators, readers] {
            let answered = served.run_in_group(group, args);
            assert_eq!(answered.status.code(), Some(0), "{group} {args:?}: {}", said(&answered));
        }
        let stranger = served.run_in_group(54_323, args);
        assert_eq!(stranger.status.code(), Some(4), "the kernel refuses: {}", said(&stranger));
    }
    let changes = [
        &["pause", "images"][..],
        &["resume"],
        &["run-now", "images"],
        &["config", "reload"],
        &["log-level", "debug"],
    ];
    let before = served.until(|_| true).await;
    for args in changes {
        let refused = served.run_in_group(readers, args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {}", said(&refused));
        let parts = ["user 65534 may only ask (admin.read_group)", "changes something", "admin.group"];
        assert!(parts.iter().all(|part| said(&refused).contains(part)), "{args:?}: {}", said(&refused));
    }
    let after = served.until(|_| true).await;
    assert_eq!(after.log_level, before.log_level);
    assert!(after.loops.iter().all(|of| of.state != "paused"), "{after:#?}");
    let is_change = |kind: &str| ["PassRequested", "LogLevelChanged", "Reloaded", "Paused"].contains(&kind);
    let mut events = served
        .client()
        .await
        .follow(FollowRequest { recent: 1_000, filter: None })
        .await
        .unwrap()
        .into_inner();
    loop {
        let event = events.message().await.unwrap().unwrap();
        assert!(!is_change(&event.kind), "{event:?}");
        if event.kind == "Now" {
            break;
        }
    }
    for args in changes {
        let done = served.run_in_group(operators, args);
        assert!(matches!(done.status.code(), Some(0 | 3)), "{args:?}: {}", said(&done));
    }

    // Those who may only read take no place from the others.
    let silent: Vec<_> = (0..6).map(|_| std::os::unix::net::UnixStream::connect(&reading).unwrap()).collect();
    let crowded = served.run_in_group(readers, &["status"]);
    assert_eq!(crowded.status.code(), Some(4), "{}", said(&crowded));
    assert_eq!(served.run_in_group(operators, &["status"]).status.code(), Some(0));
    drop(silent);

    // A member of both has the greater right. Where an administrator opens a socket to all, the service still checks who connects.
    std::fs::set_permissions(&reading, std::fs::Permissions::from_mode(0o666)).unwrap();
    let stranger = served.run_in_group(54_323, &["status"]);
    assert_eq!(stranger.status.code(), Some(1), "{}", said(&stranger));
    assert!(said(&stranger).contains("65534 has no access to it"), "{}", said(&stranger));
    served.continues().await;

    served.running.terminate();
    let Served { running, socket, node: _node } = served;
    assert_eq!(running.wait().code, 0);
    assert!(!socket.exists() && !reading.exists());
}

#[tokio::test]
async fn health_and_reflection_are_served_too() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let served = Served::start().await;
    let endpoint = Endpoint::try_from(format!("unix://{}", served.socket.display())).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    for service in ["", "cri_gc.admin.v1.Admin"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status.as_str_name(), "SERVING", "{service:?}");
    }
    let request = HealthCheckRequest { service: "nobody.v1.Knows".to_owned() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_second_service_is_refused_and_the_socket_of_a_killed_one_is_taken_over() {
    let mut served = Served::start().await;
    let second = program::start(&served.node.arguments(&["run"]), None).wait();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains(&format!("pid {}", served.running.id())), "{second:?}");
    // With a state directory of its own it still finds the socket in use.
    let (state, elsewhere) = (served.node.path("state"), served.node.path("elsewhere"));
    served.node.set("state.dir", elsewhere.display());
    let second = program::start(&served.node.arguments(&["run"]), None).wait();
    served.node.set("state.dir", state.display());
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("another process answers"), "{second:?}");
    let sweep = served.node.run_program(&["sweep"], None);
    assert_eq!((sweep.code, sweep.stdout.as_str()), (1, ""), "{sweep:?}");
    assert!(sweep.stderr.contains("run-now"), "{sweep:?}");
    served.continues().await;

    let Served { node, running, socket } = served;
    drop(running);
    assert!(socket.exists(), "it was killed");
    let running = program::start(&node.arguments(&["run"]), None);
    let served = Served { node, running, socket };
    served.continues().await;
    served.running.terminate();
    assert_eq!(served.running.wait().code, 0);
    assert!(!served.socket.exists());
}

#[tokio::test]
async fn a_wrong_request_gets_an_error_that_explains_it() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let unknown = client
        .run_now(RunNowRequest { loops: vec!["images".to_owned()], confirm_deleted: false })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("image_gc"), "{unknown:?}");
    let nothing =
        client.explain(ExplainRequest { object: "nobody".to_owned(), wait_seconds: 0.0 }).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound);
    client
        .pause(PauseRequest { loops: vec!["sandbox_gc".to_owned()], ..PauseRequest::default() })
        .await
        .unwrap();
    let run = RunNowRequest { loops: vec!["sandbox_gc".to_owned()], confirm_deleted: false };
    let mut updates = client.run_now(run).await.unwrap().into_inner();
    let paused = updates.message().await.unwrap_err();
    assert_eq!(
        (paused.code(), paused.message()),
        (Code::FailedPrecondition, "sandbox_gc is paused; `cri-gc resume sandbox_gc` ends that")
    );
    // Its configuration file is empty, so that the values of its flags are kept.
    std::fs::write(served.node.path("cri-gc.toml"), "[image_gc]\nhigh = 3\n").unwrap();
    let refused = client.reload(ReloadRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("cri-gc.toml") && refused.message().contains("image_gc.high"),
        "{refused:?}"
    );
    let status = served.until(|_| true).await.configuration.unwrap();
    assert_eq!(status.generation, 1);
    assert!(status.refused.contains("image_gc.high"));
}

#[tokio::test]
async fn a_plan_and_an_explanation_show_what_follows_from_removals() {
    let hour = ["container_gc.period", "sandbox_gc.period", "log_gc.period", "image_gc.period"];
    let served = Served::with(&hour.map(|key| (key, "1h"))).await;
    // The passes at the start; sandboxes and logs wait for the loop before them.
    served.until(|status| status.loops.iter().all(|l| l.state == "waiting" && l.passes > 0)).await;
    let gone = served.node.ended_pod("gone", &["job"]).await;
    let mut client = served.client().await;
    let plan = client.plan(PlanRequest {}).await.unwrap().into_inner();
    let names =
        |items: &[cri_gc_proto::admin::Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    let (containers, sandboxes, logs) =
        (plan.containers.unwrap(), plan.sandboxes.unwrap(), plan.log_dirs.unwrap());
    assert_eq!(names(&containers.remove), ["default/gone/job#0"]);
    assert_eq!(
        (names(&sandboxes.remove), names(&sandboxes.follow)),
        (vec![], vec!["default/gone#0".to_owned()])
    );
    assert_eq!((names(&logs.remove), names(&logs.follow)), (vec![], vec!["default/gone".to_owned()]));
    assert!(logs.would_free_bytes > 0, "the log of the container");
    assert!(!plan.filesystems.is_empty());
    let question = ExplainRequest { object: gone.id.clone(), wait_seconds: 0.0 };
    let explained = client.explain(question.clone()).await.unwrap().into_inner();
    assert_eq!(explained.objects[0].decision, "follow", "{explained:?}");

    // Nothing follows from what is not removed.
    let loops = vec!["container_gc".to_owned()];
    client.pause(PauseRequest { loops, ..PauseRequest::default() }).await.unwrap();
    let plan = client.plan(PlanRequest {}).await.unwrap().into_inner();
    let note = "container_gc is paused: it removes nothing until it is resumed";
    assert!(plan.notes.iter().any(|shown| shown == note), "{:?}", plan.notes);
    assert!(plan.sandboxes.unwrap().follow.is_empty() && plan.log_dirs.unwrap().follow.is_empty());
    let explained = client.explain(question).await.unwrap().into_inner();
    assert_eq!((&*explained.objects[0].decision, &*explained.objects[0].reason), ("keep", "has_containers"));
}
