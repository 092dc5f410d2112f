//! What a decision is made from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Decision;
use crate::key::{ProjectFacts, ProjectKey};
use crate::ledger::BuiltFacts;
use crate::model::{CommitId, Digest, Key, Platform, ProjectName, Reason};

/// Which of the two bases something was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
/// now.
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
    /// What is wrong with the image itself.
    pub fault: Option<Refusal>,
}

impl Candidate {
    /// Why the image is not taken over: it is wrong itself, or a project image that it uses is not
    /// reused in this plan or does not carry the same tag.
    #[must_use]
    pub fn refusal(&self, decided: &BTreeMap<ProjectName, Decision>) -> Option<Refusal> {
        let used = self.uses.iter().find_map(|(used, tagged)| {
            let project = used.clone();
            match decided.get(used).and_then(Decision::image) {
                None => Some(Refusal::UsedIsBuilt { project }),
                current if current != *tagged => Some(Refusal::UsedDiffers { project }),
                _ => None,
            }
        });
        self.fault.clone().or(used)
    }
}

/// Why an image with the right inputs is not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is for another platform.
    Platform {
        /// Those that it states.
        stated: Vec<Platform>,
        /// Those that are asked for.
        wanted: Vec<Platform>,
    },
    /// It carries the label of another key.
    OtherKey,
    /// The registry lacks a part of it.
    Incomplete {
        /// What is missing, e.g. `the config sha256:…`.
        part: String,
    },
    /// A project whose image it uses is built in this plan.
    UsedIsBuilt {
        /// That project.
        project: ProjectName,
    },
    /// The image of a project that it uses is not the one of the same tag.
    UsedDiffers {
        /// That project.
        project: ProjectName,
    },
    /// It was not looked at, or is gone: adoption is off, or a taint or a release tag is in the
    /// way.
    NoRecord,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform { stated, wanted } => {
                match stated.as_slice() {
                    [] => f.write_str("its image states no platform")?,
                    stated => write!(f, "its image is for {}", Platform::list(stated))?,
                }
                let are = if wanted.len() > 1 { "are" } else { "is" };
                write!(f, ", and {} {are} wanted", Platform::list(wanted))
            }
            Self::Incomplete { part } => write!(f, "{part} of its image is missing"),
            Self::OtherKey => f.write_str("its image carries the label of another key"),
            Self::UsedIsBuilt { project } => {
                write!(f, "its image uses that of {project}, which is built")
            }
            Self::UsedDiffers { project } => write!(
                f,
                "its image uses that of {project}, and the current one does not carry the same tag"
            ),
            Self::NoRecord => f.write_str("no record stands for it"),
        }
    }
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
