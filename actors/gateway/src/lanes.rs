//! The bounds on what is in flight at a runtime.

use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Settings;
use tokio::sync::Semaphore;

/// Questions in flight at a time, over all collectors. A runtime answers them from memory; more only queue up there.
const READS: usize = 32;

/// What an RPC counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Questions.
    Read,
    /// Stops and removals of containers.
    Containers,
    /// Stops and removals of sandboxes.
    Sandboxes,
    /// Removals of images.
    Images,
}

/// What bounds the RPCs. New settings bring new limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time that an RPC may take; stopping a container adds the time that the container is given.
    pub request_timeout: Duration,
    /// The largest answer that is accepted, in bytes.
    pub max_message_size: usize,
    /// Removals of containers in flight (their stops included).
    pub container_removals: usize,
    /// Removals of sandboxes in flight (their stops included).
    pub sandbox_removals: usize,
    /// Removals of images in flight.
    pub image_removals: usize,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self {
            request_timeout: settings.runtime.request_timeout,
            max_message_size: usize::try_from(settings.runtime.max_message_size).unwrap_or(usize::MAX),
            container_removals: settings.container_gc.parallel_removals.into(),
            sandbox_removals: settings.sandbox_gc.parallel_removals.into(),
            image_removals: settings.image_gc.parallel_removals.into(),
        }
    }
}

/// The places of each lane.
pub struct Lanes {
    reads: Arc<Semaphore>,
    containers: Arc<Semaphore>,
    sandboxes: Arc<Semaphore>,
    images: Arc<Semaphore>,
}

impl Lanes {
    pub fn new(limits: &Limits) -> Self {
        let lane = |size: usize| Arc::new(Semaphore::new(size.max(1)));
        Self {
            reads: lane(READS),
            containers: lane(limits.container_removals),
            sandboxes: lane(limits.sandbox_removals),
            images: lane(limits.image_removals),
        }
    }

    pub fn get(&self, lane: Lane) -> Arc<Semaphore> {
        Arc::clone(match lane {
            Lane::Read => &self.reads,
            Lane::Containers => &self.containers,
            Lane::Sandboxes => &self.sandboxes,
            Lane::Images => &self.images,
        })
    }
}
