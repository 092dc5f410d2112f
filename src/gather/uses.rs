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
    /// The references that the build needs, and what they name.
    pub references: Vec<(Reference, Image)>,
}

impl ProjectUses {
    /// The projects whose images go in.
    #[must_use]
    pub fn projects(&self) -> BTreeSet<ProjectName> {
        let images = self.references.iter().map(|(_, image)| image);
        images
            .filter_map(|image| match image {
                Image::Project(name) => Some(name.clone()),
                Image::External(_) => None,
            })
            .collect()
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
    let platform = project.platforms.first().cloned().unwrap_or_default();
    let values = Values {
        build_args: &project.build_args,
        platform: &platform,
        engine_platform,
    };
    let references = dockerfile
        .references(&values, project.target.as_deref())
        .map_err(|error| error.problems())?;
    let rules = ReferenceRules::new(&facts.manifest, facts.graph.all_dependencies(&project.name));
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for reference in references.into_iter().filter(|reference| reference.needed) {
        match rules.classify(&reference) {
            Ok(image) => found.push((reference, image)),
            Err(fault) => problems.push(fault.problem()),
        }
    }
    if problems.is_empty() {
        Ok(ProjectUses {
            dockerfile,
            references: found,
        })
    } else {
        Err(problems)
    }
}
