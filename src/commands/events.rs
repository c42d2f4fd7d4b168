//! `cri-gc events`: past and new events of the running service.

use cri_gc_proto::admin::Event;

use super::setup::{in_system, service};
use crate::cli::{self, Global};
use crate::client::{Answers, DEADLINE};
use crate::failure::Failure;
use crate::output::events::line;
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
            let mut events = service.follow(args.recent).await?;
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

async fn print_all(events: &mut Answers<Event>, args: &cli::Events) -> Result<(), Failure> {
    while let Some(event) = events.next().await? {
        if event.kind == NOW {
            if args.follow {
                continue;
            }
            return Ok(());
        }
        if item(args.output, &event, line)? == Reader::Gone {
            return Ok(());
        }
    }
    Err(events.cut_short("it sends no more events").into())
}
