//! An event as the admin API answers it, and as the history keeps it: one form for both.

use cri_gc_kit::recorder::{Object, Stamped};
use cri_gc_kit::words::Loop;
use cri_gc_proto::admin as api;

/// An event in that form.
pub fn event(stamped: &Stamped) -> api::Event {
    let event = &stamped.event;
    let object = event.object.as_deref();
    let text = |of: fn(&Object) -> &str| object.map(of).unwrap_or_default().to_owned();
    api::Event {
        sequence: stamped.sequence,
        time: stamped.time.to_string(),
        r#loop: event.of.map(Loop::as_str).unwrap_or_default().to_owned(),
        kind: event.kind.as_str().to_owned(),
        object_kind: text(|object| object.kind.as_str()),
        object_id: text(|object| &object.id),
        object_name: text(|object| &object.name),
        reason: text(|object| &object.reason),
        bytes: event.bytes,
        count: event.count,
        message: event.message.clone(),
        pod_uid: text(|object| &object.pod_uid),
        trigger: event.pass.map(|pass| pass.trigger).unwrap_or_default().to_owned(),
        pass_started_at: event.pass.map(|pass| pass.began.to_string()).unwrap_or_default(),
        requested_by: event.by.map(|by| api::Peer {
            uid: by.uid,
            gid: by.gid,
            pid: by.pid.unwrap_or_default(),
        }),
    }
}
