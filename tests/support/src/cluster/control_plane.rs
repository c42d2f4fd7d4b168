//! etcd, the API server and the controllers of jobs, and kubectl as the one who uses them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::KeyPair;
use serde_json::Value;

use super::programs::Programs;
use super::tokens;
use crate::containerd::{Containerd, Entry, Kubelet};
use crate::kubernetes::certificates::Certificates;
use crate::poll::until_every;

/// How long an API server may take to be ready, next to others on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a request is repeated that has to succeed.
const PATIENCE_OF_A_REQUEST: Duration = Duration::from_secs(60);

/// A node has no loopback address (the kubelet refuses it): an address of the loopback interface that is for tests of network devices.
pub const NODE_ADDRESS: &str = "198.19.0.1";

const SERVER: &str = "https://127.0.0.1:6443";
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
const ADMIN_TOKEN: &str = "token-of-the-administrator";

/// A control plane on one machine. Dropping it ends its processes.
#[derive(Debug)]
pub struct ControlPlane {
    etcd: Child,
    api_server: Option<Child>,
    controllers: Option<Child>,
    start_api_server: Command,
    entry: Entry,
    programs: Programs,
    account_key: KeyPair,
    folder: PathBuf,
}

impl ControlPlane {
    /// Starts one in the namespaces of that containerd, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready, with the end of its logs.
    #[must_use]
    pub fn start(containerd: &Containerd, programs: &Programs) -> Self {
        let folder = containerd.dir().join("control-plane");
        fs::create_dir_all(&folder).unwrap();
        let entry = containerd.namespaces().entry();
        let inside = |program: &str| entry.command(programs.path(program));
        let file = |name: &str| folder.join(name).display().to_string();
        let address = ["ip", "addr", "add", &format!("{NODE_ADDRESS}/32"), "dev", "lo"];
        assert!(inside("busybox").args(address).status().unwrap().success(), "an address of the node");

        let certificates = Certificates::new();
        let account_key = KeyPair::generate().unwrap();
        for (name, text) in [
            ("ca.crt", certificates.ca_pem),
            ("server.crt", certificates.server_cert_pem),
            ("server.key", certificates.server_key_pem),
            ("account.key", account_key.serialize_pem()),
            ("account.pub", account_key.public_key_pem()),
            ("admin.token", ADMIN_TOKEN.to_owned()),
            ("tokens", format!("{ADMIN_TOKEN},admin,admin,system:masters\n")),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        write_kubeconfig(&folder.join("admin.kubeconfig"), &folder, &folder.join("admin.token"));

        let mut etcd = inside("etcd");
        etcd.args([
            "--data-dir",
            &file("etcd"),
            "--listen-client-urls",
            ETCD,
            "--advertise-client-urls",
            ETCD,
        ]);
        etcd.args(["--listen-peer-urls", ETCD_PEERS, "--initial-advertise-peer-urls", ETCD_PEERS]);
        etcd.args(["--initial-cluster", &format!("default={ETCD_PEERS}")]);
        let etcd = spawn(&mut etcd, &folder.join("etcd.log"));

        let mut api_server = inside("kube-apiserver");
        api_server.args([
            &format!("--etcd-servers={ETCD}"),
            "--bind-address=127.0.0.1",
            &format!("--advertise-address={NODE_ADDRESS}"),
            "--secure-port=6443",
            "--insecure-port=0",
            &format!("--cert-dir={}", file("certificates")),
            &format!("--tls-cert-file={}", file("server.crt")),
            &format!("--tls-private-key-file={}", file("server.key")),
            &format!("--service-account-key-file={}", file("account.pub")),
            &format!("--service-account-signing-key-file={}", file("account.key")),
            &format!("--service-account-issuer={}", tokens::ISSUER),
            "--service-cluster-ip-range=10.96.0.0/24",
            &format!("--token-auth-file={}", file("tokens")),
            "--authorization-mode=RBAC",
            "--kubelet-preferred-address-types=InternalIP",
            // Its pods have no service accounts, and its nodes no controller that removes taints.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        ]);

        let mut plane = Self {
            etcd,
            api_server: None,
            controllers: None,
            start_api_server: api_server,
            entry,
            programs: programs.clone(),
            account_key,
            folder: folder.clone(),
        };
        plane.start_api_server();

        let mut controllers = plane.inside("kube-controller-manager");
        controllers.args([
            &format!("--kubeconfig={}", file("admin.kubeconfig")),
            "--controllers=job",
            "--leader-elect=false",
            "--port=0",
            "--bind-address=127.0.0.1",
            &format!("--cert-dir={}", file("certificates")),
        ]);
        plane.controllers = Some(spawn(&mut controllers, &folder.join("controllers.log")));
        plane
    }

    fn inside(&self, program: &str) -> Command {
        self.entry.command(self.programs.path(program))
    }

    /// Starts the API server, if it does not run, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready, with the end of its log.
    pub fn start_api_server(&mut self) {
        let log = self.folder.join("api-server.log");
        self.api_server.get_or_insert_with(|| spawn(&mut self.start_api_server, &log));
        let mut answer = Err(String::new());
        let ready = crate::poll::try_until(PATIENCE, || {
            if self.api_server.as_mut().and_then(|server| server.try_wait().ok().flatten()).is_some() {
                // etcd may not have listened yet.
                self.api_server = Some(spawn(&mut self.start_api_server, &log));
            }
            // What it makes by itself at its first start is there, too.
            let parts = [&["get", "--raw", "/readyz"][..], &["get", "namespace", "default", "kube-system"]];
            answer = parts.iter().try_for_each(|part| self.kubectl(part, "").map(drop));
            answer.is_ok().then_some(())
        });
        assert!(ready.is_some(), "the API server is not ready: {answer:?}; {}", tail(&log));
    }

    /// Kills the API server (SIGKILL).
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill_api_server(&mut self) {
        let mut server = self.api_server.take().expect("it runs");
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Forgets the versions of all objects but the newest, as etcd is made to do every 5 minutes.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn compact(&self) {
        let ask = |arguments: &[&str]| {
            let mut command = self.inside("etcdctl");
            command.env("ETCDCTL_API", "3").arg(format!("--endpoints={ETCD}"));
            let output = command.args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let status: Value = serde_json::from_slice(&ask(&["endpoint", "status", "-w", "json"])).unwrap();
        let revision = status[0]["Status"]["header"]["revision"].as_u64().unwrap();
        ask(&["compact", &revision.to_string(), "--physical"]);
    }

    /// What kubectl prints as an administrator, or its error.
    ///
    /// # Errors
    /// What it wrote to standard error.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = self.inside("kubectl");
        for (flag, file) in [("kubeconfig", "admin.kubeconfig"), ("cache-dir", "kubectl-cache")] {
            command.arg(format!("--{flag}={}", self.folder.join(file).display()));
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that fails at once reads nothing.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// As [`kubectl`](Self::kubectl), where it has to succeed. On a busy machine the API server gives up requests, of which some are
    /// done nevertheless: it is asked again.
    ///
    /// # Panics
    /// If it fails for long.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str], input: &str) -> String {
        let mut failed: Option<String> = None;
        let answer = crate::poll::try_until(PATIENCE_OF_A_REQUEST, || match self.kubectl(arguments, input) {
            Ok(text) => Some(text),
            Err(error) => {
                let is_done = error.contains("AlreadyExists") || error.contains("NotFound");
                let was_asked = failed.replace(error).is_some();
                (is_done && was_asked).then(String::new)
            }
        });
        answer.unwrap_or_else(|| panic!("kubectl {arguments:?}: {}", failed.unwrap_or_default()))
    }

    /// Objects that kubectl gets, as JSON.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        let text = self.ask(&[&["get", "-o", "json"], arguments].concat(), "");
        serde_json::from_str(&text).unwrap()
    }

    /// Creates an object.
    ///
    /// # Panics
    /// If the API server refuses it.
    #[track_caller]
    pub fn create(&self, object: &Value) {
        self.ask(&["create", "-f", "-"], &object.to_string());
    }

    /// A token of a service account, which expires after that time.
    ///
    /// # Panics
    /// If there is no such account.
    #[must_use]
    pub fn token(&self, namespace: &str, account: &str, lifetime: Duration) -> String {
        let found = self.get(&["serviceaccount", account, "-n", namespace]);
        let uid = found["metadata"]["uid"].as_str().unwrap();
        tokens::signed(&self.account_key, (namespace, account, uid), lifetime)
    }

    /// Writes a kubeconfig whose token is in that file.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write_kubeconfig(&self, path: &Path, token_file: &Path) {
        write_kubeconfig(path, &self.folder, token_file);
    }

    /// The CA of the certificates of the API server and of the kubelet.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A kubelet that joins it with these flags next to those that every one has: it asks the API server who may ask it what. It is
    /// started, and its node is ready.
    ///
    /// # Panics
    /// If the node does not become ready.
    #[must_use]
    pub fn join(&self, containerd: &Containerd, programs: &Programs, flags: &[(&str, &str)]) -> Kubelet {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (kubeconfig, cert, key) = (file("admin.kubeconfig"), file("server.crt"), file("server.key"));
        let own = [
            ("kubeconfig", kubeconfig.as_str()),
            ("node-ip", NODE_ADDRESS),
            ("tls-cert-file", &cert),
            ("tls-private-key-file", &key),
            ("authentication-token-webhook", "true"),
            ("authorization-mode", "Webhook"),
        ];
        // The API server has no certificate to show to a kubelet, of which `kubectl logs` reads.
        let logs = ["clusterrolebinding", "logs", "--clusterrole=system:kubelet-api-admin"];
        self.ask(&[&["create"], &logs[..], &["--user=system:anonymous"]].concat(), "");
        let mut kubelet = containerd.kubelet(programs, &[&own, flags].concat());
        kubelet.start();
        until_every(Duration::from_secs(1), PATIENCE, "the node is ready", || {
            let path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let ready = self.kubectl(&["get", "nodes", "-o", path], "").ok()?;
            (ready == "True").then_some(())
        });
        kubelet
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the log of the API server:\n{}", tail(&self.folder.join("api-server.log")));
        }
        let all = [self.controllers.as_mut(), self.api_server.as_mut(), Some(&mut self.etcd)];
        for child in all.into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn write_kubeconfig(path: &Path, folder: &Path, token_file: &Path) {
    let (ca, token) = (folder.join("ca.crt"), token_file.display());
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: {SERVER:?}, certificate-authority: {:?}}}}}]\n\
         users: [{{name: test, user: {{tokenFile: \"{token}\"}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
        ca.display().to_string()
    );
    fs::write(path, text).unwrap();
}
