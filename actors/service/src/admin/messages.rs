//! What the admin actor is asked: its whole protocol.

use std::rc::Rc;

use actix::Message;

use super::desk::Desk;

/// Begin this at the desk. It does not wait: what takes time is spawned.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin(pub Box<dyn FnOnce(Rc<Desk>) + Send>);
