//! What a list has in common with the list before it: objects that did not change are the same in memory, and each text is there once.
//! A node has up to 100,000 containers, and one list is in use while the next one is made.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ecow::EcoString;
use foldhash::{HashSet, HashSetExt as _};
use parking_lot::Mutex;

/// What a list has of one kind.
pub trait Object: PartialEq + Send + Sync + 'static {
    /// One of them in an answer.
    type Wire;

    /// One of an answer.
    fn of(wire: Self::Wire, texts: &mut Texts) -> Self;

    /// Its whole id; several images may share one.
    fn id(&self) -> &str;
}

/// What an object of an answer is turned into.
pub trait Item<W, R>: FnMut(W) -> R + Clone + Send + 'static {}

impl<W, R, F: FnMut(W) -> R + Clone + Send + 'static> Item<W, R> for F {}

/// The texts that several objects of a list have, each held once.
#[derive(Debug, Default)]
pub struct Texts {
    now: HashSet<EcoString>,
    /// Those of the list before.
    before: Arc<HashSet<EcoString>>,
}

impl Texts {
    /// The text, as it is held already.
    pub fn get(&mut self, text: &str) -> EcoString {
        if let Some(known) = self.now.get(text) {
            return known.clone();
        }
        let text = self.before.get(text).cloned().unwrap_or_else(|| text.into());
        self.now.insert(text.clone());
        text
    }
}

/// An object that is looked up by its id.
#[derive(Debug)]
struct ById<T>(Arc<T>);

impl<T: Object> Borrow<str> for ById<T> {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl<T: Object> Hash for ById<T> {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.0.id().hash(to);
    }
}

impl<T: Object> PartialEq for ById<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl<T: Object> Eq for ById<T> {}

/// What is remembered of the last list of one kind.
#[derive(Debug)]
pub struct Last<T> {
    objects: Arc<HashSet<ById<T>>>,
    texts: Arc<HashSet<EcoString>>,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self { objects: Arc::default(), texts: Arc::default() }
    }
}

impl<T: Object> Last<T> {
    /// Turns what is answered for the next list into its objects.
    pub fn next(&self) -> Sharing<T> {
        let texts = Texts { now: HashSet::new(), before: Arc::clone(&self.texts) };
        Sharing { texts: Arc::new(Mutex::new(texts)), before: Arc::clone(&self.objects) }
    }

    /// The next list has these objects.
    pub fn replace(&mut self, objects: &[Arc<T>], sharing: Sharing<T>) {
        // Not both at the same time.
        *self = Self::default();
        let texts = std::mem::take(&mut *sharing.texts.lock());
        drop(sharing);
        self.texts = Arc::new(texts.now);
        self.objects = Arc::new(objects.iter().map(|object| ById(Arc::clone(object))).collect());
    }
}

/// Turns what is answered for one list into its objects. Cheap to clone.
#[derive(Debug)]
pub struct Sharing<T> {
    texts: Arc<Mutex<Texts>>,
    before: Arc<HashSet<ById<T>>>,
}

impl<T> Default for Sharing<T> {
    fn default() -> Self {
        Self { texts: Arc::default(), before: Arc::default() }
    }
}

impl<T: Object> Sharing<T> {
    /// What turns an answered object into one of the list.
    pub fn item(&self) -> impl Item<T::Wire, Arc<T>> {
        let (texts, before) = (Arc::clone(&self.texts), Arc::clone(&self.before));
        move |wire| {
            let object = T::of(wire, &mut texts.lock());
            match before.get(object.id()) {
                Some(ById(before)) if **before == object => Arc::clone(before),
                _ => Arc::new(object),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::{Container, ContainerState};
    use cri_gc_proto::cri;

    use super::*;

    fn container(id: &str, state: cri::ContainerState) -> cri::Container {
        cri::Container {
            id: id.repeat(32),
            image_ref: "sha256:of-many-containers".to_owned(),
            state: state.into(),
            ..cri::Container::default()
        }
    }

    #[test]
    fn a_list_shares_what_did_not_change_since_the_list_before_it() {
        let exited = cri::ContainerState::ContainerExited;
        let mut last = Last::<Container>::default();
        let mut list = |all: Vec<cri::Container>| {
            let sharing = last.next();
            let objects: Vec<_> = all.into_iter().map(sharing.item()).collect();
            last.replace(&objects, sharing);
            objects
        };
        let running = cri::ContainerState::ContainerRunning;
        let first = list(vec![container("a", running), container("b", exited)]);
        let second = list(vec![container("a", exited), container("b", exited), container("c", exited)]);
        let [a, b, c] = second.as_slice() else { panic!("{second:?}") };
        assert!(Arc::ptr_eq(&first[1], b));
        assert_eq!(
            (first[0].state, a.state),
            (ContainerState::Running, ContainerState::Exited),
            "it has ended since"
        );
        let place = |container: &Container| container.image_ref.as_ptr();
        let texts = [&first[0], &first[1], a, b, c].map(|one| place(one));
        assert_eq!(texts, [texts[0]; 5], "a text is held once");
        let third = list(vec![container("c", exited)]);
        assert!(Arc::ptr_eq(c, &third[0]));
        assert_eq!(Arc::strong_count(&first[0]), 1, "what is gone is not remembered");
    }
}
