//! The actor: reads, checks, and passes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, MessageResult, Recipient,
    Supervised, WrapFuture,
};
use cri_gc_config::{FileSource, Loaded, Origin, Origins, Settings, changed_keys, load};
use jiff::Timestamp;
use slog::{Logger, error, info, warn};

use super::messages::{AskConfiguration, ConfigurationState, Reading, Refused, Reload, Reloaded};
use super::watch::{CHECK_EVERY, Fingerprint, Watch};
use cri_gc_kit::generation::{Cause, Generation, Reconfigure};
use cri_gc_kit::recorder::{Event, EventKind, Recorder};
use cri_gc_kit::seams::{Clock, LogThreshold};
use cri_gc_kit::supervision::guard::Guarded;

/// How long reading the file may take: a network mount may hang.
const READ_WITHIN: Duration = Duration::from_secs(15);

/// The actor. Use it through [`super::Configuration`].
pub struct ConfigurationActor {
    /// The settings at the start: some keys are read only then.
    pub at_start: Arc<Settings>,
    pub current: Arc<Generation>,
    pub refused: Option<(String, Timestamp)>,
    pub reading: Reading,
    pub watch: Watch,
    /// How often the file was checked.
    pub checks: u64,
    pub followers: Vec<Recipient<Reconfigure>>,
    pub threshold: LogThreshold,
    pub clock: Clock,
    pub recorder: Recorder,
    pub log: Logger,
}

/// The result of a reading: the state of the file right before it, and the settings or what is wrong with them.
type Read = (Option<Fingerprint>, Result<Loaded, String>);

impl ConfigurationActor {
    /// The file that is watched.
    fn path(&self) -> Option<PathBuf> {
        match &self.reading.sources.file {
            FileSource::Explicit(path) | FileSource::Default(path) => Some(path.clone()),
            FileSource::None => None,
        }
    }

    fn state(&self) -> ConfigurationState {
        let waiting = changed_keys(&self.at_start, &self.current.settings);
        let waiting = waiting.into_iter().filter(|key| self.is_read_at_start(key)).collect();
        ConfigurationState {
            generation: Arc::clone(&self.current),
            waiting_for_restart: waiting,
            refused: self.refused.clone(),
            checks: self.checks,
        }
    }

    fn is_read_at_start(&self, key: &str) -> bool {
        let mut keys = self.reading.at_start.iter();
        keys.any(|start| if start.ends_with('.') { key.starts_with(start) } else { key == *start })
    }

    /// Reads on a worker.
    fn read(&self) -> impl Future<Output = Read> + use<> {
        let (files, sources, path) = (self.reading.files.clone(), self.reading.sources.clone(), self.path());
        let cannot = self.reading.cannot;
        async move {
            let work = move || {
                // Before the reading: what is written meanwhile is another state, and is read again.
                let state = path.as_deref().and_then(Fingerprint::of);
                let loaded = load(&sources).map_err(|error| error.to_string());
                // Here as well: it may query the name of a group, which may take a while.
                let loaded = loaded.and_then(|loaded| cannot(&loaded.settings).map_or(Ok(loaded), Err));
                (state, loaded)
            };
            match files.run_within(READ_WITHIN, work).await {
                Ok(read) => read,
                Err(gone) => (None, Err(format!("the configuration could not be read: {gone}"))),
            }
        }
    }

    /// Takes what was read, whole, or refuses it, whole.
    fn take(&mut self, reload: Reload, (state, loaded): Read) -> Result<Reloaded, Refused> {
        self.watch.read(state);
        match loaded.and_then(|loaded| self.check(loaded)) {
            Ok(loaded) => Ok(self.accept(reload, loaded)),
            Err(why) => {
                error!(self.log, "reload refused, the previous configuration remains in force: {}", why;
                    "generation" => self.current.number, "cause" => reload.cause.as_str());
                let event = Event::new(EventKind::ReloadRefused, None, why.clone());
                self.recorder.record(event.by(reload.by));
                self.refused = Some((why.clone(), self.clock.now()));
                Err(Refused(why))
            }
        }
    }

    fn check(&self, loaded: Loaded) -> Result<Loaded, String> {
        // Without it, what it protects would be removed.
        if let (Some(before), None) = (&self.current.file, &loaded.file) {
            return Err(format!(
                "{} does not exist any more; restore it, or restart cri-gc to run with the defaults",
                before.display()
            ));
        }
        // A disk that is full makes such files, and so does a writer that has only begun.
        let set_by_file = |origins: &Origins| {
            cri_gc_config::key_names().filter(|key| matches!(origins.get(key), Some(Origin::File(_)))).count()
        };
        if let Some(file) = &loaded.file
            && set_by_file(&loaded.origins) == 0
            && set_by_file(&self.current.origins) > 0
        {
            return Err(format!(
                "{} contains no setting any more; write the settings again, or restart cri-gc to run with the defaults",
                file.display()
            ));
        }
        Ok(loaded)
    }

    fn accept(&mut self, Reload { cause, by }: Reload, loaded: Loaded) -> Reloaded {
        let before = Arc::clone(&self.current);
        let generation = Arc::new(Generation {
            number: before.number + 1,
            settings: Arc::new(loaded.settings),
            loaded_at: self.clock.now(),
            file: loaded.file,
            cause,
            origins: loaded.origins,
        });
        let changed = changed_keys(&before.settings, &generation.settings);
        // One that was set by hand since then is in force until the file has another one.
        if before.settings.log.level != generation.settings.log.level {
            self.threshold.set(generation.settings.log.level);
        }
        self.current = generation;
        self.refused = None;
        for follower in &self.followers {
            follower.do_send(Reconfigure(Arc::clone(&self.current)));
        }
        let state = self.state();
        info!(self.log, "configuration reloaded"; "generation" => self.current.number, "cause" => cause.as_str(),
            "changed" => changed.join(", "));
        let late: Vec<&str> = changed.iter().copied().filter(|key| self.is_read_at_start(key)).collect();
        if !late.is_empty() {
            warn!(self.log, "these settings take effect after a restart of cri-gc"; "settings" => late.join(", "));
        }
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        let message = format!("generation {} ({}), changed: {what}", self.current.number, cause.as_str());
        self.recorder.record(Event::new(EventKind::Reloaded, None, message).by(by));
        Reloaded { state, changed }
    }

    /// Checks the file, and reads it if it has changed and was the same twice.
    fn check_file(&mut self, ctx: &mut Context<Self>) {
        let Some(path) = self.path() else { return };
        let files = self.reading.files.clone();
        let check = async move { files.run_within(READ_WITHIN, move || Fingerprint::of(&path)).await.ok() };
        ctx.spawn(check.into_actor(self).map(|state, this, ctx| {
            this.checks += 1;
            if state.is_some_and(|state| this.watch.is_due(state)) {
                // Before the result of any other check: each state is read once.
                let reading = this.read().into_actor(this).map(|read, this, _ctx| {
                    // The result is logged.
                    let _ = this.take(Reload { cause: Cause::File, by: None }, read);
                });
                ctx.wait(reading);
            }
        }));
    }
}

impl Actor for ConfigurationActor {
    type Context = Context<Self>;
}

impl Guarded for ConfigurationActor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if let Some(path) = self.path() {
            // Of the file as it is now; a change since the settings were read would show in the first two checks.
            let (files, loaded) = (self.reading.files.clone(), self.current.file.is_some());
            let check = async move { files.run_within(READ_WITHIN, move || Fingerprint::of(&path)).await };
            ctx.spawn(check.into_actor(self).map(move |state, this, _| {
                if loaded {
                    this.watch.read(state.ok().flatten());
                }
            }));
            ctx.run_interval(CHECK_EVERY, Self::check_file);
        }
    }
}

impl Supervised for ConfigurationActor {}

impl Handler<Reload> for ConfigurationActor {
    // One after another, so that generations follow each other and the newest file wins.
    type Result = AtomicResponse<Self, Result<Reloaded, Refused>>;

    fn handle(&mut self, reload: Reload, _ctx: &mut Context<Self>) -> Self::Result {
        let reading = self.read().into_actor(self);
        AtomicResponse::new(Box::pin(reading.map(move |read, this, _ctx| this.take(reload, read))))
    }
}

impl Handler<AskConfiguration> for ConfigurationActor {
    type Result = MessageResult<AskConfiguration>;

    fn handle(&mut self, _ask: AskConfiguration, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.state())
    }
}
