//! The forms that a kubelet's configuration comes in: the file of a kubelet, the answer of its `/configz`, an object of
//! OpenShift, one of several documents.

use cri_gc_policy::text::excerpt;
use serde_json::{Map, Value};

use super::ImportError;

/// The version of the form that is known; there is no other that a kubelet reads.
pub(super) const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";
const OPENSHIFT: &str = "machineconfiguration.openshift.io/v1";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// A `KubeletConfiguration`.
    #[default]
    Plain,
    /// What a running kubelet uses: file, drop-ins, flags and defaults together.
    Configz,
    /// A `KubeletConfig` of OpenShift: what is changed in the configuration that OpenShift writes.
    OpenShift,
}

/// What was found in a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    pub(super) form: Form,
    pub(super) fields: Map<String, Value>,
    pub(super) notes: Vec<String>,
}

/// Reads YAML or JSON, and takes the one document that is a kubelet's configuration.
pub(super) fn parse(text: &str) -> Result<Parsed, ImportError> {
    // Else what stands in front of the first key would be part of its name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Err(ImportError::Empty);
    }
    // All JSON is YAML.
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| unreadable(&error))?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    let mut refused = None;
    let documents: Vec<Value> = documents.into_iter().flat_map(items).collect();
    let count = documents.len();
    for document in documents {
        let kind =
            document.get("kind").and_then(Value::as_str).map_or("one without a kind".to_owned(), excerpt);
        match of_document(document) {
            Ok(parsed) => found.push(parsed),
            Err(error) => {
                others.push(kind);
                refused.get_or_insert(error);
            }
        }
    }
    let several = |what: String| Err(ImportError::Several(what));
    match (found.len(), count, refused) {
        (0, 0, _) => Err(ImportError::Empty),
        (0, 1, Some(error)) => Err(error),
        (0, ..) => several(format!("none of its {count} documents is a {KIND} ({})", others.join(", "))),
        (1, ..) => {
            let mut parsed = found.pop().unwrap_or_default();
            if !others.is_empty() {
                parsed.notes.push(format!(
                    "Other documents of the file, which were not looked at: {}. Flags of the kubelet that they hold \
                     (kubeletExtraArgs, criSocket) belong after --.",
                    others.join(", ")
                ));
            }
            Ok(parsed)
        }
        (n, ..) => several(format!("{n} of its documents are a {KIND}, and a kubelet has one")),
    }
}

/// The objects of a list, as `kubectl get -o yaml` prints one.
fn items(document: Value) -> Vec<Value> {
    let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
    match document {
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        other => vec![other],
    }
}

fn of_document(document: Value) -> Result<Parsed, ImportError> {
    let mut fields = match document {
        Value::Object(fields) => fields,
        Value::Null => return Err(ImportError::Empty),
        Value::Array(_) => return Err(ImportError::NoFields("a list")),
        Value::String(text) if text.contains("--") => {
            return Err(ImportError::OtherKind {
                what: "it holds flags".to_owned(),
                hint: Some(
                    "give the kubelet's flags after --, as cri-gc config import-kubelet -- --root-dir=/data/kubelet",
                ),
            });
        }
        Value::String(_) => return Err(ImportError::NoFields("a single text")),
        Value::Number(_) => return Err(ImportError::NoFields("a single number")),
        Value::Bool(_) => return Err(ImportError::NoFields("a single value")),
    };
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    match (text("apiVersion"), text("kind")) {
        (Some(API_VERSION), Some(KIND)) => Ok(Parsed { fields: without_head(fields), ..Parsed::default() }),
        (Some(OPENSHIFT), Some("KubeletConfig")) => of_openshift(fields),
        (None, None) => match fields.remove("kubeletconfig") {
            Some(Value::Object(inner)) => {
                let notes = rest("Beside kubeletconfig", &fields).into_iter().collect();
                Ok(Parsed { form: Form::Configz, fields: without_head(inner), notes })
            }
            Some(_) => Err(ImportError::NoFields("a kubeletconfig without fields")),
            None => Err(other_kind(&fields)),
        },
        _ => Err(other_kind(&fields)),
    }
}

fn of_openshift(mut fields: Map<String, Value>) -> Result<Parsed, ImportError> {
    let mut spec = match fields.remove("spec") {
        Some(Value::Object(spec)) => spec,
        _ => return Err(ImportError::NoFields("a KubeletConfig without a spec")),
    };
    let inner = match spec.remove("kubeletConfig") {
        Some(Value::Object(inner)) => inner,
        Some(Value::Null) | None => Map::new(),
        Some(_) => return Err(ImportError::NoFields("a spec.kubeletConfig without fields")),
    };
    let mut notes = vec![
        "What OpenShift writes by itself: the KubeletConfig holds what differs from it. `kubectl get --raw \
         /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet -` sees all."
            .to_owned(),
    ];
    notes.extend(rest("In spec, beside kubeletConfig", &spec));
    Ok(Parsed { form: Form::OpenShift, fields: without_head(inner), notes })
}

/// Names what stands next to the fields of a kubelet.
fn rest(place: &str, fields: &Map<String, Value>) -> Option<String> {
    let names: Vec<_> = fields.keys().map(|name| excerpt(name)).collect();
    (!names.is_empty()).then(|| format!("{place}, and not looked at: {}.", names.join(", ")))
}

fn without_head(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.remove("apiVersion");
    fields.remove("kind");
    fields
}

/// The reader's own words for some of these are for programmers.
fn unreadable(error: &serde_saphyr::Error) -> ImportError {
    let error = error.without_snippet();
    let place = match error.location() {
        Some(at) => format!(", at line {}, column {}", at.line(), at.column()),
        None => String::new(),
    };
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            ImportError::Twice(format!("{} stands there twice{place}", excerpt(key)))
        }
        _ => ImportError::Unreadable(excerpt(error.to_string().lines().next().unwrap_or_default())),
    }
}

fn other_kind(fields: &Map<String, Value>) -> ImportError {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let (what, hint) = match (text("apiVersion"), text("kind")) {
        (Some("v1"), Some("ConfigMap")) => (
            "it is a ConfigMap".to_owned(),
            Some(
                "kubeadm's ConfigMap has the kubelet's configuration under data.kubelet: `kubectl -n kube-system get configmap \
                 kubelet-config -o jsonpath='{.data.kubelet}' | cri-gc config import-kubelet -`",
            ),
        ),
        (Some("v1"), Some("Config")) => {
            ("it is a kubeconfig, which tells how to reach the API server".to_owned(), None)
        }
        (Some(version), Some(kind)) if version.starts_with("kubeadm.k8s.io/") => {
            (format!("it is a {} of kubeadm", excerpt(kind)), None)
        }
        (Some(version), Some(kind)) => (format!("it is a {} of {}", excerpt(kind), excerpt(version)), None),
        (None, Some(kind)) => (
            format!("it is a {} of no apiVersion", excerpt(kind)),
            (kind == KIND).then_some(
                "write apiVersion: kubelet.config.k8s.io/v1beta1 into it; the kubelet needs that too",
            ),
        ),
        (_, None) if fields.contains_key("kubelet-arg") => (
            "it is a configuration of k3s or rke2".to_owned(),
            Some(
                "give its entries of kubelet-arg after --, each as --kubelet-arg=FLAG=VALUE, and node-name as --node-name=NAME",
            ),
        ),
        (_, None) if fields.contains_key("machine") => (
            "it is a machine configuration of Talos".to_owned(),
            Some(
                "import the file that Talos makes of it: `talosctl -n NODE read /etc/kubernetes/kubelet.yaml | cri-gc config import-kubelet -`",
            ),
        ),
        (_, None) => ("it bears no kind".to_owned(), None),
    };
    ImportError::OtherKind { what, hint }
}
