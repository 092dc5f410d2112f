//! Two commits compared: the images, and what is behind each change.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::{CommitFacts, CommitOptions};
use super::error::GatherError;
use super::tell::{Told, known, last_changes};
use crate::git::{LastChange, Repository};
use crate::key::{ProjectKey, effective_keys};
use crate::ledger::{Bases, Edition, Known, names};
use crate::model::{CommitId, Digest, Key, ProjectName, Reason};
use crate::plan::{Comparison, Lookup, Side};
use crate::problem::Failure;

/// One of the two: a commit as it is recorded, or one edition of its waybill.
#[derive(Clone, Debug)]
pub struct DiffSide {
    /// The commit.
    pub commit: CommitId,
    /// The edition, if the waybill itself was named.
    pub edition: Option<u32>,
}

/// What became of a project between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffKind {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Its inputs or its image differ.
    Changed,
    /// Neither differs.
    Same,
}

/// One project on both sides.
pub struct DiffLine {
    /// The project.
    pub name: ProjectName,
    /// What became of it.
    pub kind: DiffKind,
    /// The image in the first; `None` where it is not built, or not there.
    pub before: Option<Digest>,
    /// The image in the second.
    pub after: Option<Digest>,
    /// What changed, where both have it and it changed.
    pub told: Option<Told>,
}

impl DiffKind {
    /// The name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Same => "same",
        }
    }
}

/// Compares two commits.
pub async fn diff(
    repository: &Repository,
    bases: &Bases,
    options: &CommitOptions,
    first: &DiffSide,
    second: &DiffSide,
) -> Result<Vec<DiffLine>, Failure> {
    let tainted = bases.tainted_keys().await?;
    let before = Stood::find(repository, bases, options, first, &tainted).await?;
    let after = Stood::find(repository, bases, options, second, &tainted).await?;
    let changes = repository.changes(before.facts.commit.tree, after.facts.commit.tree)?;
    let names: BTreeSet<&ProjectName> = before
        .projects
        .keys()
        .chain(after.projects.keys())
        .collect();
    let mut comparison = Comparison::new(before.side(), after.side(), &changes, after.tainted());
    let reasons: BTreeMap<&ProjectName, Reason> = names
        .iter()
        .filter(|name| kind(name, &before, &after) == DiffKind::Changed)
        .map(|name| (*name, comparison.inputs_changed(name, first.commit)))
        .collect();
    let listed = reasons.values().flat_map(Reason::files);
    let listed = listed.map(|file| file.path.as_str()).collect();
    let last = last_changes(repository, first.commit, second.commit, &changes, &listed);
    let last = known(last)?.unwrap_or_default();
    let told = |reason: &Reason| Told {
        reason: reason.clone(),
        commit: Some(before.facts.commit.clone()),
        last_changes: last_of(reason, &last),
    };
    let line = |name: &ProjectName| DiffLine {
        name: name.clone(),
        kind: kind(name, &before, &after),
        before: before.image(name),
        after: after.image(name),
        told: reasons.get(name).map(told),
    };
    Ok(names.into_iter().map(line).collect())
}

fn kind(name: &ProjectName, before: &Stood, after: &Stood) -> DiffKind {
    match (before.projects.get(name), after.projects.get(name)) {
        (None, _) => DiffKind::Added,
        (_, None) => DiffKind::Removed,
        (Some(before), Some(after)) if before == after => DiffKind::Same,
        _ => DiffKind::Changed,
    }
}

/// Of the last changes those of a reason's own files.
fn last_of(reason: &Reason, last: &BTreeMap<String, LastChange>) -> BTreeMap<String, LastChange> {
    let files = reason.files().iter();
    files
        .filter_map(|file| Some((file.path.clone(), last.get(&file.path)?.clone())))
        .collect()
}

/// A side with everything that is known of it.
struct Stood {
    facts: CommitFacts,
    keys: BTreeMap<ProjectName, ProjectKey>,
    /// Key and image of each project; the image is `None` where nothing is recorded.
    projects: BTreeMap<ProjectName, (Key, Option<Digest>)>,
}

impl Stood {
    async fn find(
        repository: &Repository,
        bases: &Bases,
        options: &CommitOptions,
        side: &DiffSide,
        tainted: &BTreeSet<Key>,
    ) -> Result<Self, Failure> {
        let facts = CommitFacts::load(repository, side.commit, options, None, true)?;
        let keys = effective_keys(facts.in_order(), |_, _, key| tainted.contains(&key));
        let waybill = waybill(bases, side).await?;
        let projects = match (&waybill, side.edition) {
            (None, Some(number)) => {
                let tag = names::release(side.commit, number);
                return Err(GatherError::NoWaybill { tag }.into());
            }
            // The waybill that was named says it all.
            (Some((_, edition)), Some(_)) => edition
                .release
                .projects
                .iter()
                .map(|(name, shipped)| (name.clone(), (shipped.key, Some(shipped.image))))
                .collect(),
            _ => recorded(bases, &keys, waybill.map(|(known, _)| known)).await?,
        };
        Ok(Self {
            facts,
            keys,
            projects,
        })
    }

    fn tainted(&self) -> BTreeSet<ProjectName> {
        let tainted = self.keys.iter().filter(|(_, key)| !key.chain.is_empty());
        tainted.map(|(name, _)| name.clone()).collect()
    }

    fn image(&self, name: &ProjectName) -> Option<Digest> {
        self.projects.get(name).and_then(|(_, image)| *image)
    }

    fn side(&self) -> Side<'_> {
        Side {
            manifest: &self.facts.manifest,
            projects: &self.facts.projects,
        }
    }
}

async fn waybill(bases: &Bases, side: &DiffSide) -> Result<Option<(Known, Edition)>, Failure> {
    let Some((place, ledger)) = bases.sealed() else {
        return Ok(None);
    };
    let edition = ledger
        .edition(side.commit, side.edition.unwrap_or(1))
        .await?;
    Ok(edition.map(|edition| (Known::from_release(place, &edition.release), edition)))
}

async fn recorded(
    bases: &Bases,
    keys: &BTreeMap<ProjectName, ProjectKey>,
    known: Option<Known>,
) -> Result<BTreeMap<ProjectName, (Key, Option<Digest>)>, Failure> {
    let wanted = keys.iter().map(|(name, key)| (key.key, name.clone()));
    let found = bases
        .built_many(&wanted.collect(), &known.unwrap_or_default())
        .await?;
    let image = |key: &Key| match found.get(key) {
        Some(Lookup::Found(found)) => Some(found.facts.image),
        _ => None,
    };
    Ok(keys
        .iter()
        .map(|(name, key)| (name.clone(), (key.key, image(&key.key))))
        .collect())
}
