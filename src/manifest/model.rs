//! The checked manifest: what the rest of the program sees. Every name is valid, every dependency
//! exists, every pattern parses, there is no cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Task};
use crate::model::{Entry, Platform, ProjectName, RegistryApi, RepoPath, TaskName};

/// Which of the two shapes a manifest was written in; they differ in defaults only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object of projects, as Aztec's build system reads it.
    Aztec,
    /// The one with `version`.
    Full,
}

/// A manifest without errors.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where it stands in the repository.
    pub path: RepoPath,
    /// The shape it was written in.
    pub shape: Shape,
    /// `registry`: the base that holds images and ledger, as written.
    pub registry: Option<String>,
    /// `registry.kind`, `.region`, `.account`.
    pub registry_api: RegistryApi,
    /// `upstream`: a base that is read after the registry and never written, as written.
    pub upstream: Option<String>,
    /// `upstream.kind`, `.region`, `.account`.
    pub upstream_api: RegistryApi,
    /// `imageAliases`: prefixes that stand for the registry in a Dockerfile's image names.
    pub image_aliases: Vec<String>,
    /// `rebuildAll`: patterns that count for every project.
    pub rebuild_all: Vec<Pattern>,
    /// `adopt`: whether images known only by `cache-<commit>` tags may be taken over.
    pub adopt: bool,
    /// `expect.absent`: projects that may have no Dockerfile or no sources.
    pub expect_absent: BTreeSet<ProjectName>,
    /// `sequences`: lists of tasks, by name.
    pub sequences: BTreeMap<TaskName, Vec<TaskName>>,
    /// All projects, by name.
    pub projects: BTreeMap<ProjectName, Project>,
}

/// A project, defaults filled in.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its name, also the name of its repository below the base.
    pub name: ProjectName,
    /// `buildDir`: the build context, before symbolic links are resolved.
    pub build_dir: RepoPath,
    /// `projectDir`: the directory whose files are the project's; default `buildDir`.
    pub project_dir: RepoPath,
    /// `dockerfile` as written, relative to `buildDir` or `projectDir` (both are tried at the
    /// commit, and two different files are an error); default `Dockerfile`.
    pub dockerfile: String,
    /// `rebuildPatterns`: what of the tree belongs to the project, without `rebuildAll`'s. `None`
    /// means the default, the directory that `project_dir` resolves to.
    pub patterns: Option<Vec<Pattern>>,
    /// The file that the patterns were read from, if they were, before links are resolved.
    pub pattern_file: Option<RepoPath>,
    /// `ignorePatterns`: what of `patterns` does not belong to it. They do not touch `rebuildAll`.
    pub ignore_patterns: Vec<Pattern>,
    /// `dependencies`: projects whose change rebuilds this one, sorted, each once.
    pub dependencies: Vec<ProjectName>,
    /// `runDependencies`: projects whose images its tasks run beside, sorted, each once.
    pub run_dependencies: Vec<ProjectName>,
    /// `target`: the stage to build.
    pub target: Option<String>,
    /// `buildArgs`: literal build arguments.
    pub build_args: BTreeMap<String, String>,
    /// `secrets`: ids of build secrets; the caller maps them to values.
    pub secrets: BTreeSet<String>,
    /// `platforms`, sorted, each once, at least one; default `linux/amd64`.
    pub platforms: Vec<Platform>,
    /// `hermetic`: the context holds only what the key covers.
    pub hermetic: bool,
    /// `layerCache`.
    pub layer_cache: LayerCache,
    /// `tasks`, those of the manifest's top that it shares filled in. The executables that are
    /// tasks by convention are in the commit, not here.
    pub tasks: BTreeMap<TaskName, Task>,
    /// `epoch`: raised when every image of the project is to be distrusted.
    pub epoch: u64,
    /// Where the project's name stands in the manifest: 1-based line and column.
    pub position: (usize, usize),
}

/// Where layer cache comes from and goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerCache {
    /// No layer cache in the registry.
    None,
    /// Inline in the image itself.
    #[default]
    Final,
    /// Inline, and each named stage pushed too.
    Stages,
}

/// Content that a manifest needs from the tree beside its own text: a file by path, after its
/// symbolic links were followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Mode and blob.
    pub entry: Entry,
    /// The blob's bytes.
    pub bytes: Vec<u8>,
}
