//! The forms that a kubelet's configuration comes in: the file of a kubelet, the answer of its `/configz`, an object of
//! OpenShift, one of several documents.

use cri_gc_policy::text::excerpt;
use serde_json::{Map, Value};

use super::error::{ImportError, NAME_IT};

const VERSION: &str = "kubelet.config.k8s.io/v1beta1";
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

/// The configuration that was found in a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    pub(super) form: Form,
    pub(super) fields: Map<String, Value>,
    pub(super) notes: Vec<String>,
}

/// Reads YAML or JSON, and takes the one document that is a kubelet's configuration.
pub(super) fn parse(text: &str) -> Result<Parsed, ImportError> {
    // It would be part of the name of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Err(ImportError::other_file("it is empty"));
    }
    // All JSON is YAML.
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| unreadable(&error))?;
    let documents: Vec<Value> = documents.into_iter().flat_map(items).collect();
    let count = documents.len();
    let (mut found, mut others, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let kind = string(&document, "kind").map_or("one without a kind".to_owned(), excerpt);
        match read(document) {
            Ok(parsed) => found.push(parsed),
            Err(error) => {
                others.push(kind);
                refused.push(error);
            }
        }
    }
    let several = |what| {
        let remedy = "give the document with the KubeletConfiguration alone, e.g. on standard input, as -";
        Err(ImportError::new(what, remedy))
    };
    match (found.len(), found.pop(), refused.pop()) {
        (1, Some(mut parsed), _) => {
            if !others.is_empty() {
                parsed.notes.push(format!(
                    "Other documents of the file, which were ignored: {}. Flags of the kubelet in them (kubeletExtraArgs, \
                     criSocket) belong after --.",
                    others.join(", ")
                ));
            }
            Ok(parsed)
        }
        (0, _, None) => Err(ImportError::other_file("it is empty")),
        (0, _, Some(error)) if count == 1 => Err(error),
        (0, ..) => several(format!("none of its {count} documents is a {KIND} ({})", others.join(", "))),
        (n, ..) => several(format!("{n} of its documents are a {KIND}, and a kubelet has one")),
    }
}

/// The objects of a list, as `kubectl get -o yaml` prints one.
fn items(document: Value) -> Vec<Value> {
    let is_list = string(&document, "kind") == Some("List");
    match document {
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        other => vec![other],
    }
}

fn string<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

fn read(document: Value) -> Result<Parsed, ImportError> {
    let no_fields =
        |what: &str| ImportError::other_file(&format!("it contains {what}, not the fields of a {KIND}"));
    let mut fields = match document {
        Value::Object(fields) => fields,
        Value::Null => return Err(ImportError::other_file("it is empty")),
        Value::Array(_) => return Err(no_fields("a list")),
        Value::String(text) if text.contains("--") => {
            return Err(other_kind(
                "it contains flags",
                "give the kubelet's flags after --, as cri-gc config import-kubelet -- --root-dir=/data/kubelet",
            ));
        }
        Value::String(_) => return Err(no_fields("a single text")),
        Value::Number(_) => return Err(no_fields("a single number")),
        Value::Bool(_) => return Err(no_fields("a single value")),
    };
    let mut notes = Vec::new();
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let (form, mut fields) = match (text("apiVersion"), text("kind")) {
        (Some(VERSION), Some(KIND)) => (Form::Plain, fields),
        (Some(OPENSHIFT), Some("KubeletConfig")) => {
            let Some(Value::Object(mut spec)) = fields.remove("spec") else {
                return Err(no_fields("a KubeletConfig without a spec"));
            };
            let inner = match spec.remove("kubeletConfig") {
                Some(Value::Object(inner)) => inner,
                Some(Value::Null) | None => Map::new(),
                Some(_) => return Err(no_fields("a spec.kubeletConfig without fields")),
            };
            notes.push(
                "What OpenShift writes by itself: the KubeletConfig contains what differs from it. `kubectl get --raw \
                 /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet -` reads all of it."
                    .to_owned(),
            );
            notes.extend(ignored("In spec, next to kubeletConfig", &spec));
            (Form::OpenShift, inner)
        }
        (None, None) if fields.contains_key("kubeletconfig") => {
            let Some(Value::Object(inner)) = fields.remove("kubeletconfig") else {
                return Err(no_fields("a kubeletconfig without fields"));
            };
            notes.extend(ignored("Next to kubeletconfig", &fields));
            (Form::Configz, inner)
        }
        (version, kind) => return Err(other_object(&fields, version, kind)),
    };
    fields.remove("apiVersion");
    fields.remove("kind");
    Ok(Parsed { form, fields, notes })
}

/// Names what is next to the fields of a kubelet.
fn ignored(place: &str, fields: &Map<String, Value>) -> Option<String> {
    let names: Vec<_> = fields.keys().map(|name| excerpt(name)).collect();
    (!names.is_empty()).then(|| format!("{place}, and ignored: {}.", names.join(", ")))
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
            let key = excerpt(key.as_deref().unwrap_or("a key"));
            ImportError::new(format!("{key} is set twice{place}"), "leave the one that you mean")
        }
        _ => {
            let what = excerpt(error.to_string().lines().next().unwrap_or_default());
            ImportError::other_file(&format!("it can't be read as YAML or JSON: {what}"))
        }
    }
}

/// An object that is something else than a kubelet's configuration, or does not say what it is.
fn other_object(fields: &Map<String, Value>, version: Option<&str>, kind: Option<&str>) -> ImportError {
    let (is_k3s, is_talos) = (fields.contains_key("kubelet-arg"), fields.contains_key("machine"));
    let what = match (version, kind) {
        (Some("v1"), Some("Config")) => {
            "it is a kubeconfig, which says how to reach the API server".to_owned()
        }
        (Some(version), Some(kind)) => format!("it is a {} of {}", excerpt(kind), excerpt(version)),
        (None, Some(kind)) => format!("it is a {} without an apiVersion", excerpt(kind)),
        (_, None) if is_k3s => "it is a configuration of k3s or rke2".to_owned(),
        (_, None) if is_talos => "it is a machine configuration of Talos".to_owned(),
        (_, None) => "it has no kind".to_owned(),
    };
    let remedy = match (version, kind) {
        (Some("v1"), Some("ConfigMap")) => {
            "kubeadm's ConfigMap has the kubelet's configuration under data.kubelet: `kubectl -n kube-system get configmap \
             kubelet-config -o jsonpath='{.data.kubelet}' | cri-gc config import-kubelet -`"
        }
        (None, Some(KIND)) => {
            "add apiVersion: kubelet.config.k8s.io/v1beta1 to it; the kubelet needs that, too"
        }
        (_, None) if is_k3s => {
            "give its entries of kubelet-arg after --, each as --kubelet-arg=FLAG=VALUE, and node-name as --node-name=NAME"
        }
        (_, None) if is_talos => {
            "import the file that Talos makes of it: `talosctl -n NODE read /etc/kubernetes/kubelet.yaml | cri-gc config \
             import-kubelet -`"
        }
        _ => NAME_IT,
    };
    other_kind(&what, remedy)
}

pub(super) fn other_kind(what: &str, remedy: &'static str) -> ImportError {
    ImportError::new(format!("{what}; it has to be a {KIND} of {VERSION}"), remedy)
}
