//! Repositories: ECR makes none on push, so that they are made, with what is to be kept in them.

use std::collections::HashSet;
use std::sync::PoisonError;

use aws_sdk_ecr::types::{
    ImageScanningConfiguration, ImageTagMutability, ImageTagMutabilityExclusionFilter,
    ImageTagMutabilityExclusionFilterType,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::api::Ecr;
use super::policy;
use crate::registry::RegistryError;
use crate::registry::request::Kind;
use crate::registry::transport::Transport;
use crate::registry::upkeep::Upkeep;

/// How many repositories are made at once.
const PARALLEL: usize = 4;

/// How many repositories a page of them is asked to have: the most that it may.
const PAGE: i32 = 1000;

impl Ecr {
    /// Makes a repository, unless it stands. Where the caller may not ask whether it does, it is
    /// taken to stand: a push tells.
    pub(in crate::registry) async fn make_repository(
        &self,
        transport: &Transport,
        repository: &str,
        upkeep: &Upkeep,
    ) -> Result<(), RegistryError> {
        if self.is_known(repository) {
            return Ok(());
        }
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.describe_repositories()
                .set_registry_id(self.place.account.clone())
                .repository_names(repository)
                .send()
        };
        let call = (Kind::CloudApi, "DescribeRepositories");
        if let Err(refusal) = self.call(&transport.counter, call, send).await? {
            match refusal.code.as_str() {
                "RepositoryNotFoundException" => {
                    self.create(transport, repository, upkeep).await?;
                }
                "AccessDeniedException" => {}
                _ => return Err(refusal.error()),
            }
        }
        self.know(repository);
        Ok(())
    }

    /// Makes those of many that do not stand; gives those that stand without any lifecycle policy
    /// theirs. Returns the former.
    pub(in crate::registry) async fn make_repositories(
        &self,
        transport: &Transport,
        wanted: &[(String, Upkeep)],
    ) -> Result<Vec<String>, RegistryError> {
        let standing = self.standing(transport).await?;
        let made: Vec<Option<String>> = stream::iter(wanted)
            .map(|(repository, upkeep)| async {
                let made = if standing.contains(repository) {
                    self.complete(transport, repository, upkeep).await?;
                    false
                } else {
                    self.create(transport, repository, upkeep).await?
                };
                self.know(repository);
                Ok::<_, RegistryError>(made.then(|| repository.clone()))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(made.into_iter().flatten().collect())
    }

    /// The names of all repositories of the registry.
    async fn standing(&self, transport: &Transport) -> Result<HashSet<String>, RegistryError> {
        let mut names = HashSet::new();
        let mut next: Option<String> = None;
        loop {
            let send = |sdk: aws_sdk_ecr::Client| {
                sdk.describe_repositories()
                    .set_registry_id(self.place.account.clone())
                    .set_next_token(next.clone())
                    .max_results(PAGE)
                    .send()
            };
            let call = (Kind::CloudApi, "DescribeRepositories");
            let page = self.call(&transport.counter, call, send).await?;
            let page = page.map_err(super::api::Refusal::error)?;
            let some = page.repositories().iter();
            names.extend(some.filter_map(|one| one.repository_name().map(str::to_owned)));
            let after = page.next_token().map(str::to_owned);
            if after.is_none() {
                return Ok(names);
            }
            if after == next {
                return Err(RegistryError::Corrupt {
                    request: self.line(call.1),
                    detail: "the list of repositories goes round in circles".to_owned(),
                });
            }
            next = after;
        }
    }

    /// Makes a repository; says whether it did, or somebody else was faster.
    async fn create(
        &self,
        transport: &Transport,
        repository: &str,
        upkeep: &Upkeep,
    ) -> Result<bool, RegistryError> {
        let filters = exclusions(upkeep);
        let scanning = ImageScanningConfiguration::builder()
            .scan_on_push(upkeep.scan)
            .build();
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.create_repository()
                .set_registry_id(self.place.account.clone())
                .repository_name(repository)
                .image_tag_mutability(ImageTagMutability::from(policy::mutability(upkeep)))
                .set_image_tag_mutability_exclusion_filters(filters.clone())
                .image_scanning_configuration(scanning.clone())
                .send()
        };
        let call = (Kind::CloudApi, "CreateRepository");
        match self.call(&transport.counter, call, send).await? {
            Ok(_) => {}
            Err(refusal) if refusal.code == "RepositoryAlreadyExistsException" => {
                return Ok(false);
            }
            Err(refusal) => return Err(refusal.error()),
        }
        self.put_policy(transport, repository, upkeep).await?;
        Ok(true)
    }

    /// A repository that was made by hand, or by a run that was killed, may lack a lifecycle
    /// policy; one that stands is its owner's.
    async fn complete(
        &self,
        transport: &Transport,
        repository: &str,
        upkeep: &Upkeep,
    ) -> Result<(), RegistryError> {
        if policy::lifecycle(upkeep).is_none() {
            return Ok(());
        }
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.get_lifecycle_policy()
                .set_registry_id(self.place.account.clone())
                .repository_name(repository)
                .send()
        };
        let call = (Kind::CloudApi, "GetLifecyclePolicy");
        match self.call(&transport.counter, call, send).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == "LifecyclePolicyNotFoundException" => {
                self.put_policy(transport, repository, upkeep).await
            }
            Err(refusal) => Err(refusal.error()),
        }
    }

    async fn put_policy(
        &self,
        transport: &Transport,
        repository: &str,
        upkeep: &Upkeep,
    ) -> Result<(), RegistryError> {
        let Some(policy) = policy::lifecycle(upkeep) else {
            return Ok(());
        };
        let text = policy.to_string();
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.put_lifecycle_policy()
                .set_registry_id(self.place.account.clone())
                .repository_name(repository)
                .lifecycle_policy_text(text.clone())
                .send()
        };
        let call = (Kind::CloudApi, "PutLifecyclePolicy");
        let put = self.call(&transport.counter, call, send).await?;
        put.map(|_| ()).map_err(super::api::Refusal::error)
    }

    fn is_known(&self, repository: &str) -> bool {
        let known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(repository)
    }

    fn know(&self, repository: &str) {
        let mut known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(repository.to_owned());
    }
}

/// The tags that move, as ECR takes them; `None` where none does.
fn exclusions(upkeep: &Upkeep) -> Option<Vec<ImageTagMutabilityExclusionFilter>> {
    let filter = |pattern: &&str| {
        ImageTagMutabilityExclusionFilter::builder()
            .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
            .filter(*pattern)
            .build()
            .ok()
    };
    let filters: Vec<_> = upkeep.moving.iter().filter_map(filter).collect();
    (!filters.is_empty()).then_some(filters)
}
