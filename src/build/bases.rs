//! Whether every image that goes into a build is there for the platform that is built for. BuildKit
//! takes an image of a single platform for any, and labels what comes of it with the one that was
//! asked for.

use super::asked::Asked;
use super::external::ExternalImages;
use crate::dockerfile::{Image, WantedPlatform};
use crate::execute::builder::Job;
use crate::gather::ProjectUses;
use crate::model::{Platform, ProjectName};
use crate::problem::{Class, Failure, Problem};
use crate::registry::Client;

/// The images of projects, in the bases that a run reads.
#[derive(Debug)]
pub struct ProjectImages {
    clients: Vec<Client>,
    platforms: Asked<Vec<Platform>>,
}

impl ProjectImages {
    /// Those of these bases.
    #[must_use]
    pub fn new(clients: Vec<Client>) -> Self {
        Self {
            clients,
            platforms: Asked::default(),
        }
    }

    /// The platforms that a project's image is there for, by its full reference.
    async fn platforms(
        &self,
        project: &ProjectName,
        reference: &str,
    ) -> Result<Vec<Platform>, Failure> {
        let asking = || self.ask(project, reference);
        self.platforms.try_once(reference, asking).await
    }

    async fn ask(&self, project: &ProjectName, reference: &str) -> Result<Vec<Platform>, Failure> {
        let missing = || missing(project);
        let holder = self.clients.iter().find_map(|client| {
            let digest = reference.strip_prefix(&client.base().name(project))?;
            Some((client, digest.strip_prefix('@')?))
        });
        let (client, digest) = holder.ok_or_else(missing)?;
        let offer = client.offer(project.as_str(), digest).await?;
        let offer = offer.ok_or_else(missing)?;
        Ok(offer.platforms().cloned().collect())
    }
}

/// The failure that the image of a project, which is used, is not there.
pub(super) fn missing(project: &ProjectName) -> Failure {
    let message = format!("the image of {project} is not there");
    let problem = Problem::error("dependency-missing", message)
        .hint("run again: if it is gone from the registry, it is built again");
    Failure::new(Class::Unreachable, problem)
}

/// Looks at every image that goes in, for every platform. Of an external image whose registry does
/// not answer, and of one that states no platform, nothing is known.
///
/// # Errors
///
/// `base-of-another-platform`, all that are; a project's image that cannot be looked at.
pub(super) async fn check(
    job: &Job,
    uses: &ProjectUses,
    projects: &ProjectImages,
    external: &ExternalImages,
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (platform, references) in &uses.by_platform {
        let told = references
            .iter()
            .filter(|(reference, _)| reference.platform != WantedPlatform::Unknown);
        for (reference, image) in told {
            let offered = match image {
                Image::Project(name) => {
                    let used = job.uses.get(name).ok_or_else(|| missing(name))?;
                    Some(projects.platforms(name, used).await?)
                }
                Image::External(name) => match external.pin(name).await {
                    Some(pinned) => Some(external.platforms(&pinned).await),
                    None => None,
                }
                .filter(|offered| !offered.is_empty()),
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
