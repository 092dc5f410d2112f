//! Why something is built: the nearest ancestor that was built, and what changed since.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::CommitFacts;
use super::planner::PARALLEL;
use super::request::PlanRequest;
use super::sealed::Sealed;
use crate::git::{History, HistoryEnd, Repository};
use crate::key::{ProjectKey, effective_keys};
use crate::ledger::{Bases, Known, names};
use crate::manifest::LayerCache;
use crate::model::{CommitId, Key, ProjectName, Reason};
use crate::plan::{Comparison, Found, Lookup, Refusal, Side};
use crate::problem::{Class, Failure, Problem};

pub(super) struct Explainer<'a> {
    pub(super) repository: &'a Repository,
    pub(super) bases: &'a Bases,
    pub(super) request: &'a PlanRequest,
    pub(super) facts: &'a CommitFacts,
    pub(super) keys: &'a BTreeMap<ProjectName, ProjectKey>,
    pub(super) tainted: &'a BTreeSet<Key>,
    /// Why images with the right inputs are not taken over, by the commit of their tag.
    pub(super) refusals: &'a BTreeMap<(ProjectName, CommitId), Refusal>,
    /// The nearest sealed ancestor, where everything had been built.
    pub(super) sealed: Option<&'a Sealed>,
    /// Its records.
    pub(super) known: &'a Known,
}

/// What history says about a project that is built.
#[derive(Clone)]
pub(super) struct Explanation {
    pub(super) reason: Reason,
    /// A recorded image to take layers from, with its key.
    pub(super) cache: Option<(Key, Found)>,
}

impl Explanation {
    const fn without_cache(reason: Reason) -> Self {
        Self {
            reason,
            cache: None,
        }
    }
}

impl Explainer<'_> {
    /// Explains why each of these projects is built.
    pub(super) async fn explain(
        &self,
        projects: &[ProjectName],
    ) -> Result<BTreeMap<ProjectName, Explanation>, Failure> {
        if projects.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut by_ancestor: BTreeMap<CommitId, BTreeSet<ProjectName>> = BTreeMap::new();
        let mut open = Vec::new();
        for name in projects {
            match self.sealed {
                // It was built there or before: nobody needs to be asked.
                Some(sealed) if sealed.projects.contains(name) => {
                    let names = by_ancestor.entry(sealed.commit).or_default();
                    names.insert(name.clone());
                }
                _ => open.push(name),
            }
        }
        let built: BTreeMap<ProjectName, BTreeSet<CommitId>> = stream::iter(open)
            .map(|name| async { Ok::<_, Failure>((name.clone(), self.built_at(name).await?)) })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let mut explained = BTreeMap::new();
        let history = self.history(&built)?;
        for (name, commits) in built {
            let ancestor = history.as_ref().and_then(|history| {
                history
                    .commits
                    .iter()
                    .find(|commit| commits.contains(&commit.id))
            });
            if let Some(ancestor) = ancestor {
                by_ancestor.entry(ancestor.id).or_default().insert(name);
            } else {
                let reason = not_found(history.as_ref(), self.request.history);
                explained.insert(name, Explanation::without_cache(reason));
            }
        }
        for (ancestor, names) in by_ancestor {
            explained.extend(self.compare(ancestor, &names).await?);
        }
        Ok(explained)
    }

    /// The commits that built images of a project, by the aliases that builds leave.
    async fn built_at(&self, name: &ProjectName) -> Result<BTreeSet<CommitId>, Failure> {
        let mut commits = BTreeSet::new();
        for (_, ledger) in self.bases.places() {
            let tags = ledger.client().tags(name.as_str()).await?;
            commits.extend(tags.iter().filter_map(|tag| names::alias_commit(tag)));
        }
        Ok(commits)
    }

    /// The history, if anything was ever built.
    fn history(
        &self,
        built: &BTreeMap<ProjectName, BTreeSet<CommitId>>,
    ) -> Result<Option<History>, Failure> {
        if built.values().all(BTreeSet::is_empty) {
            return Ok(None);
        }
        Ok(Some(
            self.repository
                .history(self.request.commit, self.request.history)?,
        ))
    }

    async fn compare(
        &self,
        ancestor: CommitId,
        names: &BTreeSet<ProjectName>,
    ) -> Result<BTreeMap<ProjectName, Explanation>, Failure> {
        let options = &self.request.options;
        let before = CommitFacts::load_ancestor(self.repository, ancestor, options, names);
        let (before, problems) = match before {
            Ok(before) => before,
            // An ancestor that cannot be read explains nothing; what is built is built.
            Err(failure) if failure.class == Class::Usage => {
                let explanation = unavailable(ancestor, failure.problems.first());
                let explain = |name: &ProjectName| (name.clone(), explanation.clone());
                return Ok(names.iter().map(explain).collect());
            }
            Err(failure) => return Err(failure),
        };
        let changes = self
            .repository
            .changes(before.commit.tree, self.facts.commit.tree)?;
        let earlier = effective_keys(before.in_order(), |_, _, key| self.tainted.contains(&key));
        let tainted = self.keys.iter().filter(|(_, key)| !key.chain.is_empty());
        let tainted: BTreeSet<ProjectName> = tainted.map(|(name, _)| name.clone()).collect();
        let then = Side {
            manifest: &before.manifest,
            projects: &before.projects,
        };
        let now = Side {
            manifest: &self.facts.manifest,
            projects: &self.facts.projects,
        };
        let mut comparison = Comparison::new(then, now, &changes, tainted);
        let mut explained = BTreeMap::new();
        for name in names {
            if let Some(explanation) = faulty(name, &before, &problems) {
                explained.insert(name.clone(), explanation);
                continue;
            }
            let mut reason = comparison.inputs_changed(name, ancestor);
            let key = earlier.get(name).map(|key| key.key);
            if key.is_some() && key == self.keys.get(name).map(|key| key.key) {
                self.tell_refusal(name, &mut reason);
            }
            let cache = match key {
                Some(key) => self.cache(name, key).await?,
                None => None,
            };
            explained.insert(name.clone(), Explanation { reason, cache });
        }
        Ok(explained)
    }

    /// The key is that of the ancestor: where nothing else tells it, says why its image does not
    /// do.
    fn tell_refusal(&self, name: &ProjectName, reason: &mut Reason) {
        if let Reason::InputsChanged {
            ancestor,
            files_total: 0,
            fields,
            refused,
            ..
        } = reason
            && fields.is_empty()
        {
            let refusal = self.refusals.get(&(name.clone(), *ancestor));
            *refused = Some(refusal.unwrap_or(&Refusal::NoRecord).to_string());
        }
    }

    /// The recorded image of the ancestor: nothing that is not recorded is ever built upon.
    async fn cache(&self, name: &ProjectName, key: Key) -> Result<Option<(Key, Found)>, Failure> {
        let project = self.facts.manifest.projects.get(name);
        if project.is_none_or(|project| project.layer_cache == LayerCache::None) {
            return Ok(None);
        }
        let wanted = BTreeMap::from([(key, name.clone())]);
        let mut found = self.bases.built_many(&wanted, self.known).await?;
        match found.remove(&key) {
            Some(Lookup::Found(found)) => Ok(Some((key, found))),
            Some(Lookup::Absent | Lookup::Unreadable { .. }) | None => Ok(None),
        }
    }
}

/// What is said of a project that the ancestor's manifest has, and that cannot be compared: it is
/// wrong there, or a dependency is.
fn faulty(name: &ProjectName, before: &CommitFacts, problems: &[Problem]) -> Option<Explanation> {
    if !before.manifest.projects.contains_key(name) || before.projects.contains_key(name) {
        return None;
    }
    let closure = before.graph.closure([name]);
    let mut of_it = problems.iter().filter(|problem| {
        let project = problem.project.as_deref();
        project.is_some_and(|project| closure.contains(project))
    });
    Some(unavailable(before.commit.id, of_it.next()))
}

fn unavailable(ancestor: CommitId, problem: Option<&Problem>) -> Explanation {
    let message = problem.map(|problem| problem.message.as_str());
    let missing = format!("at {}: {}", ancestor.short(), message.unwrap_or_default());
    Explanation::without_cache(Reason::HistoryUnavailable { missing })
}

fn not_found(history: Option<&History>, limit: usize) -> Reason {
    match history {
        None => Reason::NeverBuilt {
            searched: 0,
            limit_reached: false,
        },
        Some(history) => match history.end {
            HistoryEnd::Missing { commit } => Reason::HistoryUnavailable {
                missing: format!("the parents of {} are not in this clone", commit.short()),
            },
            HistoryEnd::Root | HistoryEnd::Limit => Reason::NeverBuilt {
                searched: history.commits.len(),
                limit_reached: history.commits.len() >= limit && history.end == HistoryEnd::Limit,
            },
        },
    }
}
