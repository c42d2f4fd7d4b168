//! The actor: the desk on a thread of its own, where each call is answered by a task of its own, so that none waits for another.

use std::rc::Rc;

use actix::{Actor, Context, Handler, Supervised};
use cri_gc_kit::supervision::guard::Guarded;

use super::desk::Desk;
use super::messages::Begin;

/// The admin actor.
pub struct AdminActor {
    pub desk: Rc<Desk>,
}

impl Actor for AdminActor {
    type Context = Context<Self>;
}

impl Supervised for AdminActor {}

impl Guarded for AdminActor {}

impl Handler<Begin> for AdminActor {
    type Result = ();

    fn handle(&mut self, Begin(call): Begin, _ctx: &mut Context<Self>) {
        call(Rc::clone(&self.desk));
    }
}
