//! What a decision is made from.

use std::collections::BTreeMap;

use crate::key::{ProjectFacts, ProjectKey};
use crate::ledger::BuiltFacts;
use crate::model::{CommitId, Digest, Key, ProjectName, Reason};

/// Which of the two bases something was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The base that is written.
    Registry,
    /// The base that is only read.
    Upstream,
}

/// What stands in the ledger for a key. "Could not ask" is not among these: it is an error long
/// before a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing, in either base.
    Absent,
    /// A record.
    Found(Found),
    /// Something that is no record of this key.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it states.
    pub facts: BuiltFacts,
    /// Where.
    pub place: Place,
}

/// An image known only by its `cache-<commit>` tag, whose inputs at that commit are the inputs
/// now, of the right platform, and without a key label of another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The commit of the tag.
    pub commit: CommitId,
    /// The image.
    pub image: Digest,
    /// Where it was found.
    pub place: Place,
    /// Each project image that it uses, with the digest that carries the same tag there.
    pub uses: BTreeMap<ProjectName, Option<Digest>>,
}

/// Everything that a decision about some projects rests on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The projects to decide about, dependencies first, closed under what they use.
    pub order: &'a [ProjectName],
    /// The projects at the commit.
    pub projects: &'a BTreeMap<ProjectName, ProjectFacts>,
    /// Their keys.
    pub keys: &'a BTreeMap<ProjectName, ProjectKey>,
    /// The ledger's answer for each key.
    pub records: &'a BTreeMap<Key, Lookup>,
    /// Images that may be taken over, nearest first.
    pub candidates: &'a BTreeMap<ProjectName, Vec<Candidate>>,
    /// Why each tainted key is, taints that are only assumed yet included.
    pub taints: &'a BTreeMap<Key, Reason>,
}
