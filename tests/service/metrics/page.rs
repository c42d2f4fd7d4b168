//! The page for people: it shows what `cri-gc status` shows of the service, and no text of others becomes a tag.

use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, ContainerSpec, Fault, Method, PodSpec, Scope};

use super::Served;
use crate::stage::{HOUR, PERIOD, SECOND, Setup, uid};

#[actix_rt::test]
async fn the_page_shows_the_loops_the_runtime_the_source_the_disks_and_the_newest_events() {
    let setup = Setup::new().set("container_gc.max_per_pod_container", "0").set("log_gc.mode", "off");
    setup.ended(&setup.living_pod(1), 0);
    let served = Served::start(setup).await;
    served.stage.step(SECOND).await;
    served.pause(Loop::SandboxGc).await;
    let answer = served.get("/").await;
    assert!(answer.head.contains("content-type: text/html; charset=utf-8"), "{}", answer.head);
    assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
    let endpoint = served.stage.sim.endpoint();
    for part in [
        "<p>ready</p>",
        "<td>container_gc</td><td>enforce</td><td>waiting</td>",
        "<td>sandbox_gc</td><td>enforce</td><td>paused</td>",
        "<td>log_gc</td><td>off</td><td>off</td><td>none yet</td><td>none planned</td>",
        "<td>Removed</td><td>container ns/pod-1/app#0 (over_pod_container_limit)</td>",
        "<td>images, containers</td>",
        "<dd>runtime: synced, 1 active",
        &format!("at {endpoint}, reachable"),
        "prefers-color-scheme: dark",
    ] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    assert!(!answer.body.contains("<script"), "it needs none");
    // The tags are in their order.
    assert!(answer.body.starts_with("<!DOCTYPE html>\n<html") && answer.body.ends_with("</body></html>\n"));
}

#[actix_rt::test]
async fn names_and_errors_that_look_like_tags_are_text() {
    let settings = [
        ("container_gc.max_per_pod_container", "0"),
        ("image_gc.max_age", "1s"),
        // What fails is tried in each pass.
        ("supervision.stuck_backoff_max", "1s"),
    ];
    let setup = settings.iter().fold(Setup::new(), |setup, (key, value)| setup.set(key, value));
    let made = setup.sim.ago(HOUR);
    let hostile = "<script>alert(1)</script>";
    let spec = PodSpec::new("ns", hostile, uid(1)).with(|pod| pod.log_directory = false);
    let sandbox = setup.sim.add_pod(spec.created_at(made)).unwrap();
    let container = ContainerSpec::new(&sandbox, "<img src=x onerror=y>").exited(made, made + HOUR / 2);
    setup.sim.add_container(container.no_log()).unwrap();
    let error = Fault::Error(Code::Unknown, "</td><b>\u{1b}[2J&amp;".to_owned());
    setup.sim.fault(Method::RemoveImage, error, Scope::Always);
    setup.image("free:1", 10);
    let served = Served::start(setup).await;
    served.stage.step(SECOND).await;
    served.stage.pass_time(PERIOD).await;
    let page = served.get("/").await.body;
    for tag in ["<script", "<img", "<b>", "\u{1b}", "alert(1)</script>"] {
        assert!(!page.contains(tag), "{tag}: {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;/&lt;img src=x onerror=y&gt;#0"), "{page}");
    assert!(
        page.contains("could not be removed in 1 attempt since ") && page.contains("&amp;amp;"),
        "{page}"
    );
    assert!(page.contains("FAILED"), "the pass of image GC");
}
