//! `[pods]`: who tells which pods exist, and what proves that one does not (spec 2).

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PodSource, Unmanaged};
use crate::forms::{duration, number, optional, path};

/// Where pod states come from, and how much proof it takes to call a pod deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pods {
    /// Who tells which pods exist.
    pub source: PodSource,
    /// The pod list of the source `file`: an absolute path, which that source needs.
    #[serde(with = "optional")]
    pub file: Option<PathBuf>,
    /// With the source `runtime`, how long nothing of a pod may have run before it counts as deleted; 0s or more.
    #[serde(with = "duration")]
    pub runtime_grace: Duration,
    /// A good sync that is older proves nothing any more; 0s or more.
    #[serde(with = "duration")]
    pub max_staleness: Duration,
    /// What becomes of objects that belong to no pod.
    pub unmanaged: Unmanaged,
    /// The kubelet's directory, an absolute path: a pod that has a directory in `<kubelet_root>/pods` is not deleted. The
    /// sources `kubelet` and `kube-api` believe it only if one of the pods that run here has a directory there.
    /// The kubelet's flag is `--root-dir`.
    #[serde(serialize_with = "path::serialize")]
    pub kubelet_root: PathBuf,
    /// If one sync would newly delete more than this part of the pods on the node (and at least 5), it is not believed
    /// at once; 0 to 100 percent, 100 is off.
    #[serde(deserialize_with = "number::deserialize")]
    pub max_newly_deleted_percent: u8,
    /// Whether the source `runtime` may be used in full on a node where a kubelet has pods.
    pub runtime_beside_kubelet: bool,
    /// The kubelet's endpoint (`source = "kubelet"`).
    pub kubelet: Kubelet,
    /// The API server (`source = "kube-api"`).
    pub kube_api: KubeApi,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            source: PodSource::default(),
            file: None,
            runtime_grace: Duration::from_secs(10 * 60),
            max_staleness: Duration::from_secs(5 * 60),
            unmanaged: Unmanaged::default(),
            kubelet_root: "/var/lib/kubelet".into(),
            max_newly_deleted_percent: 50,
            runtime_beside_kubelet: false,
            kubelet: Kubelet::default(),
            kube_api: KubeApi::default(),
        }
    }
}

/// `[pods.kubelet]`: how the kubelet is asked for its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubelet {
    /// The endpoint: `https://HOST:10250/pods`, or `http://HOST:10255/pods` where the read-only port is open.
    pub url: String,
    /// The file with the bearer token; not set: none is sent. Read again at every use, as tokens are
    /// renewed; sent over HTTPS only.
    #[serde(with = "optional")]
    pub token_file: Option<PathBuf>,
    /// The CA that signed the kubelet's serving certificate; not set: those that this machine trusts.
    #[serde(with = "optional")]
    pub ca_file: Option<PathBuf>,
    /// The certificate by which the kubelet knows who asks; not set: none. Read again at every use.
    #[serde(with = "optional")]
    pub client_cert_file: Option<PathBuf>,
    /// The private key of that certificate: both or neither.
    #[serde(with = "optional")]
    pub client_key_file: Option<PathBuf>,
    /// Whether the kubelet's certificate is taken unchecked.
    pub insecure_skip_verify: bool,
    /// How often it is asked, at least 1s.
    #[serde(with = "duration")]
    pub period: Duration,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self {
            url: "https://127.0.0.1:10250/pods".to_owned(),
            token_file: Some("/var/run/secrets/kubernetes.io/serviceaccount/token".into()),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            insecure_skip_verify: false,
            period: Duration::from_secs(10),
        }
    }
}

/// `[pods.kube_api]`: how the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubeApi {
    /// The kubeconfig file; not set: the credentials of the pod that the service runs in, then `$KUBECONFIG`, which the
    /// caller resolves.
    #[serde(with = "optional")]
    pub kubeconfig: Option<PathBuf>,
}
