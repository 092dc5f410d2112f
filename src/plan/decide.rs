//! The decision: from facts to what is reused, what is built, and what must be distrusted first.

use std::collections::BTreeMap;

use super::{Facts, Found, Lookup, Place};
use crate::ledger::BuiltFacts;
use crate::model::{CommitId, Digest, Key, ProjectName, Reason};

/// What is decided about one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An image is reused.
    Reuse(Reused),
    /// An image is built. The reason is known here only where a taint is it; else history tells.
    Build(Option<Reason>),
    /// There is nothing to build.
    None(Reason),
}

/// An image that is reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reused {
    /// Its digest.
    pub image: Digest,
    /// The base that holds it.
    pub place: Place,
    /// The record that says so, or the facts to be recorded of an adopted image.
    pub facts: BuiltFacts,
    /// Whether it is known only by its `cache-<commit>` tag yet.
    pub adopt: Option<CommitId>,
}

impl Decision {
    /// The digest of the image, where one is reused.
    #[must_use]
    pub const fn image(&self) -> Option<Digest> {
        match self {
            Self::Reuse(reused) => Some(reused.image),
            Self::Build(_) | Self::None(_) => None,
        }
    }
}

/// The decisions, and the keys whose records must be replaced.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By project.
    pub decisions: BTreeMap<ProjectName, Decision>,
    /// Keys to be taken as tainted, with the reason: the caller assumes these taints, computes the
    /// keys again, looks up what is new, and decides again, until there are none.
    pub distrust: BTreeMap<Key, (ProjectName, Reason)>,
}

/// Decides about every project in `facts.order` (design, section 5).
///
/// A project whose key is not among the looked-up records is built: nothing is ever reused on the
/// ground of an answer that is not there.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for name in facts.order {
        let decision = decide_one(facts, name, &outcome.decisions);
        let decision = match decision {
            Verdict::Decided(decision) => decision,
            Verdict::Distrusted(key, reason) => {
                outcome.distrust.insert(key, (name.clone(), reason.clone()));
                Decision::Build(Some(reason))
            }
        };
        outcome.decisions.insert(name.clone(), decision);
    }
    outcome
}

enum Verdict {
    Decided(Decision),
    Distrusted(Key, Reason),
}

fn decide_one(
    facts: &Facts<'_>,
    name: &ProjectName,
    decided: &BTreeMap<ProjectName, Decision>,
) -> Verdict {
    let (Some(project), Some(key)) = (facts.projects.get(name), facts.keys.get(name)) else {
        return Verdict::Decided(Decision::None(Reason::NoDockerfile));
    };
    if project.dockerfile.is_none() {
        return Verdict::Decided(Decision::None(Reason::NoDockerfile));
    }
    if !project.has_sources {
        return Verdict::Decided(Decision::None(Reason::NoSources));
    }
    match facts.records.get(&key.key) {
        Some(Lookup::Found(found)) => match replaced_dependency(found, decided) {
            None => Verdict::Decided(Decision::Reuse(Reused {
                image: found.facts.image,
                place: found.place,
                facts: found.facts.clone(),
                adopt: None,
            })),
            Some(reason) => Verdict::Distrusted(key.key, reason),
        },
        Some(Lookup::Unreadable { why }) => {
            Verdict::Distrusted(key.key, Reason::RecordUnreadable { why: why.clone() })
        }
        Some(Lookup::Absent) | None => {
            let taint = key
                .chain
                .last()
                .and_then(|tainted| facts.taints.get(tainted))
                .cloned();
            let adopted = if taint.is_none() {
                adopt(facts, name, decided)
            } else {
                None
            };
            Verdict::Decided(adopted.unwrap_or(Decision::Build(taint)))
        }
    }
}

/// The first image that went into a recorded one and is no longer the current one.
fn replaced_dependency(found: &Found, decided: &BTreeMap<ProjectName, Decision>) -> Option<Reason> {
    found.facts.uses.iter().find_map(|(project, recorded)| {
        let current = decided.get(project).and_then(Decision::image);
        (current != Some(*recorded)).then(|| Reason::DependencyReplaced {
            project: project.clone(),
            recorded: *recorded,
            current,
        })
    })
}

/// The nearest image that may be taken over.
fn adopt(
    facts: &Facts<'_>,
    name: &ProjectName,
    decided: &BTreeMap<ProjectName, Decision>,
) -> Option<Decision> {
    let mut candidates = facts.candidates.get(name)?.iter();
    let candidate = candidates.find(|candidate| candidate.refusal(decided).is_none())?;
    let uses = candidate.uses.iter();
    Some(Decision::Reuse(Reused {
        image: candidate.image,
        place: candidate.place,
        facts: BuiltFacts {
            image: candidate.image,
            commit: candidate.commit,
            uses: uses
                .filter_map(|(used, digest)| Some((used.clone(), (*digest)?)))
                .collect(),
            adopted: true,
        },
        adopt: Some(candidate.commit),
    }))
}
