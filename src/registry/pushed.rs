//! What a client has put, or knows that an engine has, as long as it lives: a registry that says
//! afterwards that it is not there is slow to show it (several servers over one storage), and is
//! asked again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Manifests by repository and reference, the repositories that anything was put into, and those in
/// which something was found.
#[derive(Debug, Default)]
pub(super) struct Pushed(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    manifests: HashSet<(String, String)>,
    repositories: HashSet<String>,
    standing: HashSet<String>,
}

impl Pushed {
    /// A blob was put.
    pub(super) fn blob(&self, repository: &str) {
        let mut known = self.known();
        if !known.repositories.contains(repository) {
            known.repositories.insert(repository.to_owned());
        }
    }

    /// A manifest was put under a tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) {
        let mut known = self.known();
        known.repositories.insert(repository.to_owned());
        known
            .manifests
            .insert((repository.to_owned(), reference.to_owned()));
    }

    /// A manifest was found in a repository.
    pub(super) fn found_in(&self, repository: &str) {
        let mut known = self.known();
        if !known.standing.contains(repository) {
            known.standing.insert(repository.to_owned());
        }
    }

    /// Whether a repository is known to stand.
    pub(super) fn stands(&self, repository: &str) -> bool {
        self.known().standing.contains(repository)
    }

    /// A tag was deleted, or a manifest, and with it any number of tags.
    pub(super) fn forget(&self, repository: &str) {
        self.known()
            .manifests
            .retain(|(other, _)| other != repository);
    }

    /// Whether a manifest was put under this very name.
    pub(super) fn has_manifest(&self, repository: &str, reference: &str) -> bool {
        let name = (repository.to_owned(), reference.to_owned());
        self.known().manifests.contains(&name)
    }

    /// Whether anything was put into a repository.
    pub(super) fn is_into(&self, repository: &str) -> bool {
        self.known().repositories.contains(repository)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
