//! Who may call: root, the user that the service runs as, and members of `admin.group`, by the credentials that the kernel
//! gives of a peer (behaviour: Admin socket). The mode of the socket keeps others from connecting at all; this is the second lock.

use cri_gc_kit::recorder::Peer;
use tokio::net::unix::UCred;
use tonic::{Request, Status};

/// Who may call.
pub struct Access {
    own: u32,
    group: Option<u32>,
}

/// What was decided of a connection; each of its requests has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its process; `None` where its credentials can't be had.
    pub peer: Option<Peer>,
    allowed: bool,
}

/// A group that there is not.
#[derive(Debug, thiserror::Error)]
#[error("admin.group: there is no group \"{0}\" on this machine; create it, or set another name or number")]
pub struct AccessError(String);

/// The number of a group that is given by its name or its number. It may ask a directory service, and block.
///
/// # Errors
/// There is no such group.
pub fn group_number(name: &str) -> Result<u32, AccessError> {
    let number = name.parse().ok();
    let number = number.or_else(|| uzers::get_group_by_name(name).map(|group| group.gid()));
    number.ok_or_else(|| AccessError(name.to_owned()))
}

impl Access {
    pub fn new(group: Option<u32>) -> Self {
        Self { own: rustix::process::geteuid().as_raw(), group }
    }

    /// Decides of a peer. One whose credentials can't be had is refused.
    pub fn judge(&self, credentials: std::io::Result<UCred>) -> Caller {
        let Ok(peer) = credentials else { return Caller { peer: None, allowed: false } };
        let uid = peer.uid();
        let allowed = match self.group {
            _ if uid == 0 || uid == self.own => true,
            None => false,
            Some(group) if peer.gid() == group => true,
            Some(group) => peer.pid().is_some_and(|pid| Self::is_member(pid, group)),
        };
        Caller { peer: Some(Peer { uid, gid: peer.gid(), pid: peer.pid() }), allowed }
    }

    /// Whether that process has the group among its supplementary ones, as the kernel reports. Read once, when the connection is
    /// accepted: the number of a process that has ended since it connected would have to be given to a member of the group
    /// within that moment. SO_PEERGROUPS leaves not even that, but no safe interface to it exists, and this program has no
    /// unsafe code.
    fn is_member(pid: i32, group: u32) -> bool {
        // On the connection's own task; the kernel answers this from memory.
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| in_groups(&status, group))
    }
}

/// Whether the `Groups:` of a `/proc/PID/status` hold that number.
fn in_groups(status: &str, group: u32) -> bool {
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    groups.is_some_and(|groups| groups.split_whitespace().any(|number| number.parse() == Ok(group)))
}

/// Refuses the requests of those who may not call.
pub fn check<T>(request: Request<T>) -> Result<Request<T>, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller { allowed: true, .. }) => Ok(request),
        caller => Err(Status::permission_denied(format!(
            "user {} has no access to it",
            caller.and_then(|caller| caller.peer).map_or_else(|| "?".to_owned(), |peer| peer.uid.to_string())
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(caller: Option<Caller>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        request
    }

    fn caller(uid: u32, allowed: bool) -> Option<Caller> {
        Some(Caller { peer: Some(Peer { uid, gid: uid, pid: None }), allowed })
    }

    #[test]
    fn a_request_without_a_known_peer_is_refused() {
        assert!(check(request(caller(0, true))).is_ok());
        for caller in [None, caller(1_000, false), Some(Caller { peer: None, allowed: false })] {
            assert_eq!(check(request(caller)).unwrap_err().code(), tonic::Code::PermissionDenied);
        }
    }

    #[test]
    fn the_groups_of_a_process_are_read_whole() {
        let status = "Name:\tx\nGid:\t7\t7\t7\t7\nGroups:\t4 24 1000 \nVmPeak:\t7 kB\n";
        assert!(in_groups(status, 24) && in_groups(status, 1000));
        assert!(!in_groups(status, 7) && !in_groups(status, 100) && !in_groups("", 0));
    }

    #[test]
    fn a_group_is_named_or_numbered() {
        assert_eq!(group_number("4711").unwrap(), 4711);
        assert_eq!(group_number("root").unwrap(), 0);
        assert!(group_number("no-such-group-here").unwrap_err().to_string().contains("no-such-group-here"));
    }
}
