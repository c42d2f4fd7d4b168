//! One process of the service: from its start, on a runtime of its own, until it ends, is killed, or the run is over.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use cri_gc::wiring::{Seams, Service, Start};
use cri_gc_config::LogLevel;
use cri_gc_gateway::Connect;
use cri_gc_kit::generation::Generation;
use cri_gc_kit::seams::{Chance, Clock, FsProbe, LogThreshold};
use cri_gc_kit::supervision::threads::Threads;
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::Workers;
use cri_gc_sim::Sim;
use fastrand::Rng;
use jiff::SignedDuration;
use parking_lot::Mutex;
use slog::{Drain, Logger, o};

use crate::calm::calm;
use crate::happenings::{self, End};
use crate::story::ORDERED_PANIC;
use crate::world::World;

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Another process.
    Again,
    /// The run is over.
    Over,
}

/// How long a process that cannot start is not started again.
const RESTART: Duration = Duration::from_secs(20);

/// Lives one process.
pub fn live(world: &mut World) -> Next {
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap()
    };
    actix_rt::System::with_tokio_rt(runtime).block_on(async {
        world.sim.enter();
        if world.runtime_back_at.is_some() {
            world.sim.kill();
        }
        let next = serve(world).await;
        world.sim.leave();
        next
    })
}

async fn serve(world: &mut World) -> Next {
    let sources = world.sources();
    let loaded = match cri_gc_config::load(&sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            world.story.tell(format!("the service does not start: {error}"));
            tokio::time::sleep(RESTART).await;
            world.write_config(&world.policy.clone());
            return Next::Again;
        }
    };
    world.story.tell("the service starts");
    world.panics.store(0, SeqCst);
    world.tally.lives += 1;
    world.judge.started(loaded.settings.clone());
    let service = Service::start(Start {
        generation: Generation::first(loaded, world.sim.now()),
        sources,
        cannot: |_| None,
        seams: seams(world),
        home: world.home(),
        threads: Threads::here(),
        stagger: Duration::from_secs(1),
        threshold: LogThreshold::new(LogLevel::Info),
        log: Logger::root(world.story.clone().fuse(), o!()),
    });
    let service = service.unwrap();
    while world.sim.uptime() < world.trouble_ends_at {
        match happenings::next(world, &service).await {
            End::No => {}
            End::Ended => return Next::Again,
        }
        if world.judge.is_violated() {
            return Next::Over;
        }
    }
    calm(world, &service).await;
    Next::Over
}

/// What stands for the machine. Its clocks panic when that is ordered.
fn seams(world: &mut World) -> Seams {
    let (probe, sim) = (world.sim.fs_probe(), world.sim.clone());
    let spread = Mutex::new(Rng::with_seed(world.random.u64(..)));
    let clock = |bit: u32| clock(&world.sim, &world.panics, bit);
    Seams {
        clock: clock(7),
        own_clocks: (0..).zip(Loop::ALL).map(|(bit, of)| (of, clock(bit))).collect(),
        probe: FsProbe::new(move |path| probe(path)),
        chance: Chance::new(move || spread.lock().f64()),
        connect: Connect::InMemory(Arc::new(move || sim.connect())),
        workers: |_| Ok(Workers::here()),
    }
}

fn clock(sim: &Sim, panics: &Arc<std::sync::atomic::AtomicU8>, bit: u32) -> Clock {
    let (wall, boot, panics) = (sim.clock(), sim.clone(), Arc::clone(panics));
    let now = move || {
        if panics.fetch_and(!(1 << bit), SeqCst) >> bit & 1 == 1 {
            panic!("{ORDERED_PANIC}");
        }
        wall()
    };
    Clock::with_boot(now, move || SignedDuration::try_from(boot.uptime()).unwrap())
}
