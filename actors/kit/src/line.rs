//! A channel to a thread in which so many may wait at most, and which takes memory for those only that do: a bounded channel of
//! crossbeam has all its places from the start.

use std::fmt;

use crossbeam_channel::{Receiver, Sender, TrySendError, unbounded};

/// The end that sends. It never waits.
pub struct Line<T> {
    sender: Sender<T>,
    most: usize,
}

impl<T> fmt::Debug for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in line", self.sender.len(), self.most)
    }
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), most: self.most }
    }
}

/// A line in which `most` may wait; those who send at the same moment may each send one more.
#[must_use]
pub fn line<T>(most: usize) -> (Line<T>, Receiver<T>) {
    let (sender, receiver) = unbounded();
    (Line { sender, most }, receiver)
}

impl<T> Line<T> {
    /// Sends it.
    ///
    /// # Errors
    /// As many as may wait do so already, or nothing receives any more.
    pub fn try_send(&self, one: T) -> Result<(), TrySendError<T>> {
        if self.is_full() {
            return Err(TrySendError::Full(one));
        }
        self.sender.send(one).map_err(|gone| TrySendError::Disconnected(gone.into_inner()))
    }

    /// Whether as many wait as may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sender.len() >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_may() {
        let (line, receiver) = line(2);
        assert_eq!((line.try_send(1), line.try_send(2)), (Ok(()), Ok(())));
        assert_eq!(line.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!((receiver.recv(), line.try_send(4)), (Ok(1), Ok(())));
        drop(receiver);
        assert_eq!(line.try_send(5), Err(TrySendError::Disconnected(5)));
    }
}
