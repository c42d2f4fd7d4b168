//! `cri-gc status --watch`: the status of the running service, again and again. A service that is unreachable is shown as such, and
//! waited for: it may be restarting.

use std::pin::pin;
use std::time::Duration;

use cri_gc_proto::admin::StatusResponse;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::setup::{in_system, service};
use crate::cli::{Form, Global, Service, Status, TableForm};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::ages::span;
use crate::output::fit::Fit;
use crate::output::table::labelled;
use crate::output::terminal::Terminal;
use crate::output::text::Text;
use crate::output::{Reader, error, item, reader_gone, status};
use crate::signals::StopSignals;

/// How long an answer is waited for, unless `--timeout` says otherwise: the view is not to be old.
const DEADLINE: Duration = Duration::from_secs(5);

/// Shows the status until a key or a signal ends it, or the output is closed.
///
/// # Errors
/// The service refuses, the socket can't be found, or the output can't be written.
pub fn run(global: &Global, args: &Status) -> Result<(), Failure> {
    in_system(async {
        let mut stop = StopSignals::listen_on_terminal()?;
        let mut gone = pin!(reader_gone());
        let mut ticks = interval(args.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = Watched::new(global, args);
        let mut view = View::open(args)?;
        loop {
            let asked = async {
                ticks.tick().await;
                watched.ask().await
            };
            let answer = tokio::select! {
                _ = stop.recv() => return Ok(()),
                () = view.quit() => return Ok(()),
                () = &mut gone => return Ok(()),
                answer = asked => answer?,
            };
            if view.show(answer)? == Reader::Gone {
                return Ok(());
            }
        }
    })
}

/// The service, as far as it answers.
struct Watched<'a> {
    global: &'a Global,
    service: Service,
    client: Option<Client>,
    /// When it last answered.
    answered: Option<Instant>,
    /// Since when it has not.
    silent: Option<Instant>,
}

/// What the service answered; or why it did not, and for how long it has not.
enum Answer {
    Status(Box<StatusResponse>),
    Silence { why: String, lasts: Duration },
}

impl<'a> Watched<'a> {
    fn new(global: &'a Global, args: &Status) -> Self {
        let Service { socket, timeout } = &args.service;
        let service = Service { socket: socket.clone(), timeout: timeout.or(Some(DEADLINE)) };
        Self { global, service, client: None, answered: None, silent: None }
    }

    /// Asks once.
    ///
    /// # Errors
    /// The service refuses from the start: waiting does not help.
    async fn ask(&mut self) -> Result<Answer, Failure> {
        match self.try_ask().await {
            Ok(status) => {
                (self.answered, self.silent) = (Some(Instant::now()), None);
                Ok(Answer::Status(Box::new(status)))
            }
            Err(failure) if self.answered.is_some() || failure.is_unreachable() => {
                self.client = None;
                let since = *self.silent.get_or_insert_with(Instant::now);
                Ok(Answer::Silence { why: failure.message, lasts: since.elapsed() })
            }
            Err(failure) => Err(failure),
        }
    }

    async fn try_ask(&mut self) -> Result<StatusResponse, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => service(self.global, &self.service).await?,
        };
        Ok(self.client.insert(client).status().await?)
    }
}

/// Where it is shown.
enum View {
    Screen(Terminal<Quit>, TableForm),
    Data(Form),
}

/// The only key.
struct Quit;

impl View {
    fn open(args: &Status) -> Result<Self, Failure> {
        Ok(match args.output.output.into() {
            Form::Table => {
                let parse = |byte: u8| byte.eq_ignore_ascii_case(&b'q').then_some(Quit);
                Self::Screen(Terminal::open(parse)?, args.output.output)
            }
            form => Self::Data(form),
        })
    }

    async fn quit(&mut self) {
        match self {
            Self::Screen(terminal, _) => {
                let Quit = terminal.next_key().await;
            }
            Self::Data(_) => std::future::pending().await,
        }
    }

    fn show(&mut self, answer: Answer) -> Result<Reader, Failure> {
        match (self, answer) {
            (Self::Screen(terminal, form), answer) => {
                let fit = Fit::of(*form);
                let text = match answer {
                    Answer::Status(answer) => status::screen(&answer, fit),
                    Answer::Silence { why, lasts } => silence(&why, lasts, fit),
                };
                terminal.draw(&text)
            }
            (Self::Data(form), Answer::Status(answer)) => item(*form, &*answer, |_| Text::default()),
            (Self::Data(_), Answer::Silence { why, .. }) => {
                error(&why);
                Ok(Reader::Reads)
            }
        }
    }
}

/// That the service does not answer, and why.
fn silence(why: &str, lasts: Duration, fit: Fit) -> Text {
    let mut lines = vec![Text::bad("UNREACHABLE") + format!(" for {}", span(lasts))];
    lines.extend(why.lines().map(|line| line.trim_start().into()));
    labelled("service", &lines, fit)
}
