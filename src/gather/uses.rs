//! Which project images a Dockerfile uses.

use std::collections::BTreeSet;

use super::commit::{CommitFacts, read_located};
use crate::dockerfile::{Dockerfile, Image, Reference, ReferenceRules, Values};
use crate::git::{GitError, Repository};
use crate::manifest::Project;
use crate::model::{Platform, ProjectName, RepoPath};
use crate::problem::{Diagnose as _, Problem};

/// A project's Dockerfile with its references told apart.
#[derive(Clone, Debug)]
pub struct ProjectUses {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// For each platform of the project, in their order: the references that its build needs, and
    /// what they name. A name may hold the platform.
    pub by_platform: Vec<(Platform, Vec<(Reference, Image)>)>,
}

impl ProjectUses {
    /// The projects whose images go in, for whatever platform.
    #[must_use]
    pub fn projects(&self) -> BTreeSet<ProjectName> {
        self.images()
            .filter_map(|image| match image {
                Image::Project(name) => Some(name.clone()),
                Image::External(_) => None,
            })
            .collect()
    }

    /// Every image that the builds need, some more than once.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let references = self.by_platform.iter().flat_map(|(_, found)| found);
        references.map(|(_, image)| image)
    }
}

/// Reads a project's Dockerfile at the commit, and tells its references apart. What is wrong with
/// the Dockerfile is the inner error: it is the project's own, and others go on.
pub fn project_uses(
    repository: &Repository,
    facts: &CommitFacts,
    project: &Project,
    engine_platform: Option<&Platform>,
) -> Result<Result<ProjectUses, Vec<Problem>>, GitError> {
    let located = facts
        .projects
        .get(&project.name)
        .and_then(|facts| facts.dockerfile.as_ref());
    let bytes = match located {
        Some(located) => read_located(repository, located)?.map(|bytes| (located, bytes)),
        None => None,
    };
    let uses = match bytes {
        Some((located, bytes)) => read_uses(&located.path, &bytes, facts, project, engine_platform),
        None => Err(vec![Problem::error(
            "no-dockerfile",
            "the Dockerfile is not in the commit",
        )]),
    };
    Ok(uses.map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| problem.project(&project.name))
            .collect()
    }))
}

fn read_uses(
    path: &RepoPath,
    bytes: &[u8],
    facts: &CommitFacts,
    project: &Project,
    engine_platform: Option<&Platform>,
) -> Result<ProjectUses, Vec<Problem>> {
    let dockerfile = Dockerfile::parse(path, bytes).map_err(|error| error.problems())?;
    let rules = ReferenceRules::new(&facts.manifest, facts.graph.all_dependencies(&project.name));
    let mut by_platform = Vec::new();
    let mut problems = Vec::new();
    for platform in &project.platforms {
        let values = Values {
            build_args: &project.build_args,
            platform,
            engine_platform,
        };
        let found = read_references(&dockerfile, &values, project.target.as_deref(), &rules);
        match found {
            Ok(found) => by_platform.push((platform.clone(), found)),
            // Most are wrong for every platform, and told once.
            Err(found) => {
                for problem in found {
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(ProjectUses {
            dockerfile,
            by_platform,
        })
    } else {
        Err(problems)
    }
}

fn read_references(
    dockerfile: &Dockerfile,
    values: &Values<'_>,
    target: Option<&str>,
    rules: &ReferenceRules,
) -> Result<Vec<(Reference, Image)>, Vec<Problem>> {
    let references = dockerfile
        .references(values, target)
        .map_err(|error| error.problems())?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for reference in references.into_iter().filter(|reference| reference.needed) {
        match rules.classify(&reference) {
            Ok(image) => found.push((reference, image)),
            Err(fault) => problems.push(fault.problem()),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}
