//! The protocol of the keeper: all that it is sent, and what it answers.

use std::time::Duration;

use actix::Message;
use cri_gc_kit::seams::Moment;
use cri_gc_policy::Image;
use jiff::Timestamp;

/// What happened to images. It is not answered.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum Note {
    /// These references were seen in use, each last at that time.
    Used { uses: Vec<(String, Timestamp)>, seen_at: Moment },
    /// The images of this id were removed, or may have been.
    Removed { id: String },
    /// The runtime has refused to remove the images of this id, because something else uses them.
    Refused { id: String, first: Duration, longest: Duration, at: Moment },
}

/// These are all images. Answered with what is remembered of them, once that is on the disk or the disk had its time.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Image>")]
pub struct Remember {
    pub images: Vec<Image>,
    pub seen_at: Moment,
}

/// A question: these are all images, and these references were seen in use. It changes nothing and waits for no disk.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Recalled")]
pub struct Recall {
    pub images: Vec<Image>,
    pub uses: Vec<(String, Timestamp)>,
    pub seen_at: Moment,
}

/// The answer to a question.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// All images with what is remembered of them. One that is not known counts as first seen now.
    pub images: Vec<Image>,
    /// Why that may not be all, or would not survive a restart.
    pub problem: Option<String>,
}

/// Answered once all that was sent before is on the disk, or the disk had its time.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Flush;

/// The uses of images that were reported since the last complete list, later than that.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct AskUsed {
    pub since: Option<Timestamp>,
}

/// What the ages of the images rest on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Ages")]
pub struct AskAges;

/// What the ages of the images rest on.
#[derive(Debug, Clone)]
pub struct Ages {
    /// Nothing was remembered from before this process, so that every image counts as first seen by it.
    pub are_new: bool,
    /// Why the store can't be used; `None` if it can, or there is none.
    pub problem: Option<String>,
    /// Why they end with this process; `None` if they are kept, or are not meant to be.
    pub lost: Option<String>,
}
