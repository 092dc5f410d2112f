//! A project commit by commit: its key, what stands for it, and the tags that belong to it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::{CommitFacts, CommitOptions, Source};
use super::error::GatherError;
use super::planner::{PARALLEL, directed_keys};
use super::request::{PlanRequest, directives};
use crate::git::{Commit, GitError, History, Repository};
use crate::key::{ProjectKey, effective_keys};
use crate::ledger::{Bases, FailedRecord, Known, WrittenTaint, names};
use crate::model::{CommitId, Key, ProjectName, Reason};
use crate::plan::{Lookup, Place, Rebuild};
use crate::problem::{Class, Failure, Problem};

/// Which commits are looked at.
#[derive(Clone, Debug)]
pub struct HistoryRequest {
    /// The project.
    pub project: ProjectName,
    /// Where the history begins.
    pub commit: CommitId,
    /// How commits are read.
    pub options: CommitOptions,
    /// How many commits.
    pub number: usize,
    /// Whether only first parents are followed.
    pub first_parent: bool,
}

/// A project at one commit.
pub struct HistoryLine {
    /// The commit.
    pub commit: Commit,
    /// The effective key; `None` where there is none.
    pub key: Option<Key>,
    /// What stands.
    pub stand: Stand,
    /// The last taint of the key's chain, if it has one.
    pub taint: Option<WrittenTaint>,
    /// The tags in the project's repository that belong to the commit or its key, by base.
    pub tags: Vec<(Place, String)>,
}

/// What stands for a project at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It was built at this commit.
    Built,
    /// The image of another commit stands.
    Reused {
        /// That commit.
        commit: CommitId,
    },
    /// An image was adopted.
    Adopted {
        /// The commit of its tag.
        commit: CommitId,
    },
    /// No image; the last build failed.
    Failed(FailedRecord),
    /// No image, since the one that stood is tainted.
    Tainted,
    /// No image: the commit's message asks for one of its own, and it was not built yet.
    Forced {
        /// How it is asked for.
        why: String,
    },
    /// Neither a record nor a failure.
    NotRecorded,
    /// Something that is no record.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The commit has nothing to build for it.
    Nothing(Reason),
    /// The commit's manifest does not have the project.
    NoProject,
    /// The commit's manifest, or what it needs, cannot be read.
    NoManifest {
        /// Why.
        why: String,
    },
}

impl HistoryRequest {
    /// Asks, before any registry is asked, whether a commit that is looked at may have the
    /// project. A commit whose manifest cannot be read may.
    ///
    /// # Errors
    ///
    /// [`GatherError::UnknownProject`] where none has it.
    pub fn require_project(&self, repository: &Repository) -> Result<(), Failure> {
        let mut nearest = None;
        for commit in self.commits(repository)?.commits {
            let fetch = commit.id == self.commit;
            let source = Source::of_commit(repository, commit.id, fetch)?;
            let manifest = match self.options.manifests.load(
                &source,
                self.options.manifest.as_ref(),
                commit.id,
            ) {
                Ok(loaded) => loaded.manifest,
                Err(failure) if failure.class == Class::Usage => return Ok(()),
                Err(failure) => return Err(failure),
            };
            match GatherError::require_project(self.project.as_str(), &manifest, commit.id) {
                Ok(_) => return Ok(()),
                Err(GatherError::UnknownProject { suggestion, .. }) => {
                    nearest = nearest.or(suggestion);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(GatherError::UnknownProject {
            name: self.project.to_string(),
            commit: self.commit,
            suggestion: nearest,
        }
        .into())
    }

    /// What a plan for a commit would be asked.
    fn plan(&self, commit: CommitId) -> PlanRequest {
        PlanRequest {
            commit,
            options: self.options.clone(),
            projects: Some([self.project.clone()].into()),
            force: BTreeSet::new(),
            history: 0,
            verify: false,
            by: String::new(),
            work_tree_of: None,
            carried: None,
        }
    }

    fn commits(&self, repository: &Repository) -> Result<History, GitError> {
        if self.first_parent {
            repository.first_parents(self.commit, self.number)
        } else {
            repository.history(self.commit, self.number)
        }
    }
}

/// The project's history, newest commit first.
pub async fn history(
    repository: &Repository,
    bases: &Bases,
    request: &HistoryRequest,
) -> Result<Vec<HistoryLine>, Failure> {
    let tainted = bases.tainted_keys().await?;
    let mut commits = Vec::new();
    for commit in request.commits(repository)?.commits {
        let at = at_commit(repository, bases, request, commit.id, &tainted).await?;
        commits.push((repository.commit(commit.id)?, at));
    }
    // Stable: commits of one time stay in the order of their distance.
    commits.sort_by_key(|(commit, _)| std::cmp::Reverse(commit.time));
    let ledger = Answers::ask(bases, request, &commits).await?;
    Ok(commits
        .into_iter()
        .map(|(commit, at)| ledger.line(commit, at))
        .collect())
}

/// What a commit says of the project, before records are asked for.
enum At {
    Key(Box<AtKey>),
    Stand(Stand),
}

/// A project's key at a commit, as a plan for that commit has it.
struct AtKey {
    key: ProjectKey,
    /// The last taint of its chain that stands.
    taint: Option<Key>,
    /// Why a build at the commit writes one more.
    forced: Option<String>,
}

async fn at_commit(
    repository: &Repository,
    bases: &Bases,
    request: &HistoryRequest,
    commit: CommitId,
    tainted: &BTreeSet<Key>,
) -> Result<At, Failure> {
    let only = BTreeSet::from([request.project.clone()]);
    let fetch = commit == request.commit;
    let facts = match CommitFacts::load(repository, commit, &request.options, Some(&only), fetch) {
        Ok(facts) => facts,
        Err(failure) if failure.class == Class::Usage => {
            let why = failure.problems.first().map(what_and_where);
            let why = why.unwrap_or_default();
            return Ok(At::Stand(Stand::NoManifest { why }));
        }
        Err(failure) => return Err(failure),
    };
    let (rebuild, _) = directives(repository, &facts)?;
    let (mut keys, asked) = if rebuild == Rebuild::default() {
        let keys = effective_keys(facts.in_order(), |_, _, key| tainted.contains(&key));
        (keys, BTreeMap::new())
    } else {
        let plan = request.plan(commit);
        directed_keys(repository, bases, &plan, &facts, rebuild, tainted).await?
    };
    let project = facts.projects.get(&request.project);
    Ok(match (project, keys.remove(&request.project)) {
        (Some(project), _) if project.dockerfile.is_none() => {
            At::Stand(Stand::Nothing(Reason::NoDockerfile))
        }
        (Some(project), _) if !project.has_sources => At::Stand(Stand::Nothing(Reason::NoSources)),
        (_, Some(key)) => {
            let mut chain = key.chain.iter().rev();
            let taint = chain.find(|key| tainted.contains(key)).copied();
            let forced = key.chain.iter().find_map(|key| match asked.get(key) {
                Some(Reason::Forced { why, .. }) => Some(why.clone()),
                _ => None,
            });
            At::Key(Box::new(AtKey { key, taint, forced }))
        }
        (_, None) => At::Stand(Stand::NoProject),
    })
}

fn what_and_where(problem: &Problem) -> String {
    match &problem.location {
        Some(location) => format!("{location}: {}", problem.message),
        None => problem.message.clone(),
    }
}

/// What the registries said about all these commits.
struct Answers {
    tags: Vec<(Place, BTreeSet<String>)>,
    records: BTreeMap<Key, Lookup>,
    failures: BTreeMap<Key, FailedRecord>,
    taints: BTreeMap<Key, WrittenTaint>,
}

impl Answers {
    async fn ask(
        bases: &Bases,
        request: &HistoryRequest,
        commits: &[(Commit, At)],
    ) -> Result<Self, Failure> {
        let keys = || {
            commits.iter().filter_map(|(commit, at)| match at {
                At::Key(at) => Some((commit.id, at)),
                At::Stand(_) => None,
            })
        };
        let project = &request.project;
        let wanted = keys()
            .map(|(_, at)| (at.key.key, project.clone()))
            .collect();
        let records = bases.built_many(&wanted, &Known::default()).await?;
        let absent = wanted
            .keys()
            .filter(|key| records.get(key) == Some(&Lookup::Absent));
        let failures: Vec<_> = stream::iter(absent)
            .map(|key| async { Ok::<_, Failure>((*key, bases.failed(*key, project).await?)) })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let failures = failures
            .into_iter()
            .filter_map(|(key, failed)| Some((key, failed?.record)))
            .collect();
        let mut taints = BTreeMap::new();
        for (commit, at) in keys() {
            if let Some(tainted) = at.taint
                && !taints.contains_key(&tainted)
            {
                taints.insert(tainted, bases.written_taint(tainted, commit).await?);
            }
        }
        let mut tags = Vec::new();
        for (place, ledger) in bases.places() {
            let listed = ledger.client().tags(project.as_str()).await?;
            tags.push((place, listed.into_iter().collect()));
        }
        Ok(Self {
            tags,
            records,
            failures,
            taints,
        })
    }

    fn line(&self, commit: Commit, at: At) -> HistoryLine {
        let mut wanted = vec![names::alias(commit.id)];
        let (key, stand, taint) = match at {
            At::Stand(stand) => (None, stand, None),
            At::Key(at) => {
                let key = &at.key;
                wanted.push(names::image(key.key));
                wanted.extend(key.chain.iter().rev().map(|key| names::image(*key)));
                let taint = at.taint.and_then(|tainted| self.taints.get(&tainted));
                let stand = match at.forced {
                    Some(why) => Stand::Forced { why },
                    None => self.stand(commit.id, key),
                };
                (Some(key.key), stand, taint.cloned())
            }
        };
        let tags = self.tags.iter().flat_map(|(place, listed)| {
            let there = wanted.iter().filter(|tag| listed.contains(*tag));
            there.map(|tag| (*place, tag.clone()))
        });
        HistoryLine {
            tags: tags.collect(),
            commit,
            key,
            stand,
            taint,
        }
    }

    fn stand(&self, commit: CommitId, key: &ProjectKey) -> Stand {
        match self.records.get(&key.key) {
            Some(Lookup::Found(found)) => {
                let recorded = found.facts.commit;
                if found.facts.adopted {
                    Stand::Adopted { commit: recorded }
                } else if recorded == commit {
                    Stand::Built
                } else {
                    Stand::Reused { commit: recorded }
                }
            }
            Some(Lookup::Unreadable { why }) => Stand::Unreadable { why: why.clone() },
            Some(Lookup::Absent) | None => match self.failures.get(&key.key) {
                Some(failed) => Stand::Failed(failed.clone()),
                None if key.chain.is_empty() => Stand::NotRecorded,
                None => Stand::Tainted,
            },
        }
    }
}
