//! The plan put together from what was decided.

use std::collections::{BTreeMap, BTreeSet};

use super::explain;
use super::planner::{Keys, Planner};
use crate::key::ProjectKey;
use crate::ledger::names;
use crate::manifest::LayerCache;
use crate::model::{CommitId, Key, ProjectName, Reason};
use crate::plan::{
    Action, BuildStep, Decision, Found, Outcome, PendingTaint, Plan, Planned, Refusal, Reused,
};
use crate::problem::Failure;

impl Planner<'_> {
    pub(super) async fn finish(&mut self, keys: &Keys, outcome: Outcome) -> Result<Plan, Failure> {
        let unexplained: Vec<ProjectName> = outcome
            .decisions
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Build(None)))
            .map(|(name, _)| name.clone())
            .filter(|name| self.carried(name, keys).is_none())
            .collect();
        let refusals = self.refusals(&unexplained, &outcome);
        let explainer = explain::Explainer {
            repository: self.repository,
            bases: self.bases,
            request: self.request,
            facts: self.facts,
            keys,
            tainted: &self.tainted,
            refusals: &refusals,
            sealed: self.sealed.as_ref(),
            known: &self.known,
        };
        let mut explained = explainer.explain(&unexplained).await?;
        let mut projects = BTreeMap::new();
        for (name, decision) in outcome.decisions {
            let Some(key) = keys.get(&name) else { continue };
            let known = match decision {
                Decision::Build(None) => match explained.remove(&name) {
                    Some(found) => {
                        self.uses_of(&name)?;
                        Some((found.reason, self.cache_from(&name, found.cache)))
                    }
                    None => self.carried(&name, keys),
                },
                _ => None,
            };
            projects.insert(name.clone(), self.planned(&name, key, decision, known)?);
        }
        Ok(Plan {
            commit: self.request.commit,
            projects,
            taints: self.pending(keys),
        })
    }

    /// Why the images of these projects that were looked at are not taken over, by the commit of
    /// their tag.
    fn refusals(
        &self,
        projects: &[ProjectName],
        outcome: &Outcome,
    ) -> BTreeMap<(ProjectName, CommitId), Refusal> {
        let mut refusals = BTreeMap::new();
        for name in projects {
            for candidate in self.candidates.get(name).into_iter().flatten() {
                if let Some(refusal) = candidate.refusal(&outcome.decisions) {
                    let place = (name.clone(), candidate.commit);
                    refusals.entry(place).or_insert(refusal);
                }
            }
        }
        refusals
    }

    /// Why a carried plan builds a project under the key that it has, and where layers come from.
    fn carried(&self, name: &ProjectName, keys: &Keys) -> Option<(Reason, Vec<String>)> {
        let (key, reason, cache_from) = self.explained.get(name)?;
        let is_same = keys.get(name).is_some_and(|now| now.key == *key);
        is_same.then(|| (reason.clone(), cache_from.clone()))
    }

    fn planned(
        &mut self,
        name: &ProjectName,
        key: &ProjectKey,
        decision: Decision,
        explained: Option<(Reason, Vec<String>)>,
    ) -> Result<Planned, Failure> {
        let mut warnings = Vec::new();
        let (action, reason, uses) = match decision {
            Decision::None(reason) => (Action::None, reason, BTreeSet::new()),
            Decision::Reuse(reused) => {
                let uses = reused.facts.uses.keys().cloned().collect();
                let (action, reason) = self.reuse(name, reused);
                (action, reason, uses)
            }
            Decision::Build(taint) => {
                let uses = self.uses_of(name)?;
                if let Some(Err(problems)) = self.uses.get(name) {
                    warnings.clone_from(problems);
                }
                let (reason, cache_from) = match (taint, explained) {
                    (Some(reason), _) => (reason, Vec::new()),
                    (None, Some(explained)) => explained,
                    (None, None) => {
                        let (searched, limit_reached) = (0, false);
                        (
                            Reason::NeverBuilt {
                                searched,
                                limit_reached,
                            },
                            Vec::new(),
                        )
                    }
                };
                (Action::Build(BuildStep { cache_from }), reason, uses)
            }
        };
        let direct = self.facts.graph.dependencies(name);
        let triggers = direct.difference(&uses).cloned().collect();
        Ok(Planned {
            name: name.clone(),
            key: key.clone(),
            action,
            reason,
            uses,
            triggers,
            warnings,
        })
    }

    /// What layers may come from: the image itself, and with `layerCache: "stages"` its stages.
    fn cache_from(&self, name: &ProjectName, cache: Option<(Key, Found)>) -> Vec<String> {
        let Some((key, found)) = cache else {
            return Vec::new();
        };
        let base = self.bases.ledger(found.place).client().base();
        let mut references = vec![base.image(name, &found.facts.image)];
        let project = self.facts.manifest.projects.get(name);
        let by_stages = project.filter(|project| project.layer_cache == LayerCache::Stages);
        if let (Some(project), Some(Ok(uses))) = (by_stages, self.uses.get(name)) {
            let stages = uses.dockerfile.stage_names();
            let tags = stages.filter_map(|stage| names::stage(key, stage, &project.platforms));
            references.extend(tags.map(|tag| base.tagged(name, &tag)));
        }
        references
    }

    fn reuse(&self, name: &ProjectName, reused: Reused) -> (Action, Reason) {
        let base = self.bases.ledger(reused.place).client().base();
        let image = base.image(name, &reused.image);
        let commit = reused.facts.commit;
        let (adopt, reason) = match reused.adopt {
            Some(commit) => (true, Reason::UnchangedSince { commit }),
            None => (false, Reason::Recorded { commit }),
        };
        let (digest, facts, place) = (reused.image, reused.facts, reused.place);
        (
            Action::Reuse {
                image,
                digest,
                facts,
                place,
                adopt,
            },
            reason,
        )
    }

    /// The taints that a build writes first: in the order of the projects, and of each chain.
    ///
    /// Those of dependencies that were not asked about are among them: they are what the keys of
    /// the others rest on.
    fn pending(&self, keys: &Keys) -> Vec<PendingTaint> {
        let mut pending = Vec::new();
        for project in &self.facts.order {
            for key in keys
                .get(project)
                .map(|keys| keys.chain.as_slice())
                .unwrap_or_default()
            {
                if let (false, Some(reason)) = (self.tainted.contains(key), self.assumed.get(key)) {
                    let (project, reason) = (project.clone(), reason.clone());
                    pending.push(PendingTaint {
                        project,
                        key: *key,
                        reason,
                    });
                }
            }
        }
        pending
    }
}
