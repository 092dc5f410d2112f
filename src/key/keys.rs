//! The keys of all projects, with taints applied.

use std::collections::BTreeMap;

use super::{ProjectFacts, next_key};
use crate::model::{Key, ProjectName};

/// A project's key at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectKey {
    /// The effective key: what images and records are named after.
    pub key: Key,
    /// The tainted keys that it stands for, the computed one first; empty where nothing is
    /// tainted.
    pub chain: Vec<Key>,
    /// The effective keys of the dependencies, which went into it.
    pub dependencies: BTreeMap<ProjectName, Key>,
}

impl ProjectKey {
    /// The key as computed from the inputs, before its own taints.
    #[must_use]
    pub fn computed(&self) -> Key {
        self.chain.first().copied().unwrap_or(self.key)
    }
}

/// Computes the effective keys of projects in `order` (dependencies first, closed under
/// dependencies).
///
/// `is_tainted` is asked, for each project and each key of its chain in turn, whether that key is
/// tainted; it sees the chain so far. Dependents are computed from effective keys.
pub fn effective_keys<'a>(
    order: impl IntoIterator<Item = (&'a ProjectFacts, &'a [ProjectName])>,
    mut is_tainted: impl FnMut(&ProjectName, &[Key], Key) -> bool,
) -> BTreeMap<ProjectName, ProjectKey> {
    let mut keys: BTreeMap<ProjectName, ProjectKey> = BTreeMap::new();
    for (facts, names) in order {
        let dependencies: BTreeMap<ProjectName, Key> = names
            .iter()
            .filter_map(|name| {
                keys.get(name)
                    .map(|dependency| (name.clone(), dependency.key))
            })
            .collect();
        let mut key = facts.own.finish(&dependencies);
        let mut chain = Vec::new();
        while is_tainted(facts.name(), &chain, key) {
            chain.push(key);
            key = next_key(key);
        }
        keys.insert(
            facts.name().clone(),
            ProjectKey {
                key,
                chain,
                dependencies,
            },
        );
    }
    keys
}
