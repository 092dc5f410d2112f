//! The loop: keys, look-ups, decision, and again while the decision asks for more.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::{CommitFacts, CommitOptions};
use super::error::GatherError;
use super::uses::{ProjectUses, project_uses};
use super::{adopt, explain};
use crate::git::{GitError, Repository};
use crate::key::{KeyInputs, ProjectKey, effective_keys};
use crate::ledger::{Bases, TaintRecord, names};
use crate::manifest::LayerCache;
use crate::model::{CommitId, Digest, Key, Platform, ProjectName, Reason};
use crate::plan::{
    Action, BuildStep, Candidate, Decision, Facts, Found, Lookup, Outcome, PendingTaint, Place,
    Plan, Planned, Rebuild, Reused, decide,
};
use crate::problem::{Failure, Problem};

/// How many requests for single facts are under way at once.
pub(super) const PARALLEL: usize = 32;

/// What to plan.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The commit.
    pub commit: CommitId,
    /// How commits are read.
    pub options: CommitOptions,
    /// Only these projects and the images that they use; `None` for all.
    pub projects: Option<BTreeSet<ProjectName>>,
    /// Projects to be built whatever stands.
    pub force: BTreeSet<ProjectName>,
    /// How many commits of history may be searched.
    pub history: usize,
    /// Whether every image that is to be reused is asked for in the registry.
    pub verify: bool,
    /// Who asks, for taints.
    pub by: String,
    /// Where `commit` stands for a work tree: the commit that is checked out there.
    pub work_tree_of: Option<CommitId>,
}

/// A plan with the facts that it was made from.
pub struct Planning {
    /// The commit.
    pub facts: CommitFacts,
    /// The plan.
    pub plan: Plan,
    /// The keys of all projects of `facts`, under the taints that stand and those that the plan
    /// assumes.
    pub keys: Keys,
    /// The Dockerfiles of the projects that are built, as far as they could be read.
    pub uses: BTreeMap<ProjectName, ProjectUses>,
    /// What is worth knowing about the whole.
    pub warnings: Vec<Problem>,
}

impl Planning {
    /// The inputs of a project's key, the keys of its dependencies filled in.
    #[must_use]
    pub fn inputs(&self, name: &ProjectName) -> Option<KeyInputs> {
        let own = self.facts.projects.get(name)?;
        Some(own.with_dependencies(&self.keys.get(name)?.dependencies))
    }
}

/// Makes the plan.
pub async fn plan(
    repository: &Repository,
    bases: &Bases,
    request: &PlanRequest,
) -> Result<Planning, Failure> {
    let mut facts = CommitFacts::load(
        repository,
        request.commit,
        &request.options,
        request.projects.as_ref(),
        true,
    )?;
    if let Some(commit) = request
        .work_tree_of
        .filter(|commit| *commit != request.commit)
    {
        mark_work_tree(repository, request, commit, &mut facts)?;
    }
    check_names(&facts, request)?;
    let (rebuild, mut warnings) = directives(repository, &facts)?;
    warnings.splice(0..0, facts.warnings.iter().cloned());
    let tainted = bases.tainted_keys().await?;
    let mut planner = Planner {
        repository,
        bases,
        request,
        facts: &facts,
        rebuild,
        tainted,
        taints: BTreeMap::new(),
        assumed: BTreeMap::new(),
        records: BTreeMap::new(),
        candidates: BTreeMap::new(),
        uses: BTreeMap::new(),
        present: BTreeSet::new(),
    };
    let (keys, outcome, wanted) = planner.settle().await?;
    let plan = planner.finish(&keys, outcome, &wanted).await?;
    let uses = planner
        .uses
        .into_iter()
        .filter_map(|(name, uses)| Some((name, uses.ok()?)));
    let uses = uses.collect();
    Ok(Planning {
        plan,
        keys,
        uses,
        warnings,
        facts,
    })
}

fn check_names(facts: &CommitFacts, request: &PlanRequest) -> Result<(), GatherError> {
    let named = request.projects.iter().flatten().chain(&request.force);
    named.into_iter().try_for_each(|name| facts.require(name))
}

/// Gives a key of its own to every project whose inputs or context differ from the commit's. What
/// is sent of a hermetic project is all in its inputs; of any other it is the build directory.
fn mark_work_tree(
    repository: &Repository,
    request: &PlanRequest,
    commit: CommitId,
    facts: &mut CommitFacts,
) -> Result<(), Failure> {
    let committed = CommitFacts::load(
        repository,
        commit,
        &request.options,
        request.projects.as_ref(),
        true,
    );
    // A commit without a manifest has nothing to be compared with: everything differs.
    let committed = committed.ok();
    let (now, then) = (
        repository.snapshot_of_tree(facts.commit.tree)?,
        repository.snapshot(commit)?,
    );
    for (name, project) in &mut facts.projects {
        let build_dir = &project.inputs.recipe.build_dir;
        let here = now.entry(build_dir)?;
        let before = committed
            .as_ref()
            .and_then(|facts| facts.projects.get(name));
        let same_inputs = before.is_some_and(|before| before.inputs == project.inputs);
        let same_context = project.inputs.recipe.hermetic || here == then.entry(build_dir)?;
        if !(same_inputs && same_context) {
            let build_dir = here.map_or(facts.commit.tree, |entry| entry.id);
            project.own = project.own.in_work_tree(build_dir);
        }
    }
    Ok(())
}

/// `[ci rebuild]` in the commit's message, and for a merge in its second parent's.
fn directives(
    repository: &Repository,
    facts: &CommitFacts,
) -> Result<(Rebuild, Vec<Problem>), Failure> {
    let mut messages = vec![facts.commit.message.clone()];
    let mut warnings = Vec::new();
    if let Some(second) = facts.commit.parents.get(1) {
        match repository.commit(*second) {
            Ok(parent) => messages.push(parent.message),
            Err(GitError::Missing { .. }) => warnings.push(
                Problem::warning(
                    "merge-parent-missing",
                    format!("the merged commit {} is not in this clone", second.short()),
                )
                .hint("a `[ci rebuild]` in its message is not seen; fetch with a depth of 2"),
            ),
            Err(error) => return Err(error.into()),
        }
    }
    let rebuild = Rebuild::in_messages(messages.iter().map(String::as_str));
    for name in &rebuild.projects {
        if !facts.manifest.projects.contains_key(name.as_str()) {
            let message =
                format!("the commit's message asks to rebuild '{name}', which is no project");
            warnings.push(Problem::warning("unknown-directive", message));
        }
    }
    Ok((rebuild, warnings))
}

/// The keys of projects by name.
pub type Keys = BTreeMap<ProjectName, ProjectKey>;

struct Planner<'a> {
    repository: &'a Repository,
    bases: &'a Bases,
    request: &'a PlanRequest,
    facts: &'a CommitFacts,
    rebuild: Rebuild,
    /// Keys with a taint in either base.
    tainted: BTreeSet<Key>,
    /// What those taints say, as far as a chain of this plan holds them.
    taints: BTreeMap<Key, TaintRecord>,
    /// Taints that the plan itself comes to.
    assumed: BTreeMap<Key, Reason>,
    records: BTreeMap<Key, Lookup>,
    /// Images that may be taken over, by project, for the key that they were gathered for.
    candidates: BTreeMap<ProjectName, Vec<Candidate>>,
    uses: BTreeMap<ProjectName, Result<ProjectUses, Vec<Problem>>>,
    /// Images that the registry has said it holds.
    present: BTreeSet<(ProjectName, Digest)>,
}

impl Planner<'_> {
    /// Repeats until nothing that was found changes a key or asks for more. Each round either ends
    /// it, or adds a fact out of a finite set; the bound is against a registry that contradicts
    /// itself.
    async fn settle(&mut self) -> Result<(Keys, Outcome, Vec<ProjectName>), Failure> {
        let mut wanted: BTreeSet<ProjectName> = match &self.request.projects {
            None => self.facts.order.iter().cloned().collect(),
            Some(projects) => projects.clone(),
        };
        for _ in 0..1000 {
            let keys = self.keys().await?;
            let order: Vec<ProjectName> = self
                .facts
                .order
                .iter()
                .filter(|name| wanted.contains(*name))
                .cloned()
                .collect();
            self.look_up(&keys, &order).await?;
            // A record is held against those of the images that it used: they are asked for
            // before anything is decided.
            let more = self.used_by_records(&keys, &wanted);
            if !more.is_empty() {
                wanted.extend(more);
                continue;
            }
            self.gather_candidates(&keys, &order).await?;
            let outcome = decide(&Facts {
                order: &order,
                projects: &self.facts.projects,
                keys: &keys,
                records: &self.records,
                candidates: &self.candidates,
                taints: &self.reasons(),
            });
            if !outcome.distrust.is_empty() {
                let distrust = outcome.distrust.into_iter();
                self.assumed
                    .extend(distrust.map(|(key, (_, reason))| (key, reason)));
                continue;
            }
            let more = self.used_by(&outcome, &wanted)?;
            if !more.is_empty() {
                wanted.extend(more);
                continue;
            }
            let gone = self.images_gone(&keys, &outcome).await?;
            if gone.is_empty() {
                return Ok((keys, outcome, order));
            }
            self.assumed.extend(gone);
        }
        Err(GatherError::Unsettled.into())
    }

    /// The keys under all taints, real, assumed and asked for. What the real ones in a chain say is
    /// read on the way, since a commit's own taint answers its directive.
    async fn keys(&mut self) -> Result<Keys, Failure> {
        loop {
            let mut unread = BTreeSet::new();
            let mut asked = BTreeMap::new();
            let keys = effective_keys(self.facts.in_order(), |project, chain, key| {
                if self.tainted.contains(&key) {
                    if !self.taints.contains_key(&key) {
                        unread.insert(key);
                    }
                    return true;
                }
                if self.assumed.contains_key(&key) {
                    return true;
                }
                match self.asked_for(project, chain) {
                    Some(reason) if !chain.iter().any(|key| asked.contains_key(key)) => {
                        asked.insert(key, reason);
                        true
                    }
                    _ => false,
                }
            });
            if unread.is_empty() {
                self.assumed.extend(asked);
                return Ok(keys);
            }
            for key in unread {
                let taint = self.bases.taint(key, self.request.commit).await?;
                self.taints.insert(key, taint);
            }
        }
    }

    /// Why a project is to be built whatever stands, unless that was done already.
    fn asked_for(&self, project: &ProjectName, chain: &[Key]) -> Option<Reason> {
        let (by, commit) = (self.request.by.clone(), self.request.commit);
        if chain
            .iter()
            .any(|key| matches!(self.assumed.get(key), Some(Reason::Forced { .. })))
        {
            return None;
        }
        if self.request.force.contains(project) {
            return Some(Reason::Forced {
                by,
                why: "--force".to_owned(),
                commit,
            });
        }
        let answered = chain.iter().any(|key| {
            self.taints
                .get(key)
                .is_some_and(|taint| taint.commit == commit)
        });
        (self.rebuild.asks_for(project) && !answered).then(|| Reason::Forced {
            by: format!(
                "{} <{}>",
                self.facts.commit.author, self.facts.commit.author_email
            ),
            why: "[ci rebuild] in the commit's message".to_owned(),
            commit,
        })
    }

    fn reasons(&self) -> BTreeMap<Key, Reason> {
        let real = self
            .taints
            .iter()
            .map(|(key, taint)| (*key, taint.reason.clone()));
        real.chain(self.assumed.clone()).collect()
    }

    async fn look_up(&mut self, keys: &Keys, order: &[ProjectName]) -> Result<(), Failure> {
        let wanted: BTreeMap<Key, ProjectName> = order
            .iter()
            .filter(|name| self.is_buildable(name))
            .filter_map(|name| Some((keys.get(name)?.key, name.clone())))
            .filter(|(key, _)| !self.records.contains_key(key))
            .collect();
        if !wanted.is_empty() {
            self.records.extend(self.bases.built_many(&wanted).await?);
        }
        Ok(())
    }

    fn is_buildable(&self, name: &ProjectName) -> bool {
        let facts = self.facts.projects.get(name);
        facts.is_some_and(|facts| facts.dockerfile.is_some() && facts.has_sources)
    }

    /// Looks for images to take over, where adoption is in force and no taint is in the way.
    async fn gather_candidates(
        &mut self,
        keys: &Keys,
        order: &[ProjectName],
    ) -> Result<(), Failure> {
        if !self.facts.manifest.adopt {
            return Ok(());
        }
        let untainted = untainted(self.facts, keys);
        self.candidates.retain(|name, _| untainted.contains(name));
        let open: Vec<ProjectName> = order
            .iter()
            .filter(|name| untainted.contains(*name) && !self.candidates.contains_key(*name))
            .filter(|name| {
                let key = keys.get(*name).map(|key| key.key);
                key.and_then(|key| self.records.get(&key)) == Some(&Lookup::Absent)
            })
            .cloned()
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        for name in &open {
            self.uses_of(name)?;
        }
        let search = adopt::Search {
            repository: self.repository,
            bases: self.bases,
            request: self.request,
            facts: self.facts,
            keys,
        };
        let uses = |name: &ProjectName| {
            let uses = self.uses.get(name)?.as_ref().ok()?;
            Some(uses.projects())
        };
        let found = search.candidates(&open, &uses).await?;
        self.candidates.extend(found);
        Ok(())
    }

    /// A project's Dockerfile, read once. A fault in it is the project's own: others go on.
    fn uses_of(&mut self, name: &ProjectName) -> Result<BTreeSet<ProjectName>, Failure> {
        if !self.uses.contains_key(name) {
            let Some(project) = self.facts.manifest.projects.get(name) else {
                return Ok(BTreeSet::new());
            };
            let uses = project_uses(self.repository, self.facts, project, None)?;
            self.uses.insert(name.clone(), uses);
        }
        let uses = self.uses.get(name).and_then(|uses| uses.as_ref().ok());
        Ok(uses.map(ProjectUses::projects).unwrap_or_default())
    }

    /// Projects whose images went into recorded ones, and that were not asked about yet.
    fn used_by_records(
        &self,
        keys: &Keys,
        wanted: &BTreeSet<ProjectName>,
    ) -> BTreeSet<ProjectName> {
        let records = wanted
            .iter()
            .filter_map(|name| self.records.get(&keys.get(name)?.key));
        let used = records.filter_map(|record| match record {
            Lookup::Found(found) => Some(found.facts.uses.keys()),
            Lookup::Absent | Lookup::Unreadable { .. } => None,
        });
        used.flatten()
            .filter(|name| !wanted.contains(*name) && self.facts.projects.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Projects whose images matter and that were not asked about yet.
    fn used_by(
        &mut self,
        outcome: &Outcome,
        wanted: &BTreeSet<ProjectName>,
    ) -> Result<BTreeSet<ProjectName>, Failure> {
        self.fetch_dockerfiles(outcome)?;
        let mut more = BTreeSet::new();
        for (name, decision) in &outcome.decisions {
            match decision {
                Decision::Build(_) => more.extend(self.uses_of(name)?),
                Decision::Reuse(reused) => more.extend(reused.facts.uses.keys().cloned()),
                Decision::None(_) => {}
            }
        }
        more.retain(|name| !wanted.contains(name) && self.facts.projects.contains_key(name));
        Ok(more)
    }

    /// In a clone without blobs, the Dockerfiles that will be read are fetched in one batch.
    fn fetch_dockerfiles(&self, outcome: &Outcome) -> Result<(), Failure> {
        if !self.repository.is_partial() {
            return Ok(());
        }
        let built = outcome.decisions.iter().filter(|(name, decision)| {
            matches!(decision, Decision::Build(_)) && !self.uses.contains_key(*name)
        });
        let ids: Vec<_> = built
            .filter_map(|(name, _)| {
                let source = &self.facts.projects.get(name)?.dockerfile.as_ref()?.source;
                (source.entry.mode.is_file()).then_some(source.entry.id)
            })
            .collect();
        if !ids.is_empty() {
            self.repository.prefetch(&ids)?;
        }
        Ok(())
    }

    /// Images about to be used, or with `verify` all that are reused, which the registry no longer
    /// holds: their keys, to be distrusted.
    async fn images_gone(
        &mut self,
        keys: &Keys,
        outcome: &Outcome,
    ) -> Result<BTreeMap<Key, Reason>, Failure> {
        let mut about_to_be_used = BTreeSet::new();
        for (name, decision) in &outcome.decisions {
            if self.request.verify {
                about_to_be_used.insert(name.clone());
            } else if matches!(decision, Decision::Build(_)) {
                about_to_be_used.extend(self.uses_of(name)?);
            }
        }
        let asked: Vec<(&ProjectName, &Reused)> = about_to_be_used
            .iter()
            .filter_map(|name| match outcome.decisions.get(name)? {
                Decision::Reuse(reused) => Some((name, reused)),
                _ => None,
            })
            .filter(|(name, reused)| !self.present.contains(&((*name).clone(), reused.image)))
            .collect();
        let answers: Vec<(ProjectName, Digest, Place, bool)> = stream::iter(asked)
            .map(|(name, reused)| async {
                let client = self.bases.ledger(reused.place).client();
                let found = client
                    .digest_of(name.as_str(), &reused.image.to_string())
                    .await?;
                Ok::<_, Failure>((name.clone(), reused.image, reused.place, found.is_some()))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let mut gone = BTreeMap::new();
        for (name, image, place, is_there) in answers {
            if is_there {
                self.present.insert((name, image));
            } else if let Some(key) = keys.get(&name) {
                let image = self
                    .bases
                    .ledger(place)
                    .client()
                    .base()
                    .image(&name, &image);
                gone.insert(key.key, Reason::ImageGone { image });
            }
        }
        Ok(gone)
    }

    async fn finish(
        &mut self,
        keys: &Keys,
        outcome: Outcome,
        order: &[ProjectName],
    ) -> Result<Plan, Failure> {
        let unexplained: Vec<ProjectName> = outcome
            .decisions
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Build(None)))
            .map(|(name, _)| name.clone())
            .collect();
        let explainer = explain::Explainer {
            repository: self.repository,
            bases: self.bases,
            request: self.request,
            facts: self.facts,
            keys,
            tainted: &self.tainted,
        };
        let mut explained = explainer.explain(&unexplained).await?;
        let mut projects = BTreeMap::new();
        for (name, decision) in outcome.decisions {
            let Some(key) = keys.get(&name) else { continue };
            let known = match decision {
                Decision::Build(None) => explained.remove(&name),
                _ => None,
            };
            projects.insert(name.clone(), self.planned(&name, key, decision, known)?);
        }
        Ok(Plan {
            commit: self.request.commit,
            projects,
            taints: self.pending(keys, order),
        })
    }

    fn planned(
        &mut self,
        name: &ProjectName,
        key: &ProjectKey,
        decision: Decision,
        explained: Option<explain::Explanation>,
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
                    (None, Some(explained)) => {
                        (explained.reason, self.cache_from(name, explained.cache))
                    }
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
        let by_stages = project.is_some_and(|project| project.layer_cache == LayerCache::Stages);
        if let (true, Some(Ok(uses))) = (by_stages, self.uses.get(name)) {
            let stages = uses
                .dockerfile
                .stage_names()
                .filter(|stage| !stage.starts_with('_'));
            let tags = stages.filter_map(|stage| names::stage(key, stage));
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
    fn pending(&self, keys: &Keys, _order: &[ProjectName]) -> Vec<PendingTaint> {
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

/// The projects whose key rests on no taint, their own or a dependency's, and on no release tag.
fn untainted(facts: &CommitFacts, keys: &Keys) -> BTreeSet<ProjectName> {
    let mut clean = BTreeSet::new();
    for (project, dependencies) in facts.in_order() {
        let name = project.name();
        let own = keys.get(name).is_some_and(|key| key.chain.is_empty())
            && project.inputs.recipe.release_tag.is_none();
        if own
            && dependencies
                .iter()
                .all(|dependency| clean.contains(dependency))
        {
            clean.insert(name.clone());
        }
    }
    clean
}

/// The platform that images of a project must have: one of several is as good as the others.
pub(super) fn platform_of(facts: &CommitFacts, name: &ProjectName) -> Platform {
    let project = facts.manifest.projects.get(name);
    project
        .and_then(|project| project.platforms.first().cloned())
        .unwrap_or_default()
}
