//! Everything that explains what a plan does with one project: the reason with its commits and
//! authors, the taints, and for a reuse what proves it.

use super::planner::Planning;
use super::tell::{Told, known, tell};
use crate::git::{Commit, Repository};
use crate::key::KeyInputs;
use crate::ledger::{Bases, BuiltRecord, names};
use crate::model::{CommitId, Digest, Key, ProjectName};
use crate::plan::{Action, Place, Planned};
use crate::problem::Failure;

/// The whole explanation of one project in a plan.
pub struct Why {
    /// What is planned.
    pub planned: Planned,
    /// The commit of the plan.
    pub commit: Commit,
    /// The inputs of the key.
    pub inputs: KeyInputs,
    /// The reason, told in full.
    pub told: Told,
    /// Taints of the project's key and of its dependencies' keys, dependencies first.
    pub taints: Vec<StandingTaint>,
    /// For a reuse, what proves it.
    pub proof: Option<Proof>,
}

/// A taint that a key of the plan rests on.
pub struct StandingTaint {
    /// The project whose key it is.
    pub project: ProjectName,
    /// The key that is not to be trusted.
    pub key: Key,
    /// Why, by whom, and at which commit.
    pub told: Told,
    /// Where it stands; `None` where the plan assumes it and a build writes it first.
    pub place: Option<Place>,
    /// When it was written, RFC 3339; `None` where it was not yet, or cannot be read.
    pub created: Option<String>,
}

/// What proves that an image need not be built.
pub struct Proof {
    /// The full reference of the image.
    pub image: String,
    /// The base that holds it.
    pub place: Place,
    /// The repository and tag, below the base, that was found: the record, or for an image that
    /// is to be adopted its alias.
    pub name: String,
    /// The commit that the image was built for.
    pub commit: CommitId,
    /// That commit, if this clone has it.
    pub built_at: Option<Commit>,
    /// Whether that commit is an ancestor of this one, or this one; `None` if nobody can tell.
    pub is_ancestor: Option<bool>,
    /// The project images that went in, held against those of the plan.
    pub uses: Vec<Compared>,
    /// The whole record; `None` for an image that is still to be adopted.
    pub stored: Option<Stored>,
}

/// A project image that went into a recorded one.
pub struct Compared {
    /// The project.
    pub project: ProjectName,
    /// The digest that went in.
    pub recorded: Digest,
    /// The digest that the plan has for it.
    pub current: Option<Digest>,
}

/// The whole record of a build, with its reason told.
pub struct Stored {
    /// The record.
    pub record: BuiltRecord,
    /// When it was written, RFC 3339.
    pub created: String,
    /// Why it was built then.
    pub told: Told,
}

/// Explains one project of a plan; `None` if the plan does not have it.
pub async fn why(
    repository: &Repository,
    bases: &Bases,
    planning: &Planning,
    project: &ProjectName,
) -> Result<Option<Why>, Failure> {
    let (Some(planned), Some(inputs)) = (
        planning.plan.projects.get(project),
        planning.inputs(project),
    ) else {
        return Ok(None);
    };
    let gatherer = Gatherer {
        repository,
        bases,
        planning,
    };
    let commit = planning.facts.commit.clone();
    Ok(Some(Why {
        told: tell(repository, &planned.reason, commit.id)?,
        taints: gatherer.taints(project).await?,
        proof: gatherer.proof(planned).await?,
        planned: planned.clone(),
        commit,
        inputs,
    }))
}

struct Gatherer<'a> {
    repository: &'a Repository,
    bases: &'a Bases,
    planning: &'a Planning,
}

impl Gatherer<'_> {
    async fn taints(&self, project: &ProjectName) -> Result<Vec<StandingTaint>, Failure> {
        let plan = &self.planning.plan;
        let closure = self.planning.facts.graph.closure([project]);
        let mut taints = Vec::new();
        for name in &self.planning.facts.order {
            let Some(keys) = self
                .planning
                .keys
                .get(name)
                .filter(|_| closure.contains(name))
            else {
                continue;
            };
            for key in &keys.chain {
                let pending = plan.taints.iter().find(|taint| taint.key == *key);
                let (reason, place, created) = if let Some(taint) = pending {
                    (taint.reason.clone(), None, None)
                } else {
                    let written = self.bases.written_taint(*key, plan.commit).await?;
                    (written.taint.reason, Some(written.place), written.created)
                };
                taints.push(StandingTaint {
                    project: name.clone(),
                    key: *key,
                    told: tell(self.repository, &reason, plan.commit)?,
                    place,
                    created,
                });
            }
        }
        Ok(taints)
    }

    async fn proof(&self, planned: &Planned) -> Result<Option<Proof>, Failure> {
        let Action::Reuse {
            image,
            facts,
            place,
            adopt,
            ..
        } = &planned.action
        else {
            return Ok(None);
        };
        let key = planned.key.key;
        let (name, stored) = if *adopt {
            let alias = names::alias(facts.commit);
            (format!("{}:{alias}", planned.name), None)
        } else {
            let stored = self.stored(key, &planned.name).await?;
            (format!("{}:{}", names::LEDGER, names::built(key)), stored)
        };
        let repository = self.repository;
        let built_at = known(repository.commit(facts.commit))?;
        let uses = facts.uses.iter().map(|(project, recorded)| Compared {
            project: project.clone(),
            recorded: *recorded,
            current: self.current(project),
        });
        Ok(Some(Proof {
            image: image.clone(),
            place: *place,
            name,
            commit: facts.commit,
            built_at,
            is_ancestor: repository.is_ancestor(facts.commit, self.planning.plan.commit)?,
            uses: uses.collect(),
            stored,
        }))
    }

    async fn stored(&self, key: Key, project: &ProjectName) -> Result<Option<Stored>, Failure> {
        let Some((_, recorded)) = self.bases.built_record(key, project).await? else {
            return Ok(None);
        };
        let told = tell(
            self.repository,
            &recorded.record.reason,
            recorded.record.facts.commit,
        )?;
        Ok(Some(Stored {
            record: recorded.record,
            created: recorded.created,
            told,
        }))
    }

    fn current(&self, project: &ProjectName) -> Option<Digest> {
        match &self.planning.plan.projects.get(project)?.action {
            Action::Reuse { digest, .. } => Some(*digest),
            Action::Build(_) | Action::None => None,
        }
    }
}
