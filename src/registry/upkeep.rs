//! What a repository is to be like, for registries that are told so when it is made.

use serde_json::Value;

use super::client::Client;
use super::{RegistryError, ecr};
use crate::model::Digest;

/// What a repository's tags and images are to be like.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// Patterns (`*` for anything) of the tags that move; every other tag stands for good.
    pub moving: &'static [&'static str],
    /// What is kept, in the order of precedence: an image belongs to the first rule that one of
    /// its tags matches, and no later one may remove it. Nothing is removed that none matches.
    pub keep: &'static [Keep],
    /// Whether what is pushed is an image that is worth scanning for vulnerabilities.
    pub scan: bool,
}

/// What is kept of the images that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every image with a tag of this pattern.
    All(&'static str),
    /// So many of the newest images with a tag of this pattern.
    Newest(&'static str, u32),
    /// Images without any tag, for so many days.
    UntaggedDays(u32),
}

impl Upkeep {
    /// The settings as Amazon ECR takes them: `imageTagMutability`, its exclusion filters,
    /// `imageScanningConfiguration` and, where something may be removed, `lifecyclePolicy`.
    #[must_use]
    pub fn ecr_settings(&self) -> Value {
        ecr::settings(self)
    }
}

impl Client {
    /// Makes a repository, unless it stands, where the registry makes none on push. It is asked for
    /// once in the life of the process.
    pub async fn make_repository(
        &self,
        repository: &str,
        upkeep: &Upkeep,
    ) -> Result<(), RegistryError> {
        let full = self.base().repository(repository);
        match &self.transport.ecr {
            None => Ok(()),
            Some(ecr) => ecr.make_repository(&self.transport, &full, upkeep).await,
        }
    }

    /// Makes those of many repositories that do not stand, and gives those that stand and keep
    /// everything for ever the rules that they lack. Returns those that were made, or `None` where
    /// the registry makes repositories by itself.
    pub async fn make_repositories(
        &self,
        wanted: &[(String, Upkeep)],
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let Some(ecr) = &self.transport.ecr else {
            return Ok(None);
        };
        let full = |(name, upkeep): &(String, Upkeep)| (self.base().repository(name), *upkeep);
        let wanted: Vec<(String, Upkeep)> = wanted.iter().map(full).collect();
        ecr.make_repositories(&self.transport, &wanted)
            .await
            .map(Some)
    }

    /// Whether an image that cannot be had was moved to an archive, out of which its owner can
    /// restore it.
    pub async fn is_archived(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let full = self.base().repository(repository);
        match &self.transport.ecr {
            None => Ok(false),
            Some(ecr) => ecr.is_archived(&self.transport, &full, digest).await,
        }
    }
}
