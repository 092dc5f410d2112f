//! One project at one commit: its Dockerfile, ignore file and sources found in the tree.

use std::collections::{BTreeMap, BTreeSet};

use super::{KeyInputs, Matcher, OwnHash, Recipe, Source};
use crate::manifest::{Manifest, Pattern, Project};
use crate::model::{Key, Mode, ProjectName, RepoPath, Resolved, Tree};

/// A project as it stands at a commit: the inputs of its key but for its dependencies' keys, and
/// what building and explaining it need to know.
#[derive(Clone, Debug)]
pub struct ProjectFacts {
    /// The inputs, with no dependencies filled in.
    pub inputs: KeyInputs,
    /// Their hash, to be finished with the dependencies' keys.
    pub own: OwnHash,
    /// The project's own patterns, the default filled in.
    pub patterns: Vec<Pattern>,
    /// Whether the project's own patterns match anything.
    pub has_sources: bool,
    /// Where the Dockerfile is, if there is one.
    pub dockerfile: Option<Located>,
    /// Where the ignore file in force is, if there is one.
    pub ignore_file: Option<Located>,
}

/// A file found in the tree, or inside one of its submodules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Links followed; for a file inside a submodule, the path through it.
    pub path: RepoPath,
    /// What counts for the key: the file itself, or the submodule that it lies in.
    pub source: Source,
}

/// Why a project's facts could not be told.
#[derive(Debug, thiserror::Error)]
pub enum FactsError<E> {
    /// The tree could not be read, or a link leads nowhere good.
    #[error(transparent)]
    Tree(E),
    /// The name of the Dockerfile leads out of the repository.
    #[error("the Dockerfile '{dockerfile}' lies outside the repository")]
    Outside {
        /// The manifest's `dockerfile`.
        dockerfile: String,
    },
    /// Two different files answer to `dockerfile`.
    #[error("'{dockerfile}' names two files: {first} and {second}")]
    Ambiguous {
        /// The manifest's `dockerfile`.
        dockerfile: String,
        /// Relative to `buildDir`.
        first: RepoPath,
        /// Relative to `projectDir`.
        second: RepoPath,
    },
}

/// Finds the files of one project. `declares_tag` says whether a Dockerfile declares
/// `COMMIT_TAG`; it is asked only where a release tag is given.
pub fn project_facts<T: Tree>(
    matcher: &Matcher<'_, T>,
    manifest: &Manifest,
    project: &Project,
    release_tag: Option<&str>,
    declares_tag: &dyn Fn(&Located) -> Result<bool, T::Error>,
) -> Result<ProjectFacts, FactsError<T::Error>> {
    let tree = matcher.tree();
    let mut links = BTreeSet::new();
    let mut follow = |path: &RepoPath| -> Result<Resolved, FactsError<T::Error>> {
        let resolved = tree.resolve(path).map_err(FactsError::Tree)?;
        links.extend(
            resolved
                .links
                .iter()
                .map(|(path, entry)| Source::new(path.clone(), *entry)),
        );
        Ok(resolved)
    };
    let build_dir = follow(&project.build_dir)?.path;
    let project_dir = follow(&project.project_dir)?.path;
    let dockerfile = find_dockerfile(&mut follow, project, &build_dir, &project_dir)?;
    let ignore_file = find_ignore_file(&mut follow, dockerfile.as_ref(), &build_dir)?;
    let patterns = project
        .patterns
        .clone()
        .unwrap_or_else(|| vec![Pattern::of_directory(&project_dir)]);
    let mut sources = BTreeSet::new();
    matcher
        .collect(&patterns, &project.ignore_patterns, &mut sources)
        .map_err(FactsError::Tree)?;
    let has_sources = !sources.is_empty();
    sources.extend(matcher.for_all().map_err(FactsError::Tree)?.iter().cloned());
    let release_tag = match (release_tag, &dockerfile) {
        (Some(tag), Some(dockerfile)) if declares_tag(dockerfile).map_err(FactsError::Tree)? => {
            Some(tag.to_owned())
        }
        _ => None,
    };
    let inputs = KeyInputs {
        project: project.name.clone(),
        epoch: project.epoch,
        recipe: Recipe {
            build_dir,
            dockerfile: dockerfile.as_ref().map(|located| located.source.clone()),
            ignore_file: ignore_file.as_ref().map(|located| located.source.clone()),
            links,
            target: project.target.clone(),
            build_args: project.build_args.clone(),
            secrets: project.secrets.clone(),
            platforms: project.platforms.iter().cloned().collect(),
            hermetic: project.hermetic,
            registry: manifest.registry.clone(),
            image_aliases: manifest.image_aliases.iter().cloned().collect(),
            release_tag,
        },
        sources,
        dependencies: BTreeMap::new(),
    };
    let own = inputs.hash_own();
    Ok(ProjectFacts {
        inputs,
        own,
        patterns,
        has_sources,
        dockerfile,
        ignore_file,
    })
}

impl ProjectFacts {
    /// The name of the project.
    #[must_use]
    pub const fn name(&self) -> &ProjectName {
        &self.inputs.project
    }

    /// The whole inputs of the key, given the effective keys of the dependencies.
    #[must_use]
    pub fn with_dependencies(&self, dependencies: &BTreeMap<ProjectName, Key>) -> KeyInputs {
        KeyInputs {
            dependencies: dependencies.clone(),
            ..self.inputs.clone()
        }
    }
}

fn find_dockerfile<E>(
    follow: &mut impl FnMut(&RepoPath) -> Result<Resolved, FactsError<E>>,
    project: &Project,
    build_dir: &RepoPath,
    project_dir: &RepoPath,
) -> Result<Option<Located>, FactsError<E>> {
    let mut found: Option<Located> = None;
    let directories = if build_dir == project_dir {
        vec![build_dir]
    } else {
        vec![build_dir, project_dir]
    };
    let mut outside = true;
    for directory in directories {
        let Some(path) = directory.join(project.dockerfile.as_bytes()) else {
            continue;
        };
        outside = false;
        let Some(located) = locate(follow(&path)?) else {
            continue;
        };
        match &found {
            Some(first) if first.path != located.path => {
                return Err(FactsError::Ambiguous {
                    dockerfile: project.dockerfile.clone(),
                    first: first.path.clone(),
                    second: located.path,
                });
            }
            _ => found = Some(located),
        }
    }
    if outside {
        return Err(FactsError::Outside {
            dockerfile: project.dockerfile.clone(),
        });
    }
    Ok(found)
}

/// `<Dockerfile>.dockerignore` goes before `<buildDir>/.dockerignore`, as in BuildKit.
fn find_ignore_file<E>(
    follow: &mut impl FnMut(&RepoPath) -> Result<Resolved, FactsError<E>>,
    dockerfile: Option<&Located>,
    build_dir: &RepoPath,
) -> Result<Option<Located>, FactsError<E>> {
    let beside = dockerfile.map(|dockerfile| {
        let mut path = dockerfile.path.as_bytes().to_vec();
        path.extend_from_slice(b".dockerignore");
        RepoPath::from_git(path)
    });
    for path in beside.into_iter().chain(build_dir.join(b".dockerignore")) {
        if let Some(located) = locate(follow(&path)?) {
            return Ok(Some(located));
        }
    }
    Ok(None)
}

/// The file that a path led to; what lies inside a submodule is identified by the submodule.
fn locate(resolved: Resolved) -> Option<Located> {
    if let Some((path, entry)) = resolved.submodule {
        return Some(Located {
            path: resolved.path,
            source: Source::new(path, entry),
        });
    }
    let entry = resolved
        .entry
        .filter(|entry| entry.mode.is_file() || entry.mode == Mode::Link)?;
    Some(Located {
        path: resolved.path.clone(),
        source: Source::new(resolved.path, entry),
    })
}
