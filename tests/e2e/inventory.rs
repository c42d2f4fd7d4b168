//! All there is on a node, by names that people read: `container web-0/main#0`, `sandbox web-0#0`, `image app:1`,
//! `log web-0/main/0.log`, `link web-0/main/0.log`. Read from the runtime and the disk, not from the program under test.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use cri_gc_test_support::Cri;

/// What every image of these tests is called behind.
pub const REGISTRY: &str = "cri-gc.test/";

/// What there was at one moment. Two of them are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Name, and what must not change: id and state, or content.
    all: BTreeMap<String, String>,
    names: HashMap<String, String>,
}

impl Inventory {
    /// Takes the inventory.
    pub async fn take(cri: &Cri, pod_logs: &Path, container_logs: &Path) -> Self {
        let mut inventory = Self::default();
        let mut pods = HashMap::new();
        for sandbox in cri.list_sandboxes().await.unwrap() {
            let metadata = sandbox.metadata.clone().unwrap();
            let name = format!("sandbox {}#{}", metadata.name, metadata.attempt);
            inventory.add(name, format!("{:?} {}", sandbox.state(), sandbox.id), &sandbox.id);
            pods.insert(sandbox.id, metadata.name);
        }
        for container in cri.list_containers().await.unwrap() {
            let metadata = container.metadata.clone().unwrap();
            let pod = pods.get(&container.pod_sandbox_id).map_or("?", String::as_str);
            let name = format!("container {pod}/{}#{}", metadata.name, metadata.attempt);
            inventory.add(name, format!("{:?} {}", container.state(), container.id), &container.id);
        }
        for image in cri.list_images().await.unwrap() {
            let mut tags: Vec<&str> =
                image.repo_tags.iter().map(|tag| tag.strip_prefix(REGISTRY).unwrap_or(tag)).collect();
            tags.sort_unstable();
            let name = if tags.is_empty() { &image.id } else { &tags.join(",") };
            inventory.add(format!("image {name}"), image.id.clone(), &image.id);
        }
        inventory.walk(pod_logs, pod_logs);
        for entry in fs::read_dir(container_logs).unwrap().flatten() {
            let file = entry.file_name().into_string().unwrap();
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let name = match target.strip_prefix(pod_logs) {
                Ok(log) => format!("link {}", readable(log)),
                Err(_) => format!("link {file}"),
            };
            inventory.add(name, target.display().to_string(), &file);
        }
        inventory
    }

    fn walk(&mut self, root: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let relative = path.strip_prefix(root).unwrap();
            let name = format!("log {}", readable(relative));
            if kind.is_dir() {
                self.add(format!("{name}/"), String::new(), &relative.display().to_string());
                self.walk(root, &path);
            } else if kind.is_symlink() {
                self.add(name, fs::read_link(&path).unwrap().display().to_string(), "");
            } else {
                self.add(name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(), "");
            }
        }
    }

    fn add(&mut self, name: String, value: String, id: &str) {
        self.names.insert(id.to_owned(), name.clone());
        let before = self.all.insert(name.clone(), value);
        assert_eq!(before, None, "{name} is there twice");
    }

    /// The name of the object with this id; the id itself if there was no such.
    pub fn name_of(&self, id: &str) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// The id behind a name.
    pub fn id(&self, name: &str) -> &str {
        let named = self.names.iter().find(|(_, known)| *known == name);
        named.unwrap_or_else(|| panic!("no {name} in {:#?}", self.all)).0
    }

    /// Everything that one of these means. One that ends in `*` means all that begin so, and a log directory the empty logs
    /// of its sandboxes, which CRI-O makes.
    pub fn meant(&self, patterns: &[&str]) -> BTreeSet<String> {
        let mut meant = BTreeSet::new();
        for pattern in patterns {
            let fits = |name: &&String| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern || name.strip_prefix(*pattern).is_some_and(is_sandbox_log),
            };
            let known = meant.len();
            meant.extend(self.all.keys().filter(fits).cloned());
            assert!(meant.len() > known, "{pattern} means nothing more in {:#?}", self.all);
        }
        meant
    }

    /// All there was then or later, as it was last.
    pub fn and(mut self, later: Self) -> Self {
        self.all.extend(later.all);
        self.names.extend(later.names);
        self
    }

    /// Whether there is something of that name.
    pub fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// What of this is not in `after`. What is in both has to be the same, and nothing may have come.
    pub fn removed_in(&self, after: &Self) -> BTreeSet<String> {
        let mut kept = self.all.clone();
        kept.retain(|name, _| after.all.contains_key(name));
        assert_eq!(kept, after.all, "what is kept is untouched");
        self.all.keys().filter(|name| !after.all.contains_key(*name)).cloned().collect()
    }
}

/// Whether what follows the name of a log directory is the log of a sandbox.
fn is_sandbox_log(file: &str) -> bool {
    let id = file.strip_suffix(".log").unwrap_or_default();
    id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A path below the log root with the name of the pod in place of `<namespace>_<name>_<uid>`.
fn readable(path: &Path) -> String {
    let text = path.display().to_string();
    let (first, rest) = text.split_once('/').unwrap_or((&text, ""));
    let parts: Vec<&str> = first.split('_').collect();
    let pod = if let [_, pod, _] = parts[..] { pod } else { first };
    if rest.is_empty() { pod.to_owned() } else { format!("{pod}/{rest}") }
}
