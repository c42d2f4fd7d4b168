//! Who may call, and what: root, the user that the service runs as, and members of `admin.group` may do all, members of
//! `admin.read_group` may ask. It is decided by the credentials that the kernel gives of a peer (behaviour: Admin socket). The mode of
//! the socket keeps others from connecting at all; this is the second lock.

use cri_gc_config::Settings;
use cri_gc_kit::recorder::Peer;
use tokio::net::unix::UCred;
use tonic::{Request, Status};

/// What a caller may do. The greater one includes the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Ask.
    Read,
    /// Change something: settings, pauses, the log level, or what is removed when.
    Change,
}

/// The calls of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Status,
    Plan,
    Explain,
    Config,
    Follow,
    History,
    RunNow,
    Pause,
    Resume,
    Reload,
    SetLogLevel,
}

impl Method {
    /// The right that a caller needs for it.
    pub fn needs(self) -> Right {
        match self {
            Self::Status | Self::Plan | Self::Explain | Self::Config | Self::Follow | Self::History => {
                Right::Read
            }
            Self::RunNow | Self::Pause | Self::Resume | Self::Reload | Self::SetLogLevel => Right::Change,
        }
    }
}

/// The numbers of the groups whose members may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// `admin.group`: they may do all.
    pub change: Option<u32>,
    /// `admin.read_group`: they may ask.
    pub read: Option<u32>,
}

/// A group that there is not.
#[derive(Debug, thiserror::Error)]
#[error("{key}: there is no group \"{name}\" on this machine; create it, or set another name or number")]
pub struct AccessError {
    key: &'static str,
    name: String,
}

impl Groups {
    /// Those of the settings. It may ask a directory service, and block.
    ///
    /// # Errors
    /// There is no such group.
    pub fn of(settings: &Settings) -> Result<Self, AccessError> {
        let admin = &settings.admin;
        let number = |key, name: &Option<String>| {
            let number = name
                .as_deref()
                .map(|name| group_number(name).ok_or_else(|| AccessError { key, name: name.to_owned() }));
            number.transpose()
        };
        Ok(Self {
            change: number("admin.group", &admin.group)?,
            read: number("admin.read_group", &admin.read_group)?,
        })
    }
}

/// The number of a group that is given by its name or its number.
fn group_number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| uzers::get_group_by_name(name).map(|group| group.gid()))
}

/// Who may call.
pub struct Access {
    own: u32,
    groups: Groups,
}

/// What was decided of a connection; each of its requests has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its process; `None` where its credentials can't be had.
    pub peer: Option<Peer>,
    /// What it may do; `None` is nothing.
    right: Option<Right>,
}

impl Access {
    pub fn new(groups: Groups) -> Self {
        Self { own: rustix::process::geteuid().as_raw(), groups }
    }

    /// Decides of a peer. One whose credentials can't be had is refused.
    pub fn judge(&self, credentials: std::io::Result<UCred>) -> Caller {
        let Ok(peer) = credentials else { return Caller { peer: None, right: None } };
        let (uid, gid) = (peer.uid(), peer.gid());
        let right = if uid == 0 || uid == self.own {
            Some(Right::Change)
        } else if self.groups == Groups::default() {
            None
        } else {
            self.groups.right(gid, &supplementary_groups(peer.pid()))
        };
        Caller { peer: Some(Peer { uid, gid, pid: peer.pid() }), right }
    }
}

impl Groups {
    /// What a process may do that has this group and these supplementary ones.
    fn right(&self, gid: u32, supplementary: &[u32]) -> Option<Right> {
        let has =
            |group: Option<u32>| group.is_some_and(|group| gid == group || supplementary.contains(&group));
        if has(self.change) {
            Some(Right::Change)
        } else if has(self.read) {
            Some(Right::Read)
        } else {
            None
        }
    }
}

/// The supplementary groups of a process, as the kernel reports. Read once, when the connection is accepted: the number of a process
/// that has ended since it connected would have to be given to a member of the group within that moment. SO_PEERGROUPS leaves not
/// even that, but no safe interface to it exists, and this program has no unsafe code.
fn supplementary_groups(pid: Option<i32>) -> Vec<u32> {
    // On the connection's own task; the kernel answers this from memory.
    let status = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    status.map(|status| groups_in(&status)).unwrap_or_default()
}

/// The numbers after `Groups:` of a `/proc/PID/status`.
fn groups_in(status: &str) -> Vec<u32> {
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    groups.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Refuses the requests of those who may do nothing.
pub fn check<T>(request: Request<T>) -> Result<Request<T>, Status> {
    match caller(&request) {
        Some(Caller { right: Some(_), .. }) => Ok(request),
        caller => Err(Status::permission_denied(format!("user {} has no access to it", user(caller)))),
    }
}

/// Refuses a request for which its caller has not the right.
pub fn check_right<T>(request: &Request<T>, method: Method) -> Result<(), Status> {
    let caller = caller(request);
    if caller.and_then(|caller| caller.right) >= Some(method.needs()) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "user {} may only ask (admin.read_group), and {method:?} changes something",
        user(caller)
    )))
}

fn caller<T>(request: &Request<T>) -> Option<Caller> {
    request.extensions().get::<Caller>().copied()
}

fn user(caller: Option<Caller>) -> String {
    caller.and_then(|caller| caller.peer).map_or_else(|| "?".to_owned(), |peer| peer.uid.to_string())
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

    fn caller(uid: u32, right: Option<Right>) -> Option<Caller> {
        Some(Caller { peer: Some(Peer { uid, gid: uid, pid: None }), right })
    }

    #[test]
    fn a_request_without_a_known_peer_is_refused() {
        for right in [Right::Read, Right::Change] {
            assert!(check(request(caller(0, Some(right)))).is_ok());
        }
        for caller in [None, caller(1_000, None), Some(Caller { peer: None, right: None })] {
            assert_eq!(check(request(caller)).unwrap_err().code(), tonic::Code::PermissionDenied);
            for method in [Method::Status, Method::Pause] {
                let refused = check_right(&request(caller), method).unwrap_err();
                assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{method:?}");
            }
        }
    }

    #[test]
    fn who_may_read_may_ask_everything_and_change_nothing() {
        let (reads, changes) =
            (request(caller(7, Some(Right::Read))), request(caller(7, Some(Right::Change))));
        for method in ["Status", "Plan", "Explain", "Config", "Follow", "History"].map(named) {
            assert!(check_right(&reads, method).is_ok(), "{method:?}");
        }
        for method in ["RunNow", "Pause", "Resume", "Reload", "SetLogLevel"].map(named) {
            let refused = check_right(&reads, method).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied);
            let text = format!("user 7 may only ask (admin.read_group), and {method:?} changes something");
            assert_eq!(refused.message(), text);
            assert!(check_right(&changes, method).is_ok(), "{method:?}");
        }
    }

    const ALL: [Method; 11] = [
        Method::Status,
        Method::Plan,
        Method::Explain,
        Method::Config,
        Method::Follow,
        Method::History,
        Method::RunNow,
        Method::Pause,
        Method::Resume,
        Method::Reload,
        Method::SetLogLevel,
    ];

    fn named(name: &str) -> Method {
        ALL.into_iter()
            .find(|method| format!("{method:?}") == name)
            .unwrap_or_else(|| panic!("{name} is not classified: say in Method::needs() who may call it"))
    }

    #[test]
    fn every_call_of_the_api_is_classified() {
        let api = include_str!("../../../../proto/admin/admin.proto");
        let calls = api.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('));
        let calls: Vec<Method> = calls.map(|(name, _)| named(name)).collect();
        assert!(calls.len() == ALL.len() && ALL.iter().all(|method| calls.contains(method)), "{calls:?}");
    }

    #[test]
    fn the_groups_of_a_process_are_read_whole() {
        let status = "Name:\tx\nGid:\t7\t7\t7\t7\nGroups:\t4 24 1000 \nVmPeak:\t7 kB\n";
        assert_eq!(groups_in(status), [4, 24, 1000]);
        assert_eq!(groups_in(""), [0u32; 0]);
    }

    #[test]
    fn a_right_comes_from_any_group_of_a_process_and_the_greater_one_counts() {
        let groups = Groups { change: Some(10), read: Some(20) };
        for (gid, supplementary, right) in [
            (10, [1, 2], Some(Right::Change)),
            (1, [2, 10], Some(Right::Change)),
            (20, [1, 2], Some(Right::Read)),
            (1, [20, 2], Some(Right::Read)),
            (20, [10, 1], Some(Right::Change)),
            (1, [2, 3], None),
        ] {
            assert_eq!(groups.right(gid, &supplementary), right, "{gid} {supplementary:?}");
        }
        assert_eq!(Groups { read: None, ..groups }.right(20, &[]), None);
        assert_eq!(Groups { change: None, ..groups }.right(10, &[20]), Some(Right::Read));
    }

    #[test]
    fn a_group_is_named_or_numbered() {
        let groups = |group: &str, read_group: &str| {
            let mut settings = Settings::default();
            let set = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            (settings.admin.group, settings.admin.read_group) = (set(group), set(read_group));
            Groups::of(&settings)
        };
        assert_eq!(groups("4711", "root").unwrap(), Groups { change: Some(4711), read: Some(0) });
        assert_eq!(groups("", "").unwrap(), Groups::default());
        for (group, read_group, key) in
            [("no-such-group-here", "", "admin.group:"), ("", "no-such-group-here", "admin.read_group:")]
        {
            let error = groups(group, read_group).unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains("no-such-group-here"), "{error}");
        }
    }
}
