//! Whether every image that goes into a build is there for the platform that is built for. BuildKit
//! takes an image of a single platform for any, and labels what comes of it with the one that was
//! asked for.

use std::collections::BTreeMap;

use super::external::ExternalImages;
use super::image::Listener;
use crate::dockerfile::{Image, WantedPlatform};
use crate::execute::builder::Progress;
use crate::gather::ProjectUses;
use crate::manifest::Project;
use crate::model::{Platform, ProjectName};
use crate::problem::{Class, Failure, Problem};

/// The failure that the image of a project, which is used, is not there.
pub(super) fn missing(project: &ProjectName) -> Failure {
    let message = format!("the image of {project} is not there");
    let problem = Problem::error("dependency-missing", message)
        .hint("run again: if it is gone from the registry, it is built again");
    Failure::new(Class::Unreachable, problem)
}

/// Looks at every image that goes in, for every platform. A project's image is there for the
/// platforms of its project; of an external image that states none, nothing is known.
///
/// For the engine's own platform, an image that its registry does not have or cannot be asked for
/// is left to the engine, which may have it. For any other that is an error: what the engine has
/// of it is of its own platform, and nobody would see that a wrong base went in.
///
/// # Errors
///
/// `base-of-another-platform`, all that are; `base-platform-unknown`; what a registry failed with.
pub(super) async fn check(
    uses: &ProjectUses,
    projects: &BTreeMap<ProjectName, Project>,
    external: &ExternalImages,
    engine: &Platform,
    progress: Listener<'_>,
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (platform, references) in &uses.by_platform {
        let told = references
            .iter()
            .filter(|(reference, _)| reference.platform != WantedPlatform::Unknown);
        for (reference, image) in told {
            let offered = match image {
                Image::Project(name) => projects.get(name).map(|project| project.platforms.clone()),
                Image::External(name) if platform.serves(engine) => {
                    offered_here(external, name, progress).await
                }
                Image::External(name) => offered_elsewhere(external, name).await?,
            };
            problems.extend(reference.platform_problem(image, platform, offered.as_deref()));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure {
        class: Class::Usage,
        problems,
    })
}

/// The platforms of an image that is wanted for the engine's own; `None` where that is not known.
async fn offered_here(
    external: &ExternalImages,
    name: &str,
    progress: Listener<'_>,
) -> Option<Vec<Platform>> {
    let pinned = external.pin(name).await.ok()??;
    match external.platforms(&pinned).await {
        Ok(offered) => stated(offered),
        Err(error) => {
            let message = format!("nobody looked which platforms '{name}' is there for: {error}");
            let warning = Problem::warning("base-not-asked", message)
                .hint("run again when the registry answers, if the engine takes a wrong one");
            progress(Progress::Warning(warning));
            None
        }
    }
}

/// The platforms of an image that is wanted for another than the engine's.
async fn offered_elsewhere(
    external: &ExternalImages,
    name: &str,
) -> Result<Option<Vec<Platform>>, Failure> {
    let Some(pinned) = external.pin(name).await? else {
        let message =
            format!("the registry of '{name}' does not have it, so nobody can tell its platforms");
        let problem = Problem::error("base-platform-unknown", message)
            .hint("push it for every platform that is built for, or name another");
        return Err(Failure::new(Class::Usage, problem));
    };
    Ok(stated(external.platforms(&pinned).await?))
}

fn stated(offered: Vec<Platform>) -> Option<Vec<Platform>> {
    (!offered.is_empty()).then_some(offered)
}
