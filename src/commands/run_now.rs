//! `cri-gc run-now`: runs passes in the running service now, and shows their progress.

use std::time::Duration;

use cri_gc_proto::admin::pass_update::What;
use cri_gc_proto::admin::{Pass, PassUpdate, Removal, RunNowRequest};

use super::setup::{in_system, loops, service};
use crate::cli::{self, Form, Global};
use crate::client::{Answers, ClientError};
use crate::failure::Failure;
use crate::output::ages::span;
use crate::output::fit::Fit;
use crate::output::progress::Bar;
use crate::output::text::Text;
use crate::output::{self, Reader, item, print, remark};

/// Time without an update after which a note says so, and again after twice that.
const SILENCE: Duration = Duration::from_secs(10);

/// Requests the passes, shows their progress and prints the result.
///
/// # Errors
/// No service answers, it refuses, or the connection ends before the passes do. What was received by then is printed.
pub fn run(global: &Global, args: &cli::RunNow) -> Result<(), Failure> {
    let form = Form::from(args.output);
    let mut watch = Watch { named: loops(&args.loops), ..Watch::default() };
    let watched = in_system(async {
        let service = service(global, &args.service).await?;
        let watched = async {
            let request = RunNowRequest { loops: watch.named.clone(), confirm_deleted: args.confirm_deleted };
            let mut updates = service.stream(async |admin| admin.run_now(request).await).await?;
            watch.all(&mut updates, form).await
        };
        service.within(args.service.timeout, watched).await
    });
    if form == Form::Table {
        watch.messages.iter().for_each(|message| remark(message));
    }
    if form == Form::Table && watch.has_seen_something() {
        print(output::passes::text(&watch.removals, &watch.passes, Fit::of(args.output)))?;
    }
    watched?;
    let good = watch.passes.iter().all(|pass| pass.failed == 0 && pass.errors.is_empty());
    Failure::partly_unless(good)
}

/// What was received so far.
#[derive(Default)]
struct Watch {
    named: Vec<String>,
    begun: Vec<String>,
    removals: Vec<Removal>,
    passes: Vec<Pass>,
    messages: Vec<String>,
}

impl Watch {
    /// Receives updates until the last, or until the reader of stdout is gone.
    async fn all(&mut self, updates: &mut Answers<PassUpdate>, form: Form) -> Result<(), Failure> {
        let mut bar = Bar::default();
        while let Some(update) = self.next(updates, &bar).await? {
            if form != Form::Table && item(form, &update, |_| Text::default())? == Reader::Gone {
                return Ok(());
            }
            self.take(update, &mut bar);
        }
        match self.missing() {
            Some(of) => Err(cut_short(updates, &of).into()),
            None => Ok(()),
        }
    }

    /// The next update. While none arrives, a note says so from time to time.
    async fn next(
        &self,
        updates: &mut Answers<PassUpdate>,
        bar: &Bar,
    ) -> Result<Option<PassUpdate>, ClientError> {
        let mut next = std::pin::pin!(updates.next());
        let (mut silence, mut waited) = (SILENCE, Duration::ZERO);
        loop {
            if let Ok(update) = tokio::time::timeout(silence, &mut next).await {
                return update;
            }
            waited += silence;
            silence *= 2;
            bar.end();
            output::note(&format!(
                "no update for {}; `cri-gc status` shows whether the runtime answers",
                span(waited)
            ));
        }
    }

    fn take(&mut self, update: PassUpdate, bar: &mut Bar) {
        match update.what {
            Some(What::Planned(count)) => {
                bar.planned(&update.r#loop, count);
                self.begun.push(update.r#loop);
            }
            Some(What::Removal(removal)) => {
                bar.ended(&removal.result);
                self.removals.push(removal);
            }
            Some(What::Ended(pass)) => self.passes.push(pass),
            Some(What::Told(message)) => self.messages.push(message),
            // A newer service sends more than this program knows.
            None => {}
        }
    }

    fn has_seen_something(&self) -> bool {
        !self.removals.is_empty() || !self.passes.is_empty()
    }

    /// A loop whose pass has not ended, although it was requested or began.
    fn missing(&self) -> Option<String> {
        let ended = |of: &String| self.passes.iter().any(|pass| pass.r#loop == *of);
        let missing = self.named.iter().chain(&self.begun).find(|of| !ended(of)).cloned();
        // Only the service knows which loops there are; none at all is too few.
        missing.or_else(|| self.passes.is_empty().then(|| "any loop".to_owned()))
    }
}

fn cut_short(updates: &Answers<PassUpdate>, of: &str) -> ClientError {
    updates.cut_short(&format!("the pass of {of} has not ended"))
}
