//! Keeps an actor alive: whatever panics in it, it is restarted at its address, with its mailbox, after a pause.
//!
//! `actix::Supervisor` restarts an actor that stops, at once, and loses one that panics. Here the actor's future is polled
//! under [`catch`]; after a panic or a stop it is restarted by `ContextFut::restart`, which drops what the actor had
//! spawned (its timers too: [`Guarded::begin`] arms them again) and keeps the actor's value. Its state must therefore be one that
//! any statement may be the last of: `restarting` puts it in order.
//!
//! actix 0.13 keeps what a handler had cancelled before it panicked, and counts spawned futures from 1 again: were timers armed in
//! `Actor::started`, it would take one of them for what was cancelled. A guarded actor begins in a future that it waits for,
//! before which actix has forgotten what was cancelled.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::{Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Supervised, fut};
use cri_gc_config::Settings;
use slog::{Logger, error};
use tokio::time::{Instant, Sleep, sleep};

use super::backoff::Backoff;
use super::panics::catch;
use crate::text::duration;
use crate::words::Loop;

/// Messages that may wait in a mailbox, as actix has it by default.
const MAILBOX: usize = 16;

/// How restarts are paced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The first pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl From<&Settings> for Pace {
    fn from(settings: &Settings) -> Self {
        let supervision = &settings.supervision;
        Self { min: supervision.restart_backoff_min, max: supervision.restart_backoff_max }
    }
}

/// What a guarded actor does by itself.
pub trait Guarded: Supervised {
    /// Begins it: at the start, and again after each restart. No message is handled before.
    fn begin(&mut self, _ctx: &mut Self::Context) {}
}

/// Has an actor begin as soon as its context is polled.
fn begin<A: Guarded + Actor<Context = Context<A>>>(ctx: &mut Context<A>) {
    ctx.wait(fut::ready(()).map(|(), actor: &mut A, ctx| actor.begin(ctx)));
}

/// Called when an actor panicked (with this message) or stopped, and will be restarted after this pause.
pub type OnRestart = Box<dyn FnMut(&str, Duration) + Send>;

/// Logs that an actor is restarted. How often is bounded by the pace of restarts.
pub fn log_restart(log: Logger, who: &'static str, of: Option<Loop>) -> OnRestart {
    Box::new(move |why, pause| {
        error!(log, "internal part \"{who}\" crashed, restarting in {}", duration(pause); "loop" => of.map(Loop::as_str), "why" => why);
    })
}

/// Starts a guarded actor on an arbiter.
pub fn start<A>(
    on: &ArbiterHandle,
    pace: Pace,
    on_restart: OnRestart,
    make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
) -> Addr<A>
where
    A: Guarded + Actor<Context = Context<A>> + Unpin,
{
    let (sender, receiver) = channel::channel(MAILBOX);
    on.spawn_fn(move || {
        let mut context = Context::with_receiver(receiver);
        let actor = make(&mut context);
        begin(&mut context);
        let backoff = Backoff::new(pace.min, pace.max);
        let actor = context.into_future(actor);
        actix_rt::spawn(Guard {
            actor,
            on_restart,
            backoff,
            longest: pace.max,
            since: Instant::now(),
            pause: None,
        });
    });
    Addr::new(sender)
}

/// The actor's future, watched.
struct Guard<A: Guarded + Actor<Context = Context<A>>> {
    actor: ContextFut<A, Context<A>>,
    on_restart: OnRestart,
    backoff: Backoff,
    /// An actor that lived for longer than this begins with the shortest pause again.
    longest: Duration,
    since: Instant,
    /// The pause in progress.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<A: Guarded + Actor<Context = Context<A>> + Unpin> Future for Guard<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
                this.since = Instant::now();
                // `restarting` is the actor's own code, and may panic like any other.
                match catch(|| this.actor.restart()) {
                    Ok(true) => begin(this.actor.ctx()),
                    // No one has its address any more: it is done.
                    Ok(false) => return Poll::Ready(()),
                    Err(panic) => {
                        this.restart_later(&panic);
                        continue;
                    }
                }
            }
            match catch(|| Pin::new(&mut this.actor).poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) if !this.actor.ctx().connected() => return Poll::Ready(()),
                Ok(Poll::Ready(())) => this.restart_later("it stopped"),
                Err(panic) => this.restart_later(&panic),
            }
        }
    }
}

impl<A: Guarded + Actor<Context = Context<A>> + Unpin> Guard<A> {
    fn restart_later(&mut self, why: &str) {
        if self.since.elapsed() > self.longest {
            self.backoff.reset();
        }
        let pause = self.backoff.pause();
        (self.on_restart)(why, pause);
        self.pause = Some(Box::pin(sleep(pause)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix::{ActorContext, Handler, Message, SpawnHandle};

    use super::*;

    /// Where an actor can crash.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
    #[rtype(result = "u32")]
    enum Do {
        Answer,
        PanicInHandler,
        PanicInSpawn,
        PanicInWait,
        PanicInTimer,
        PanicInNextStart,
        CancelAndPanic,
        Stop,
    }

    struct Fragile {
        starts: u32,
        /// Times that the timer rang which each life arms first.
        rung: u32,
        timer: Option<SpawnHandle>,
        panic_at_start: bool,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    impl Supervised for Fragile {}

    impl Guarded for Fragile {
        fn begin(&mut self, ctx: &mut Context<Self>) {
            self.starts += 1;
            assert!(!std::mem::take(&mut self.panic_at_start), "at start");
            self.timer = Some(ctx.run_later(Duration::ZERO, |this, _| this.rung = this.starts));
        }
    }

    impl Handler<Do> for Fragile {
        type Result = u32;

        fn handle(&mut self, message: Do, ctx: &mut Context<Self>) -> u32 {
            match message {
                Do::Answer => return if self.rung == self.starts { self.starts } else { 0 },
                Do::CancelAndPanic => {
                    ctx.cancel_future(self.timer.unwrap());
                    panic!("in handler");
                }
                Do::PanicInHandler => panic!("in handler"),
                Do::PanicInSpawn => {
                    ctx.spawn(fut::ready(()).map(|(), _: &mut Self, _| panic!("in spawn")));
                }
                Do::PanicInWait => ctx.wait(fut::ready(()).map(|(), _: &mut Self, _| panic!("in wait"))),
                Do::PanicInTimer => {
                    ctx.run_later(Duration::from_millis(1), |_, _| panic!("in timer"));
                }
                Do::PanicInNextStart => {
                    self.panic_at_start = true;
                    panic!("in handler");
                }
                Do::Stop => ctx.stop(),
            }
            self.starts
        }
    }

    #[actix_rt::test]
    async fn wherever_it_crashes_it_is_restarted_at_its_address_with_its_state() {
        let arbiter = actix_rt::Arbiter::new();
        let reported: Arc<Mutex<Vec<String>>> = Arc::default();
        let pace = Pace { min: Duration::from_millis(1), max: Duration::from_millis(4) };
        let reports = Arc::clone(&reported);
        let on_restart: OnRestart = Box::new(move |why, _| reports.lock().unwrap().push(why.to_owned()));
        let fragile =
            |_: &mut Context<Fragile>| Fragile { starts: 0, rung: 0, timer: None, panic_at_start: false };
        let address = start(&arbiter.handle(), pace, on_restart, fragile);
        let mut crashes = 0;
        for (how, times) in [
            (Do::PanicInHandler, 1),
            (Do::PanicInSpawn, 1),
            (Do::PanicInWait, 1),
            (Do::PanicInTimer, 1),
            (Do::PanicInNextStart, 2),
            (Do::CancelAndPanic, 1),
            (Do::Stop, 1),
        ] {
            // The answer is lost where the handler itself panics.
            let _ = address.send(how).await;
            crashes += times;
            // Asked until the restart is over: a message that came before it may be answered by the old life.
            let mut tries = 0;
            let starts = loop {
                match address.send(Do::Answer).await {
                    Ok(starts) if starts > crashes => break starts,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
                tries += 1;
                assert!(tries < 30_000, "{how:?}: it is not restarted, or its timer does not ring");
            };
            assert_eq!(starts, crashes + 1, "{how:?}");
        }
        let reported = reported.lock().unwrap();
        let words = [
            "in handler",
            "in spawn",
            "in wait",
            "in timer",
            "in handler",
            "at start",
            "in handler",
            "stopped",
        ];
        assert_eq!(reported.len(), words.len(), "{reported:?}");
        assert!(reported.iter().zip(words).all(|(text, word)| text.contains(word)), "{reported:?}");
        arbiter.stop();
    }
}
