//! What the runtime can't list in one answer, or not at all (behaviour: Lists of any length), and what missing entries must not make
//! wrong.

use std::collections::HashSet;
use std::sync::Arc;

use cri_gc_gateway::{Gap, Listing, Owner};
use cri_gc_policy::{Container, Kind, Sandbox};
use ecow::EcoString;

use crate::report::PassError;

/// What an operator should know of the lists of containers and of sandboxes.
pub fn notes(containers: &Listing<Container>, sandboxes: &Listing<Sandbox>) -> Vec<String> {
    let mut notes = Vec::new();
    if containers.in_parts {
        notes.push(
            "the list of all containers is too large for one answer of the runtime, and is made in parts"
                .to_owned(),
        );
    }
    if sandboxes.in_parts {
        notes.push(
            "the list of all sandboxes is too large for one answer of the runtime, and is made in parts"
                .to_owned(),
        );
    }
    if !knows_all_pods(&sandboxes.gaps) {
        notes.push(
            "sandboxes can only be listed pod by pod: what belongs to pods that neither the pod source nor a log directory \
             names is not seen, so no image is removed"
                .to_owned(),
        );
    }
    notes
}

/// Whether there can't be a pod of which nothing is known.
fn knows_all_pods(sandboxes: &[Gap]) -> bool {
    sandboxes.iter().all(|gap| gap.owner.is_some())
}

/// Why it is not known which images are in use, if anything could not be listed.
pub fn unknown_uses(containers: &[Gap], sandboxes: &[Gap]) -> Option<String> {
    let missing = !containers.is_empty() || !sandboxes.is_empty();
    missing.then(|| "not all containers and sandboxes could be listed".to_owned())
}

/// The pods of which something could not be listed, as far as they are named by themselves.
pub fn pods<'a>(containers: &'a [Gap], sandboxes: &'a [Gap]) -> impl Iterator<Item = EcoString> + 'a {
    let pod = |gap: &Gap| match &gap.owner {
        Some(Owner::Pod(uid)) => Some(uid.clone()),
        Some(Owner::Sandbox(_)) | None => None,
    };
    containers.iter().chain(sandboxes).filter_map(pod)
}

/// Marks the sandboxes in which not all containers could be listed.
pub fn mark(sandboxes: &mut Arc<Vec<Arc<Sandbox>>>, gaps: &[Gap]) {
    let sandbox = |gap: &Gap| match &gap.owner {
        Some(Owner::Sandbox(id)) => Some(id.clone()),
        Some(Owner::Pod(_)) | None => None,
    };
    let unlisted: HashSet<EcoString> = gaps.iter().filter_map(sandbox).collect();
    if !unlisted.is_empty() {
        let sandboxes = Arc::make_mut(sandboxes).iter_mut();
        sandboxes
            .filter(|sandbox| unlisted.contains(&sandbox.id))
            .for_each(|sandbox| Arc::make_mut(sandbox).unlisted = true);
    }
}

/// What could not be listed, in words: objects of that owner, and of so many others.
fn in_words(kind: Kind, owner: &Owner, others: usize) -> String {
    let what = match kind {
        Kind::Sandbox => "sandboxes",
        _ => "containers",
    };
    let whose = match owner {
        Owner::Pod(uid) => format!("the {what} of pod {uid}"),
        Owner::Sandbox(id) => format!("the {what} in sandbox {id}"),
    };
    match others {
        0 => whose,
        others => format!("{whose}, and those of {others} more,"),
    }
}

/// An error for each kind of which something could not be listed that is named.
pub fn errors(containers: &[Gap], sandboxes: &[Gap]) -> Vec<(Kind, PassError)> {
    let error = |(kind, gaps): (Kind, &[Gap])| {
        let named = || gaps.iter().filter_map(|gap| Some((gap.owner.as_ref()?, &gap.error)));
        let (owner, error) = named().next()?;
        // One may be missing in several states.
        let others = named().map(|(owner, _)| owner).collect::<HashSet<_>>().len() - 1;
        Some((kind, PassError::Unlisted { what: in_words(kind, owner, others), error: error.clone() }))
    };
    [(Kind::Container, containers), (Kind::Sandbox, sandboxes)].into_iter().filter_map(error).collect()
}
