//! Bytes and inodes, which are counted together everywhere.

use std::iter::Sum;
use std::ops::{Add, Sub};

/// An amount of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Add for Space {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, inodes: self.inodes.saturating_add(other.inodes) }
    }
}

impl Sub for Space {
    type Output = Self;

    /// Nothing is less than 0.
    fn sub(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, inodes: self.inodes.saturating_sub(other.inodes) }
    }
}

impl Sum for Space {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
