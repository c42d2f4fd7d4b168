//! `cri-gc events` and `cri-gc history`: past and new events of the running service.

use cri_gc_kit::seams::Clock;
use cri_gc_proto::admin::{Event, EventFilter, FollowRequest, HistoryRequest};

use super::setup::{in_system, loops, service};
use crate::cli::values::When;
use crate::cli::{self, Global};
use crate::client::{Answers, ClientError, DEADLINE, Trouble};
use crate::failure::Failure;
use crate::output::events::line;
use crate::output::fit::Fit;
use crate::output::{Reader, item, reader_gone};

/// The kind of the event that separates past and new ones. It is not shown.
const NOW: &str = "Now";

/// Prints events, until the end of the past ones or, with `--follow`, until it is ended.
///
/// # Errors
/// No service answers, or the connection ends.
pub fn run(global: &Global, args: &cli::Events) -> Result<(), Failure> {
    in_system(async {
        let service = service(global, &args.service).await?;
        let printed = async {
            let request = FollowRequest { recent: args.recent, filter: filter(&args.filter) };
            let mut events = service.follow(request).await.map_err(unknown_word)?;
            tokio::select! {
                // Else `cri-gc events -f | head -1` would wait for one more event.
                () = reader_gone() => Ok(()),
                printed = print_all(&mut events, args) => printed,
            }
        };
        let limit = args.service.timeout.or((!args.follow).then_some(DEADLINE));
        service.within(limit, printed).await
    })?;
    Ok(())
}

/// Prints past events from the history.
///
/// # Errors
/// No service answers, it has no history, or the filter contains a word that there is not.
pub fn history(global: &Global, args: &cli::History) -> Result<(), Failure> {
    let mut past = Vec::new();
    let asked = in_system(async {
        let service = service(global, &args.service).await?;
        let read = async {
            let request = HistoryRequest { filter: filter(&args.filter), limit: args.limit };
            let asked = service.stream(async |admin| admin.history(request).await).await;
            let mut events = asked.map_err(unknown_word)?;
            while let Some(event) = events.next().await? {
                past.push(event);
            }
            Ok(())
        };
        service.within(Some(service.deadline), read).await
    });
    // Only then: a reader of stdout that pauses (`| less`) must not keep the service waiting.
    let fit = Fit::of_stdout();
    for event in &past {
        if item(args.output, event, |event| line(event, fit))? == Reader::Gone {
            break;
        }
    }
    asked
}

fn filter(args: &cli::EventFilter) -> Option<EventFilter> {
    let now = Clock::system().now();
    let time = |when: Option<When>| when.map(|when| when.time(now).to_string()).unwrap_or_default();
    Some(EventFilter {
        since: time(args.since),
        until: time(args.until),
        loops: loops(&args.loops),
        kinds: args.kinds.clone(),
        object: args.object.clone().unwrap_or_default(),
        reasons: args.reasons.clone(),
    })
}

/// The service does not know a word of the filter: it names those that it knows.
fn unknown_word(error: ClientError) -> Failure {
    match error.trouble {
        Trouble::Invalid => Failure::usage(error.message),
        _ => error.into(),
    }
}

async fn print_all(events: &mut Answers<Event>, args: &cli::Events) -> Result<(), Failure> {
    let fit = Fit::of_stdout();
    while let Some(event) = events.next().await? {
        if event.kind == NOW {
            if args.follow {
                continue;
            }
            return Ok(());
        }
        if item(args.output, &event, |event| line(event, fit))? == Reader::Gone {
            return Ok(());
        }
    }
    Err(events.cut_short("it sends no more events").into())
}
