//! The kubelet's configuration file: its fields, once it is known to be such a file.
//!
//! Fields that have nothing to do with garbage collection are not looked at, so that a file of any version of the kubelet
//! can be read.

use serde_json::{Map, Value};

use super::ImportError;
use super::values::plain;

/// The version of the form that is known; there is no other that a kubelet reads.
pub(super) const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// The fields of a `KubeletConfiguration`.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    fields: Map<String, Value>,
}

impl Document {
    /// The value of a field; null is the same as none.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }
}

/// Reads YAML or JSON.
pub(super) fn read(text: &str) -> Result<Document, ImportError> {
    // Else what stands in front of the first key would be part of its name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#')) {
        return Err(ImportError::Empty);
    }
    // All JSON is YAML.
    let fields = match serde_saphyr::from_str(text).map_err(|error| unreadable(&error))? {
        Value::Object(fields) => fields,
        Value::Null => return Err(ImportError::Empty),
        Value::Array(_) => return Err(ImportError::NoFields("a list")),
        Value::String(_) => return Err(ImportError::NoFields("a single text")),
        Value::Number(_) => return Err(ImportError::NoFields("a single number")),
        Value::Bool(_) => return Err(ImportError::NoFields("a single value")),
    };
    check_kind(&fields)?;
    Ok(Document { fields })
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
            ImportError::Twice(format!("{} stands there twice{place}", plain(key)))
        }
        serde_saphyr::Error::MultipleDocuments { .. } => ImportError::Several,
        _ => ImportError::Unreadable(plain(error.to_string().lines().next().unwrap_or_default())),
    }
}

fn check_kind(fields: &Map<String, Value>) -> Result<(), ImportError> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let (what, hint) = match (text("apiVersion"), text("kind")) {
        (Some(API_VERSION), Some(KIND)) => return Ok(()),
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
            (format!("it is a {} of kubeadm", plain(kind)), None)
        }
        (Some(version), Some(kind)) => (format!("it is a {} of {}", plain(kind), plain(version)), None),
        (None, Some(kind)) => (
            format!("it is a {} of no apiVersion", plain(kind)),
            (kind == KIND).then_some(
                "write apiVersion: kubelet.config.k8s.io/v1beta1 into it; the kubelet needs that too",
            ),
        ),
        (_, None) if fields.contains_key("kubeletconfig") => (
            "it is what a kubelet answers at /configz".to_owned(),
            Some(
                "take what is under kubeletconfig, and give it the kind and the apiVersion of a KubeletConfiguration",
            ),
        ),
        (_, None) => ("it bears no kind".to_owned(), None),
    };
    Err(ImportError::OtherKind { what, hint })
}
