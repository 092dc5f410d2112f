//! Many manifests at once, by the least number of requests.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::RegistryError;
use super::client::{Client, RawManifest, invalid};
use super::ecr::Ecr;
use crate::model::is_tag;

/// From how many manifests on a listing of the repository goes first.
const LIST_FROM: usize = 64;

/// How long a listing is taken for that of now.
const LIST_GOOD_FOR: Duration = Duration::from_secs(10);

/// How many manifests are asked for at once; the transport has its own bound.
const PARALLEL: usize = 32;

impl Client {
    /// The manifests under many tags; a tag that is not in the answer is absent, as in
    /// [`Self::manifest`].
    ///
    /// Amazon ECR is asked for a hundred at a time. Elsewhere each is asked for by itself; where
    /// they are many, one listing goes first, unless it is long, and what it lacks counts as
    /// absent. It serves again for a short while: what somebody else puts meanwhile is then not
    /// seen.
    pub async fn manifests(
        &self,
        repository: &str,
        tags: &[String],
    ) -> Result<BTreeMap<String, RawManifest>, RegistryError> {
        let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        if let Some(invalid_tag) = tags.iter().find(|tag| !is_tag(tag)) {
            return Err(invalid(repository, invalid_tag));
        }
        let mut batched = BTreeMap::new();
        if let Some(ecr) = &self.transport.ecr {
            let full = self.base().repository(repository);
            let stands = self.transport.pushed.stands(repository);
            batched = ecr.manifests(&self.transport, &full, &tags, stands).await?;
            tags.retain(|tag| !batched.contains_key(*tag) && self.has_put(repository, tag));
        } else if tags.len() >= LIST_FROM
            && let Some(listed) = self.listed(repository, tags.len()).await?
        {
            tags.retain(|tag| listed.contains(*tag) || self.has_put(repository, tag));
        }
        let found: Vec<Option<(String, RawManifest)>> = stream::iter(tags)
            .map(|tag| async move {
                let manifest = self.manifest(repository, tag).await?;
                Ok::<_, RegistryError>(manifest.map(|manifest| (tag.to_owned(), manifest)))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        batched.extend(found.into_iter().flatten());
        Ok(batched)
    }

    /// The tags of a repository, as they were listed a moment ago if they were. `None` where asking
    /// for so many `wanted` ones takes less than the list, and where the list cannot be right: one
    /// without anything in it says nothing of a repository that is known to stand.
    async fn listed(
        &self,
        repository: &str,
        wanted: usize,
    ) -> Result<Option<Arc<HashSet<String>>>, RegistryError> {
        let lists = || self.transport.lists.lock();
        {
            let lists = lists().unwrap_or_else(PoisonError::into_inner);
            let known = lists.get(repository);
            if let Some((_, tags)) = known.filter(|(at, _)| at.elapsed() < LIST_GOOD_FOR) {
                return Ok(Some(Arc::clone(tags)));
            }
        }
        let at = Instant::now();
        let most_pages = wanted.div_ceil(self.transport.concurrency);
        let Some(tags) = self.tags_within(repository, most_pages).await? else {
            return Ok(None);
        };
        if tags.is_empty() && self.transport.pushed.stands(repository) {
            return Ok(None);
        }
        let tags: Arc<HashSet<String>> = Arc::new(tags.into_iter().collect());
        let mut lists = lists().unwrap_or_else(PoisonError::into_inner);
        lists.insert(repository.to_owned(), (at, Arc::clone(&tags)));
        Ok(Some(tags))
    }

    /// How many manifests one request may bring.
    #[must_use]
    pub fn batch(&self) -> usize {
        let ecr = self.transport.ecr.as_ref();
        ecr.map_or(1, |_| Ecr::BATCH)
    }

    /// Whether this client put a manifest there: a registry that does not show it is slow.
    fn has_put(&self, repository: &str, tag: &str) -> bool {
        self.transport.pushed.has_manifest(repository, tag)
    }
}
