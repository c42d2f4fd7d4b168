//! Faults of a node, made to order: a runtime that dies, networks that can't be torn down, lost processes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Containerd;
use crate::poll::until;
use crate::skip::CNI_PLUGINS;

const STOP_DEADLINE: Duration = Duration::from_secs(20);

impl Containerd {
    /// Kills containerd (SIGKILL). Its containers run on. Nothing happens if it does not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().expect("a child can be waited for");
        }
    }

    /// Ends containerd in good order (SIGTERM). Its containers run on. Nothing happens if it does not run.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::TERM).expect("a child can be sent a signal");
            until(STOP_DEADLINE, "containerd ends on SIGTERM", || child.try_wait().ok().flatten());
        }
    }

    /// Makes containerd hang (SIGSTOP): it answers no request. Nothing happens if it does not run.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Undoes [`hang`](Self::hang).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).expect("a child can be sent a signal");
        }
    }

    /// Ends containerd if it runs, starts it again on the same folder, and waits until it answers.
    ///
    /// # Panics
    /// If it does not start again.
    pub fn restart(&mut self) {
        self.stop();
        self.launch().unwrap_or_else(|why| panic!("containerd does not start again: {why}"));
    }

    /// Makes the teardown of pod networks fail from now on: StopPodSandbox and RemovePodSandbox fail.
    pub fn break_cni(&self) {
        self.replace_ptp("#!/bin/sh\necho '{\"code\": 999, \"msg\": \"broken by the test\"}'\nexit 1\n");
    }

    /// Undoes [`break_cni`](Self::break_cni).
    pub fn mend_cni(&self) {
        self.replace_ptp(&format!("#!/bin/sh\nexec {CNI_PLUGINS}/ptp\n"));
    }

    fn replace_ptp(&self, script: &str) {
        let (plugin, fresh) = (self.dir().join("cni-bin/ptp"), self.dir().join("cni-bin/ptp.new"));
        fs::write(&fresh, script).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(fresh, plugin).unwrap();
    }

    /// The process that a container or sandbox was started with, while containerd knows of it.
    #[must_use]
    pub fn init_pid(&self, id: &str) -> Option<i32> {
        let bundle = self.dir().join("state/io.containerd.runtime.v2.task/k8s.io").join(id);
        fs::read_to_string(bundle.join("init.pid")).ok()?.trim().parse().ok()
    }

    /// Ends containerd, spoils what it noted of a container, and starts it again: the container is UNKNOWN now.
    ///
    /// # Panics
    /// If there is no such container.
    pub fn lose_status(&mut self, id: &str) {
        self.stop();
        let status = self.root().join("io.containerd.grpc.v1.cri/containers").join(id).join("status");
        assert!(status.is_file(), "no {}", status.display());
        fs::write(status, "spoilt by the test").expect("a file of root's own");
        self.restart();
    }

    /// Kills the first process of a container or sandbox without the runtime (SIGKILL).
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill_init(&self, id: &str) {
        let pid = self.init_pid(id).and_then(Pid::from_raw).unwrap_or_else(|| panic!("{id} does not run"));
        kill_process(pid, Signal::KILL).unwrap_or_else(|error| panic!("killing {id}: {error}"));
    }
}
