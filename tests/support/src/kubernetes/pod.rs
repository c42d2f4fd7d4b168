//! A pod as the API and a kubelet report it.

use serde_json::{Value, json};

/// Any time is valid.
const CREATED: &str = "2024-05-01T08:00:00Z";
const DELETED: &str = "2024-05-02T08:00:00Z";

/// A pod, made step by step.
#[derive(Debug, Clone)]
pub struct PodObject {
    json: Value,
}

impl PodObject {
    /// A pod without containers, in phase `Pending`, on the node of the server that it is given to.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        let json = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": CREATED},
            "spec": {"containers": []},
            "status": {"phase": "Pending"},
        });
        Self { json }
    }

    /// The phase, e.g. `Running`.
    #[must_use]
    pub fn phase(mut self, phase: &str) -> Self {
        self.json["status"]["phase"] = phase.into();
        self
    }

    /// Why it is in that phase, e.g. `Evicted`.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        self.json["status"]["reason"] = reason.into();
        self
    }

    /// One more container, of this image.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        let containers = self.json["spec"]["containers"].as_array_mut().expect("made as an array");
        containers.push(json!({"name": format!("c{}", containers.len()), "image": image}));
        self
    }

    /// The API's image of a static pod, which has the uid given here on its node.
    #[must_use]
    pub fn mirror_of(self, static_uid: &str) -> Self {
        self.annotation("kubernetes.io/config.hash", static_uid)
            .annotation("kubernetes.io/config.mirror", static_uid)
            .annotation("kubernetes.io/config.source", "file")
    }

    /// A static pod as its kubelet reports it.
    #[must_use]
    pub fn from_file(self) -> Self {
        let uid = self.uid().to_owned();
        self.annotation("kubernetes.io/config.hash", &uid).annotation("kubernetes.io/config.source", "file")
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.json["metadata"]["annotations"][key] = value.into();
        self
    }

    /// The node that it is bound to.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.json["spec"]["nodeName"] = name.into();
        self
    }

    /// Its deletion was requested.
    #[must_use]
    pub fn deleting(mut self) -> Self {
        self.json["metadata"]["deletionTimestamp"] = DELETED.into();
        self.json["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        self
    }

    /// The object, with its kind.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.json.clone()
    }

    /// On this node, if it was not bound to another.
    pub(super) fn or_node(self, name: &str) -> Self {
        if self.json["spec"]["nodeName"].is_null() { self.node(name) } else { self }
    }

    /// Told to the kubelet by this source, if no other was named.
    pub(super) fn or_source(self, source: &str) -> Self {
        let key = "kubernetes.io/config.source";
        if self.json["metadata"]["annotations"][key].is_null() { self.annotation(key, source) } else { self }
    }

    pub(super) fn uid(&self) -> &str {
        self.json["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Namespace and name.
    pub(super) fn key(&self) -> (String, String) {
        let part = |name: &str| self.json["metadata"][name].as_str().unwrap_or_default().to_owned();
        (part("namespace"), part("name"))
    }
}

/// An object as it stands in a list: without its kind, which the list says for all.
pub(super) fn item(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    item
}
