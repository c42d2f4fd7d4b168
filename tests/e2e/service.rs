//! The collectors in this process, for what the binary cannot show: time that passes between two sweeps, and the disk of
//! the embedded runtime. They are wired as the program wires them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use cri_gc::commands::sweep::sweep;
use cri_gc::wiring::{Crew, Seams};
use cri_gc_collectors::observe;
use cri_gc_collectors::report::PassReport;
use cri_gc_config::{FileSource, Sources, load};
use cri_gc_images::Home;
use slog::{Discard, Logger, o};

use crate::program::Ended;

/// Collectors on a thread of their own.
pub struct Service {
    // Dropped before the thread is waited for.
    ask: Option<Sender<Sender<Ended>>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts them, and has them observe the images once, as a service does before anything else.
    pub fn start(overrides: Vec<(String, String)>, seams: Seams) -> Self {
        let sources = Sources { file: FileSource::None, env: Vec::new(), overrides };
        let settings = Arc::new(load(&sources).unwrap().settings);
        let (ask, asked) = channel();
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async {
                let crew =
                    Crew::start(settings, seams, Home::Memory, false, Logger::root(Discard, o!())).unwrap();
                observe::remember_pods(&crew.tools, &crew.settings).await.unwrap();
                sender.send(observe::remember_images(&crew.tools).await.map(drop)).unwrap();
                serve(&crew, &asked).await;
                crew.stop();
            });
        });
        receiver.recv().unwrap().unwrap();
        Self { ask: Some(ask), thread: Some(thread) }
    }

    /// One pass of each loop.
    pub fn sweep(&self) -> Ended {
        let (reply, answer) = channel();
        self.ask.as_ref().unwrap().send(reply).unwrap();
        answer.recv().unwrap()
    }
}

async fn serve(crew: &Crew, asked: &Receiver<Sender<Ended>>) {
    // Nothing else runs on this thread: it may wait.
    while let Ok(reply) = asked.recv() {
        let (reports, problem) = sweep(crew).await.unwrap();
        let good = problem.is_none() && reports.iter().all(PassReport::is_good);
        let stdout = serde_json::to_string(&reports).unwrap();
        let ended = Ended { code: if good { 0 } else { 3 }, stdout, stderr: problem.unwrap_or_default() };
        let _ = reply.send(ended);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
