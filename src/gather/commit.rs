//! What a commit says of itself: its manifest, and each project's files in its tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::GatherError;
use super::files::Files;
use super::manifests::{LoadedManifest, Manifests};
use super::parallel::in_parallel;
use crate::dockerfile::Dockerfile;
use crate::git::{Commit, GitError, Repository, Snapshot};
use crate::graph::Graph;
use crate::key::{FactsError, Located, Matcher, ProjectFacts, project_facts};
use crate::manifest::{Manifest, Project, Raw};
use crate::model::{CommitId, Entry, Mode, ObjectId, ProjectName, RepoPath, Resolved, Tree};
use crate::problem::{Class, Diagnose as _, Failure, Location, Problem};

/// The build argument that makes a release tag part of the key.
pub const RELEASE_TAG_ARGUMENT: &str = "COMMIT_TAG";

/// What is asked of each commit alike.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// The manifest's path; `None` for the first of [`super::MANIFEST_NAMES`] that is there.
    pub manifest: Option<RepoPath>,
    /// The release tag.
    pub tag: Option<String>,
    /// The manifests that were read already.
    pub manifests: Manifests,
}

/// A commit with everything that keys are computed from.
pub struct CommitFacts {
    /// The commit.
    pub commit: Commit,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// What the manifest's check warned of.
    pub warnings: Arc<[Problem]>,
    /// The graph of all projects.
    pub graph: Graph,
    /// The projects that were asked for, with their dependencies.
    pub projects: BTreeMap<ProjectName, ProjectFacts>,
    /// Their names, dependencies first.
    pub order: Vec<ProjectName>,
}

impl CommitFacts {
    /// Reads a commit. `only` limits the projects to these and what they depend on; a name that
    /// the manifest lacks is left out. `fetch` says whether blobs that a partial clone lacks may
    /// be fetched: those of the commit that is planned are, those of its ancestors never.
    pub fn load(
        repository: &Repository,
        id: CommitId,
        options: &CommitOptions,
        only: Option<&BTreeSet<ProjectName>>,
        fetch: bool,
    ) -> Result<Self, Failure> {
        let (facts, problems) = Self::read(repository, id, options, only, fetch)?;
        if problems.is_empty() {
            Ok(facts)
        } else {
            Err(usage(problems))
        }
    }

    /// Reads an ancestor for what it can tell of these projects: one that is wrong there is left
    /// out, with what depends on it, and says nothing against the others. Comes with what is
    /// wrong.
    pub(super) fn load_ancestor(
        repository: &Repository,
        id: CommitId,
        options: &CommitOptions,
        only: &BTreeSet<ProjectName>,
    ) -> Result<(Self, Vec<Problem>), Failure> {
        let (mut facts, problems) = Self::read(repository, id, options, Some(only), false)?;
        facts.drop_unknown();
        Ok((facts, problems))
    }

    fn read(
        repository: &Repository,
        id: CommitId,
        options: &CommitOptions,
        only: Option<&BTreeSet<ProjectName>>,
        fetch: bool,
    ) -> Result<(Self, Vec<Problem>), Failure> {
        let commit = repository.commit(id)?;
        let source = Source {
            repository,
            snapshot: repository.snapshot_of_tree(commit.tree)?,
            fetch,
        };
        let loaded = options
            .manifests
            .load(&source, options.manifest.as_ref(), id)?;
        let manifest = loaded.manifest;
        let graph = Graph::new(&manifest);
        let wanted = only.map(|names| {
            let known: Vec<&ProjectName> = names
                .iter()
                .filter(|name| manifest.projects.contains_key(*name))
                .collect();
            graph.closure(known)
        });
        let order: Vec<ProjectName> = graph
            .topological()
            .into_iter()
            .filter(|name| wanted.as_ref().is_none_or(|wanted| wanted.contains(name)))
            .collect();
        let (projects, problems) =
            source.projects(&loaded.raw, &manifest, &order, options.tag.as_deref());
        let warnings = loaded.warnings;
        let facts = Self {
            commit,
            manifest,
            warnings,
            graph,
            projects,
            order,
        };
        Ok((facts, problems))
    }

    /// Leaves out the projects that nothing could be told of, with all that depend on them.
    fn drop_unknown(&mut self) {
        let mut known = BTreeSet::new();
        for name in &self.order {
            let dependencies = self.graph.dependencies(name);
            if self.projects.contains_key(name) && dependencies.is_subset(&known) {
                known.insert(name.clone());
            }
        }
        self.order.retain(|name| known.contains(name));
        self.projects.retain(|name, _| known.contains(name));
    }

    /// Whether the manifest has a project of that name.
    ///
    /// # Errors
    ///
    /// It has none: [`GatherError::UnknownProject`], with the name that was meant, perhaps.
    pub fn require(&self, name: &ProjectName) -> Result<(), GatherError> {
        GatherError::require_project(name.as_str(), &self.manifest, self.commit.id).map(|_| ())
    }

    /// The projects in order, each with its dependencies, as [`crate::key::effective_keys`] takes
    /// them.
    pub fn in_order(&self) -> impl Iterator<Item = (&ProjectFacts, &[ProjectName])> {
        self.order.iter().filter_map(|name| {
            let project = self.manifest.projects.get(name)?;
            Some((self.projects.get(name)?, project.dependencies.as_slice()))
        })
    }
}

/// The manifest of a commit.
pub fn load_manifest(
    repository: &Repository,
    id: CommitId,
    options: &CommitOptions,
) -> Result<LoadedManifest, Failure> {
    let source = Source::of_commit(repository, id, true)?;
    options
        .manifests
        .load(&source, options.manifest.as_ref(), id)
}

/// Reads a file that was found in the tree, or in one of its submodules. `None` if a submodule
/// turns out not to hold it.
pub fn read_located(
    repository: &Repository,
    located: &Located,
) -> Result<Option<Vec<u8>>, GitError> {
    let source = &located.source;
    if source.entry.mode != Mode::Submodule {
        return repository.blob(source.entry.id).map(Some);
    }
    let submodule = repository.submodule(&source.path)?;
    let inside = located.path.relative_to(&source.path).unwrap_or_default();
    let snapshot = submodule.snapshot(CommitId(source.entry.id))?;
    let found = snapshot.resolve(&RepoPath::from_git(inside))?.entry;
    found
        .filter(|entry| entry.mode.is_file())
        .map(|entry| submodule.blob(entry.id))
        .transpose()
}

/// A tree, with what it takes to read the few blobs that a plan needs.
pub(super) struct Source<'r> {
    repository: &'r Repository,
    snapshot: Snapshot<'r>,
    fetch: bool,
}

impl<'r> Source<'r> {
    /// The tree of a commit; `fetch` says whether blobs that a partial clone lacks are fetched.
    pub(super) fn of_commit(
        repository: &'r Repository,
        id: CommitId,
        fetch: bool,
    ) -> Result<Self, GitError> {
        let commit = repository.commit(id)?;
        Ok(Self {
            repository,
            snapshot: repository.snapshot_of_tree(commit.tree)?,
            fetch,
        })
    }

    fn projects(
        &self,
        raw: &Raw,
        manifest: &Manifest,
        order: &[ProjectName],
        tag: Option<&str>,
    ) -> (BTreeMap<ProjectName, ProjectFacts>, Vec<Problem>) {
        let matcher = Matcher::new(self, &manifest.rebuild_all);
        let projects: Vec<&Project> = order
            .iter()
            .filter_map(|name| manifest.projects.get(name))
            .collect();
        if tag.is_some() && self.fetch && self.repository.is_partial() {
            self.prefetch_dockerfiles(&matcher, manifest, &projects, tag);
        }
        let declares_tag = |located: &Located| self.declares_tag(located);
        let facts = in_parallel(&projects, |project| {
            let facts = project_facts(&matcher, manifest, project, tag, &declares_tag);
            (project.name.clone(), facts)
        });
        let mut found = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, facts) in facts {
            match facts {
                Ok(facts) => {
                    found.insert(name, facts);
                }
                Err(error) => {
                    let place = raw.place(Some(&name), "dockerfile", None);
                    problems.extend(facts_problems(&error, &place, &name));
                }
            }
        }
        (found, problems)
    }

    /// Fetches every Dockerfile in one batch. What cannot be fetched is told when it is read.
    fn prefetch_dockerfiles(
        &self,
        matcher: &Matcher<'_, Self>,
        manifest: &Manifest,
        projects: &[&Project],
        tag: Option<&str>,
    ) {
        let wanted = Mutex::new(Vec::new());
        let note = |located: &Located| {
            if located.source.entry.mode != Mode::Submodule {
                let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                wanted.push(located.source.entry.id);
            }
            Ok(false)
        };
        in_parallel(projects, |project| {
            let _ = project_facts(matcher, manifest, project, tag, &note);
        });
        let wanted = wanted.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = self.repository.prefetch(&wanted);
    }

    /// Whether a Dockerfile declares the release tag. One that cannot be parsed counts as if it
    /// did: its key then holds a tag too much, which rebuilds at worst.
    fn declares_tag(&self, located: &Located) -> Result<bool, GitError> {
        let bytes = self.located(located)?.unwrap_or_default();
        Ok(
            Dockerfile::parse(&located.path, &bytes).map_or(true, |dockerfile| {
                dockerfile.declares_arg(RELEASE_TAG_ARGUMENT)
            }),
        )
    }
}

/// The tree as the key sees it, links fetched where needed.
impl Tree for Source<'_> {
    type Error = GitError;

    fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        self.snapshot.entry(path)
    }

    /// Follows links, fetching the blobs of links that a partial clone lacks.
    fn resolve(&self, path: &RepoPath) -> Result<Resolved, GitError> {
        loop {
            match self.snapshot.resolve(path) {
                Err(GitError::Missing { id, .. })
                    if self.fetch
                        && self.repository.is_partial()
                        && !self.repository.has_object(id) =>
                {
                    self.repository.prefetch(&[id])?;
                    if !self.repository.has_object(id) {
                        return self.snapshot.resolve(path);
                    }
                }
                other => return other,
            }
        }
    }

    fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        self.snapshot.walk(directory, visit)
    }

    fn walk_prefix(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        self.snapshot.walk_prefix(prefix, visit)
    }
}

impl Files for Source<'_> {
    /// Reads blobs; those that a partial clone lacks are fetched in one batch first.
    fn blobs(&self, ids: &[ObjectId]) -> Result<Vec<Vec<u8>>, GitError> {
        if self.fetch && self.repository.is_partial() {
            self.repository.prefetch(ids)?;
        }
        ids.iter().map(|id| self.repository.blob(*id)).collect()
    }

    fn located(&self, located: &Located) -> Result<Option<Vec<u8>>, GitError> {
        if self.fetch
            && self.repository.is_partial()
            && located.source.entry.mode != Mode::Submodule
        {
            self.repository.prefetch(&[located.source.entry.id])?;
        }
        read_located(self.repository, located)
    }
}

fn usage(problems: Vec<Problem>) -> Failure {
    Failure {
        class: Class::Usage,
        problems,
    }
}

/// What keeps a project's facts from being told, as problems; `place` is its `dockerfile`.
pub(super) fn facts_problems(
    error: &FactsError<GitError>,
    place: &Location,
    project: &ProjectName,
) -> Vec<Problem> {
    let problem = |code| {
        Problem::error(code, error.to_string())
            .project(project)
            .at(place.clone())
    };
    match error {
        FactsError::Tree(error) => {
            let problems = error.problems().into_iter();
            problems.map(|problem| problem.project(project)).collect()
        }
        FactsError::Outside { .. } => {
            vec![problem("path-leaves-repository").hint(
                "the Dockerfile must lie in the repository, or nobody can tell what it holds",
            )]
        }
        FactsError::Ambiguous { .. } => vec![problem("ambiguous-dockerfile").hint(
            "it may be relative to buildDir or to projectDir: write it so that one is meant",
        )],
    }
}
