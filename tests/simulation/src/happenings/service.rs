//! What an operator does: reloads, pauses, requests, ends and kills the service; and panics, which come by themselves on a real node.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use cri_gc::wiring::Service;
use cri_gc_collectors::collector::{LoopHandle, Paused};
use cri_gc_kit::generation::Cause;
use tokio::time::timeout;

use super::{End, pass};
use crate::policy;
use crate::world::World;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn something(world: &mut World, service: &Service) -> End {
    match world.random.u8(..100) {
        0..40 => reload(world, service).await,
        40..52 => pause(world, service).await,
        52..64 => {
            let handle = &service.loops[world.random.usize(..4)];
            world.story.tell(format!("a pass of {} is requested", handle.of.as_str()));
            let pass = handle.run(None);
            let _ = timeout(PATIENCE, pass).await;
        }
        64..78 => {
            let bit = world.random.u32(..5);
            let bit = if bit == 4 { 7 } else { bit };
            world.story.tell(format!("something panics when it reads clock {bit} next"));
            world.panics.fetch_or(1 << bit, SeqCst);
            world.tally.panics += 1;
        }
        78..90 => {
            world.story.tell("the service is killed");
            return End::Ended;
        }
        _ => return terminate(world, service).await,
    }
    End::No
}

/// Ends the service as SIGTERM does.
async fn terminate(world: &mut World, service: &Service) -> End {
    world.story.tell("the service is asked to end");
    if timeout(Duration::from_secs(120), service.finish()).await.is_err() {
        world.judge.violated("the service does not end within two minutes".to_owned());
    }
    world.judge.finished();
    world.story.tell("the service has ended");
    // What a removal still sends, it sends now.
    pass(world, Duration::from_secs(5)).await;
    End::Ended
}

/// The configuration changes, and is reloaded; now and then it is wrong.
async fn reload(world: &mut World, service: &Service) {
    let images = world.images.clone();
    let text = policy::random(&mut world.random, &images);
    match world.random.u8(..10) {
        0 => {
            world.story.tell("the configuration file ends in the middle of a line");
            let half = text.len() / 2;
            world.write_config(&format!("{}\n[image", &text[..half]));
        }
        1 => {
            world.story.tell("the configuration file is gone");
            world.remove_config();
        }
        _ => {
            world.story.tell(format!("there is a new configuration: {}", text.replace('\n', "; ")));
            world.write_config(&text);
        }
    }
    read_again(world, service, text).await;
}

/// Has the file read that has this text if it is valid.
pub async fn read_again(world: &mut World, service: &Service, text: String) {
    let expected = world.settings();
    match timeout(PATIENCE, service.configuration.reload(Cause::Signal, None)).await {
        Ok(Ok(_)) => match expected {
            Ok(settings) => {
                world.policy = text;
                world.tally.reloads += 1;
                world.judge.reloaded(settings);
            }
            Err(error) => world.judge.violated(format!("a configuration is in force that is wrong: {error}")),
        },
        Ok(Err(refused)) => {
            world.story.tell(format!("the reload is refused: {refused}"));
            if expected.is_err() {
                // The operator puts the file right.
                world.write_config(&world.policy.clone());
            } else {
                // It was interrupted. Whether it is in force is not known, so it is read again, as an operator would.
                Box::pin(read_again(world, service, text)).await;
            }
        }
        Err(_) => world.judge.violated("a reload is not answered".to_owned()),
    }
}

async fn pause(world: &mut World, service: &Service) {
    let handle: &LoopHandle = &service.loops[world.random.usize(..4)];
    let of = handle.of;
    let paused = world.random.bool().then(|| Paused { since: world.sim.now(), until: None });
    world.story.tell(format!("{} is {}", of.as_str(), if paused.is_some() { "paused" } else { "resumed" }));
    if timeout(PATIENCE, handle.pause(paused, None)).await.is_err() {
        world.judge.violated(format!("a pause of {} is not answered", of.as_str()));
    }
    world.judge.paused(of, paused.is_some());
}

/// All loops continue.
pub async fn resume_all(world: &mut World, service: &Service) {
    for handle in &service.loops {
        if timeout(PATIENCE, handle.pause(None, None)).await.is_err() {
            world.judge.violated(format!("{} can't be resumed", handle.of.as_str()));
        }
        world.judge.paused(handle.of, false);
    }
}
