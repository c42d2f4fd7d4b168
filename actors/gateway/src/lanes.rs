//! The bounds on what is in flight at a runtime.

use std::time::Duration;

use cri_gc_config::Settings;

/// Questions in flight at a time, over all collectors. A runtime answers them from memory; more only queue up there.
const READS: usize = 32;

/// What an RPC counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

impl Limits {
    /// How many RPCs of a lane may be in flight.
    pub fn places(&self, lane: Lane) -> usize {
        let places = match lane {
            Lane::Read => READS,
            Lane::Containers => self.container_removals,
            Lane::Sandboxes => self.sandbox_removals,
            Lane::Images => self.image_removals,
        };
        places.max(1)
    }
}
