//! The loop: keys, look-ups, decision, and again while the decision asks for more.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::adopt;
use super::basis::Basis;
use super::commit::CommitFacts;
use super::error::GatherError;
use super::request::{PlanRequest, check_names, directives, mark_work_tree};
use super::sealed::Sealed;
use super::uses::{ProjectUses, project_uses};
use crate::git::Repository;
use crate::key::{KeyInputs, ProjectKey, effective_keys};
use crate::ledger::{Bases, Known, TaintRecord};
use crate::model::{Digest, Key, ProjectName, Reason};
use crate::plan::{
    Candidate, Decision, Facts, Lookup, Outcome, Place, Plan, Rebuild, Reused, decide,
};
use crate::problem::{Failure, Problem};

/// How many requests for single facts are under way at once.
pub(super) const PARALLEL: usize = 32;

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
    let basis = Basis::find(repository, bases, request, &facts).await?;
    warnings.extend(basis.warnings.iter().cloned());
    let mut planner = Planner::new(repository, bases, request, &facts, rebuild, basis);
    let (keys, outcome) = planner.settle().await?;
    warnings.append(&mut planner.archived);
    let plan = planner.finish(&keys, outcome).await?;
    let uses = planner
        .uses
        .into_iter()
        .filter_map(|(name, uses)| Some((name, uses.ok()?)));
    let uses = uses.collect();
    Ok(Planning {
        facts,
        plan,
        keys,
        uses,
        warnings,
    })
}

/// The keys that a plan for a commit begins with: under the taints that stand and those that the
/// commit's message asks for, which come with them.
pub(super) async fn directed_keys(
    repository: &Repository,
    bases: &Bases,
    request: &PlanRequest,
    facts: &CommitFacts,
    rebuild: Rebuild,
    tainted: &BTreeSet<Key>,
) -> Result<(Keys, BTreeMap<Key, Reason>), Failure> {
    let basis = Basis {
        tainted: tainted.clone(),
        ..Basis::default()
    };
    let mut planner = Planner::new(repository, bases, request, facts, rebuild, basis);
    Ok((planner.keys().await?, planner.assumed))
}

/// The keys of projects by name.
pub type Keys = BTreeMap<ProjectName, ProjectKey>;

/// A plan in the making.
pub(super) struct Planner<'a> {
    pub(super) repository: &'a Repository,
    pub(super) bases: &'a Bases,
    pub(super) request: &'a PlanRequest,
    pub(super) facts: &'a CommitFacts,
    pub(super) rebuild: Rebuild,
    /// Keys with a taint in either base.
    pub(super) tainted: BTreeSet<Key>,
    /// The nearest sealed ancestor, for a plan of everything.
    pub(super) sealed: Option<Sealed>,
    /// Records that need not be asked for.
    pub(super) known: Known,
    /// Why projects are built under a key, and where layers come from, as it was found before.
    pub(super) explained: BTreeMap<ProjectName, (Key, Reason, Vec<String>)>,
    /// What those taints say, as far as a chain of this plan holds them.
    pub(super) taints: BTreeMap<Key, TaintRecord>,
    /// Taints that the plan itself comes to.
    pub(super) assumed: BTreeMap<Key, Reason>,
    pub(super) records: BTreeMap<Key, Lookup>,
    /// Images that may be taken over, by project, for the key that they were gathered for.
    pub(super) candidates: BTreeMap<ProjectName, Vec<Candidate>>,
    pub(super) uses: BTreeMap<ProjectName, Result<ProjectUses, Vec<Problem>>>,
    /// Images that the registry has said it holds.
    pub(super) present: BTreeSet<(ProjectName, Digest)>,
    /// Warnings of images that are gone because they were archived.
    pub(super) archived: Vec<Problem>,
}

impl<'a> Planner<'a> {
    fn new(
        repository: &'a Repository,
        bases: &'a Bases,
        request: &'a PlanRequest,
        facts: &'a CommitFacts,
        rebuild: Rebuild,
        basis: Basis,
    ) -> Self {
        Self {
            repository,
            bases,
            request,
            facts,
            rebuild,
            tainted: basis.tainted,
            sealed: basis.sealed,
            known: basis.known,
            explained: basis.explained,
            taints: BTreeMap::new(),
            assumed: basis.assumed,
            records: BTreeMap::new(),
            candidates: BTreeMap::new(),
            uses: BTreeMap::new(),
            present: BTreeSet::new(),
            archived: Vec::new(),
        }
    }

    /// Repeats until nothing that was found changes a key or asks for more. Each round either ends
    /// it, or adds a fact out of a finite set; the bound is against a registry that contradicts
    /// itself.
    async fn settle(&mut self) -> Result<(Keys, Outcome), Failure> {
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
                return Ok((keys, outcome));
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
            let found = self.bases.built_many(&wanted, &self.known).await?;
            self.records.extend(found);
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
    pub(super) fn uses_of(&mut self, name: &ProjectName) -> Result<BTreeSet<ProjectName>, Failure> {
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
                let client = self.bases.ledger(place).client();
                // A hint, no more: who may not ask goes without.
                let asked = client.is_archived(name.as_str(), &image).await;
                let image = client.base().image(&name, &image);
                if asked.unwrap_or(false) {
                    self.archived.push(archived(&name, &image));
                }
                gone.insert(key.key, Reason::ImageGone { image });
            }
        }
        Ok(gone)
    }
}

/// An image that could be had again without a build.
fn archived(name: &ProjectName, image: &str) -> Problem {
    let message = format!("the image is archived, and counts as gone: {image}");
    Problem::warning("image-archived", message)
        .project(name)
        .hint("restore it in Amazon ECR before a build, or let it be built anew")
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
