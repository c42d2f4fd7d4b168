//! What happens: one thing after the other, each after a random pause.
//!
//! - [`node`]: pods, containers, images, the disk, the clock. [`runtime`]: what is wrong with the runtime, and what other clients of it do
//!   between a question and a removal. [`service`]: what an operator does.

mod node;
mod runtime;
mod service;

use std::time::Duration;

use cri_gc::wiring::Service;
use cri_gc_config::PodSource;
use cri_gc_proto::RUNTIME_MESSAGE_LIMIT;

use crate::world::{Listing, World};

pub use service::{read_again, resume_all};

/// Whether the process of the service has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    No,
    Ended,
}

/// How often the list of pods is written, and the log directories are looked at.
const WRITTEN_EVERY: Duration = Duration::from_secs(20);

/// Lets some time pass, and then something happen.
pub async fn next(world: &mut World, service: &Service) -> End {
    // Often nothing for a while, and now and then much at once.
    let pause = match world.random.u8(..10) {
        0..3 => Duration::from_millis(world.random.u64(..500)),
        3..8 => Duration::from_millis(world.random.u64(..15_000)),
        _ => Duration::from_millis(world.random.u64(..90_000)),
    };
    pass(world, pause).await;
    match world.random.u8(..100) {
        0..48 => world.something_of_the_node(),
        48..66 => world.something_of_the_runtime(),
        66..74 if world.source == PodSource::File => world.something_of_the_list(),
        66..78 => world.something_between_two_calls(),
        _ => return service::something(world, service).await,
    }
    End::No
}

/// Lets that much time pass, with what happens by itself.
pub async fn pass(world: &mut World, span: Duration) {
    let until = world.sim.uptime() + span;
    loop {
        world.judge.look();
        world.write_pods();
        world.end_trouble();
        let left = until.saturating_sub(world.sim.uptime());
        if left.is_zero() {
            return;
        }
        let ends = [world.runtime_back_at, world.faults_end_at].into_iter().flatten();
        let ends = ends.map(|end| end.saturating_sub(world.sim.uptime())).min();
        let step = left.min(WRITTEN_EVERY).min(ends.unwrap_or(Duration::MAX));
        // A timer counts whole milliseconds.
        tokio::time::sleep(step.max(Duration::from_millis(1))).await;
    }
}

impl World {
    /// Ends the trouble of the runtime whose time has come.
    fn end_trouble(&mut self) {
        let now = self.sim.uptime();
        if self.runtime_back_at.is_some_and(|at| at <= now) {
            self.start_runtime();
        }
        if self.faults_end_at.is_some_and(|at| at <= now) {
            self.end_faults();
        }
    }

    pub fn start_runtime(&mut self) {
        self.runtime_back_at = None;
        self.sim.restart().unwrap();
        self.story.tell("the runtime is back");
    }

    pub fn end_faults(&mut self) {
        self.faults_end_at = None;
        self.sim.clear_faults();
        self.sim.with(|node| {
            node.options.message_limit = RUNTIME_MESSAGE_LIMIT;
            node.probe_error = None;
            node.answer_oddly(None);
        });
        self.story.tell("the runtime and the disk are well again");
    }

    /// The list of pods becomes wrong, or right.
    fn something_of_the_list(&mut self) {
        let missing = self.random.u64(..);
        let kinds = [
            Listing::Empty,
            Listing::Foreign,
            Listing::Partial(missing),
            Listing::Partial(1 << self.random.u32(..8)),
            Listing::Stale,
            Listing::Missing,
            Listing::CutOff,
        ];
        let next =
            if self.listing == Listing::True || self.chance(0.3) { self.pick(&kinds) } else { Listing::True };
        self.story.tell(format!("the list of pods is now: {next:?}"));
        self.listing = next;
        self.write_pods();
    }
}
