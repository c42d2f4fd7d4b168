//! The forms that a kubelet's configuration comes in: the file of a kubelet, the answer of its `/configz`, an object of
//! OpenShift, one of several documents. This module must not read the fields.

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

/// The form, the fields, and what else is in the text or is missing from it.
pub(super) type Parsed = (Form, Map<String, Value>, Vec<String>);

/// Reads YAML or JSON, and takes the one document that is a kubelet's configuration.
pub(super) fn parse(text: &str) -> Result<Parsed, ImportError> {
    // It would be part of the name of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Err(ImportError::new("it is empty", NAME_IT));
    }
    // All JSON is YAML.
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| unreadable(&error))?;
    let (mut found, mut others, mut refused) = (Vec::new(), Vec::new(), None);
    for document in documents.into_iter().flat_map(items) {
        let kind =
            document.get("kind").and_then(Value::as_str).map_or("one without a kind".to_owned(), excerpt);
        match read(document) {
            Ok(parsed) => found.push(parsed),
            Err(error) => {
                others.push(kind);
                refused = Some(error);
            }
        }
    }
    let what = match (found.len(), others.len(), found.pop(), refused) {
        (1, 0, Some(parsed), _) => return Ok(parsed),
        (1, _, Some((form, fields, mut notes)), _) => {
            notes.push(format!(
                "Other documents of the file, which were ignored: {}. Flags of the kubelet in them (kubeletExtraArgs, criSocket) \
                 belong after --.",
                others.join(", ")
            ));
            return Ok((form, fields, notes));
        }
        (0, 1, _, Some(error)) => return Err(error),
        (0, 0, ..) => return Err(ImportError::new("it is empty", NAME_IT)),
        (0, count, ..) => format!("none of its {count} documents is a {KIND} ({})", others.join(", ")),
        (n, ..) => format!("{n} of its documents are a {KIND}, and a kubelet has one"),
    };
    Err(ImportError::new(
        what,
        "give the document with the KubeletConfiguration alone, e.g. on standard input, as -",
    ))
}

/// The objects of a list, as `kubectl get -o yaml` prints one.
fn items(mut document: Value) -> Vec<Value> {
    if document.get("kind").is_none_or(|kind| kind != "List") {
        return vec![document];
    }
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn read(document: Value) -> Result<Parsed, ImportError> {
    let no_fields =
        |what| Err(ImportError::new(format!("it contains {what}, not the fields of a {KIND}"), NAME_IT));
    let mut around = match document {
        Value::Object(fields) => fields,
        Value::Null => return Err(ImportError::new("it is empty", NAME_IT)),
        Value::Array(_) => return no_fields("a list"),
        Value::String(text) if text.contains("--") => {
            return Err(other_kind(
                "it contains flags",
                "give the kubelet's flags after --, as cri-gc config import-kubelet -- --root-dir=/data/kubelet",
            ));
        }
        Value::String(_) => return no_fields("a single text"),
        Value::Number(_) => return no_fields("a single number"),
        Value::Bool(_) => return no_fields("a single value"),
    };
    let text = |field: &str| around.get(field).and_then(Value::as_str);
    let (form, fields, place, mut notes) = match (text("apiVersion"), text("kind")) {
        (Some(VERSION), Some(KIND)) => {
            (Form::Plain, Value::Object(std::mem::take(&mut around)), "", Vec::new())
        }
        (Some(OPENSHIFT), Some("KubeletConfig")) => {
            let Some(Value::Object(spec)) = around.remove("spec") else {
                return no_fields("a KubeletConfig without a spec");
            };
            around = spec;
            let fields = around.remove("kubeletConfig").filter(|fields| !fields.is_null());
            let note = "What OpenShift writes by itself: the KubeletConfig contains what differs from it. `kubectl get --raw \
                        /api/v1/nodes/NODE/proxy/configz | cri-gc config import-kubelet -` reads all of it.";
            let fields = fields.unwrap_or_else(|| Map::new().into());
            (Form::OpenShift, fields, "In spec, next to kubeletConfig", vec![note.to_owned()])
        }
        (None, None) if around.contains_key("kubeletconfig") => {
            let fields = around.remove("kubeletconfig").unwrap_or_default();
            (Form::Configz, fields, "Next to kubeletconfig", Vec::new())
        }
        (version, kind) => return Err(other_object(&around, version, kind)),
    };
    let Value::Object(mut fields) = fields else {
        return no_fields(match form {
            Form::OpenShift => "a spec.kubeletConfig without fields",
            _ => "a kubeletconfig without fields",
        });
    };
    if !around.is_empty() {
        let names: Vec<_> = around.keys().map(|name| excerpt(name)).collect();
        notes.push(format!("{place}, and ignored: {}.", names.join(", ")));
    }
    fields.retain(|field, _| field != "apiVersion" && field != "kind");
    Ok((form, fields, notes))
}

/// The reader's own words for some of these are for programmers.
fn unreadable(error: &serde_saphyr::Error) -> ImportError {
    let error = error.without_snippet();
    if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = &error {
        let key = excerpt(key.as_deref().unwrap_or("a key"));
        let place = error.location().map(|at| format!(", at line {}, column {}", at.line(), at.column()));
        let what = format!("{key} is set twice{}", place.unwrap_or_default());
        return ImportError::new(what, "leave the one that you mean");
    }
    let what = excerpt(error.to_string().lines().next().unwrap_or_default());
    ImportError::new(format!("it can't be read as YAML or JSON: {what}"), NAME_IT)
}

/// An object that is something else than a kubelet's configuration, or does not say what it is.
fn other_object(fields: &Map<String, Value>, version: Option<&str>, kind: Option<&str>) -> ImportError {
    let (what, remedy) = match (version, kind) {
        (Some("v1"), Some("Config")) => {
            ("it is a kubeconfig, which says how to reach the API server".to_owned(), NAME_IT)
        }
        (Some("v1"), Some("ConfigMap")) => (
            "it is a ConfigMap of v1".to_owned(),
            "kubeadm's ConfigMap has the kubelet's configuration under data.kubelet: `kubectl -n kube-system get configmap \
             kubelet-config -o jsonpath='{.data.kubelet}' | cri-gc config import-kubelet -`",
        ),
        (Some(version), Some(kind)) => {
            (format!("it is a {} of {}", excerpt(kind), excerpt(version)), NAME_IT)
        }
        (None, Some(KIND)) => (
            format!("it is a {KIND} without an apiVersion"),
            "add apiVersion: kubelet.config.k8s.io/v1beta1 to it; the kubelet needs that, too",
        ),
        (None, Some(kind)) => (format!("it is a {} without an apiVersion", excerpt(kind)), NAME_IT),
        (_, None) if fields.contains_key("kubelet-arg") => (
            "it is a configuration of k3s or rke2".to_owned(),
            "give its entries of kubelet-arg after --, each as --kubelet-arg=FLAG=VALUE, and node-name as --node-name=NAME",
        ),
        (_, None) if fields.contains_key("machine") => (
            "it is a machine configuration of Talos".to_owned(),
            "import the file that Talos makes of it: `talosctl -n NODE read /etc/kubernetes/kubelet.yaml | cri-gc config \
             import-kubelet -`",
        ),
        (_, None) => ("it has no kind".to_owned(), NAME_IT),
    };
    other_kind(&what, remedy)
}

pub(super) fn other_kind(what: &str, remedy: &'static str) -> ImportError {
    ImportError::new(format!("{what}; it has to be a {KIND} of {VERSION}"), remedy)
}
