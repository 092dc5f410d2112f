//! Images known only by their `cache-<commit>` tags, for manifests that take them over (design,
//! section 5, point 2).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::CommitFacts;
use super::planner::PARALLEL;
use super::request::PlanRequest;
use crate::git::{History, Repository};
use crate::key::{ProjectKey, effective_keys};
use crate::ledger::{Bases, Ledger, names};
use crate::model::{CommitId, Digest, Key, Platform, ProjectName};
use crate::plan::{Candidate, Place, Refusal};
use crate::problem::Failure;
use crate::registry::{Client, ImageConfig, RawManifest, RegistryError};

pub(super) struct Search<'a> {
    pub(super) repository: &'a Repository,
    pub(super) bases: &'a Bases,
    pub(super) request: &'a PlanRequest,
    pub(super) facts: &'a CommitFacts,
    pub(super) keys: &'a BTreeMap<ProjectName, ProjectKey>,
}

/// The commits that a project's repository has tags for, and in which bases.
type Tagged = BTreeMap<CommitId, BTreeSet<Place>>;

impl Search<'_> {
    /// For each project, the images that may be taken over, nearest first, and of one commit the
    /// registry's before the upstream's.
    pub(super) async fn candidates(
        &self,
        projects: &[ProjectName],
        uses: &dyn Fn(&ProjectName) -> Option<BTreeSet<ProjectName>>,
    ) -> Result<BTreeMap<ProjectName, Vec<Candidate>>, Failure> {
        let tagged: BTreeMap<ProjectName, Tagged> = stream::iter(projects)
            .map(|name| async { Ok::<_, Failure>((name.clone(), self.tagged(name).await?)) })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let mut found: BTreeMap<ProjectName, Vec<Candidate>> = projects
            .iter()
            .map(|name| (name.clone(), Vec::new()))
            .collect();
        let history = if tagged.values().all(BTreeMap::is_empty) {
            return Ok(found);
        } else {
            self.repository
                .history(self.request.commit, self.request.history)?
        };
        for (commit, names) in commits_of(&history, &tagged) {
            for (name, key) in self.same_inputs(commit, &names)? {
                let Some(used) = uses(&name) else { continue };
                let places = tagged.get(&name).and_then(|tagged| tagged.get(&commit));
                for place in places.into_iter().flatten() {
                    let candidate = self.candidate(&name, key, commit, *place, &used).await?;
                    found.entry(name.clone()).or_default().extend(candidate);
                }
            }
        }
        Ok(found)
    }

    async fn tagged(&self, name: &ProjectName) -> Result<Tagged, Failure> {
        let mut tagged = Tagged::new();
        for (place, ledger) in self.bases.places() {
            for tag in ledger.client().tags(name.as_str()).await? {
                if let Some(commit) = names::alias_commit(&tag) {
                    tagged.entry(commit).or_default().insert(place);
                }
            }
        }
        Ok(tagged)
    }

    /// Those of the projects whose computed key at `commit` is the one of now. A commit whose
    /// manifest cannot be read, or whose objects are missing, has none; a project that is wrong
    /// there says nothing against the others.
    fn same_inputs(
        &self,
        commit: CommitId,
        names: &BTreeSet<ProjectName>,
    ) -> Result<Vec<(ProjectName, Key)>, Failure> {
        let options = &self.request.options;
        let then = if commit == self.request.commit {
            None
        } else {
            match CommitFacts::load_ancestor(self.repository, commit, options, names) {
                Ok((facts, _)) => Some(facts),
                Err(failure) if failure.class == crate::problem::Class::Usage => {
                    return Ok(Vec::new());
                }
                Err(failure) => return Err(failure),
            }
        };
        let facts = then.as_ref().unwrap_or(self.facts);
        let keys = effective_keys(facts.in_order(), |_, _, _| false);
        let same = names.iter().filter_map(|name| {
            let key = self.keys.get(name)?.key;
            (keys.get(name)?.key == key).then(|| (name.clone(), key))
        });
        Ok(same.collect())
    }

    /// The image under a tag, and what is wrong with it: another platform, another key's label.
    async fn candidate(
        &self,
        name: &ProjectName,
        key: Key,
        commit: CommitId,
        place: Place,
        used: &BTreeSet<ProjectName>,
    ) -> Result<Option<Candidate>, Failure> {
        let ledger = self.bases.ledger(place);
        let tag = names::alias(commit);
        let client = ledger.client();
        let Some(manifest) = client.manifest(name.as_str(), &tag).await? else {
            return Ok(None);
        };
        let wanted = platforms_of(self.facts, name);
        let fault = match fault(client, name, &manifest, &wanted, key).await {
            // What cannot be pulled is built.
            Err(RegistryError::Incomplete { part, .. }) => Some(Refusal::Incomplete { part }),
            told => told?,
        };
        let mut uses = BTreeMap::new();
        // What an image uses that is refused anyway is of no matter.
        for project in used.iter().filter(|_| fault.is_none()) {
            uses.insert(
                project.clone(),
                self.tagged_image(ledger, project, &tag).await?,
            );
        }
        Ok(Some(Candidate {
            commit,
            image: manifest.digest,
            place,
            uses,
            fault,
        }))
    }

    async fn tagged_image(
        &self,
        ledger: &Ledger,
        project: &ProjectName,
        tag: &str,
    ) -> Result<Option<Digest>, Failure> {
        Ok(ledger.client().digest_of(project.as_str(), tag).await?)
    }
}

/// What is wrong with an image or an index.
async fn fault(
    client: &Client,
    name: &ProjectName,
    manifest: &RawManifest,
    wanted: &[Platform],
    key: Key,
) -> Result<Option<Refusal>, RegistryError> {
    if manifest.is_index() {
        return index_fault(client, name, manifest, wanted, key).await;
    }
    let image = client.config_of(name.as_str(), manifest).await?;
    let stated = image.platform.as_slice();
    if stated != wanted {
        return Ok(Some(other_platforms(stated, wanted)));
    }
    Ok(other_key(&image, key))
}

/// What is wrong with an index: it must have one image for each platform, which states that
/// platform itself; for other platforms it may have what it likes.
async fn index_fault(
    client: &Client,
    name: &ProjectName,
    index: &RawManifest,
    wanted: &[Platform],
    key: Key,
) -> Result<Option<Refusal>, RegistryError> {
    let offer = client.offer_of(name.as_str(), index).await?;
    let stated: Vec<Platform> = offer.platforms().cloned().collect();
    for platform in wanted {
        let Some(child) = offer.image_for(platform) else {
            return Ok(Some(other_platforms(&stated, wanted)));
        };
        let child = child.to_string();
        let Some(image) = client.image_config(name.as_str(), &child).await? else {
            let part = format!("the image {child} for {platform}");
            return Ok(Some(Refusal::Incomplete { part }));
        };
        let states = |image: &ImageConfig| {
            let own = image.platform.as_ref();
            own.is_some_and(|own| own.is_for(platform))
        };
        if !states(&image) {
            return Ok(Some(other_platforms(&stated, wanted)));
        }
        if let Some(refusal) = other_key(&image, key) {
            return Ok(Some(refusal));
        }
    }
    Ok(None)
}

fn other_platforms(stated: &[Platform], wanted: &[Platform]) -> Refusal {
    Refusal::Platform {
        stated: stated.to_vec(),
        wanted: wanted.to_vec(),
    }
}

fn other_key(image: &ImageConfig, key: Key) -> Option<Refusal> {
    let label = image.labels.get(names::KEY_LABEL);
    let is_other = label.is_some_and(|label| *label != key.to_string());
    is_other.then_some(Refusal::OtherKey)
}

/// The commits of the history that any project has a tag for, nearest first, with those projects.
fn commits_of(
    history: &History,
    tagged: &BTreeMap<ProjectName, Tagged>,
) -> Vec<(CommitId, BTreeSet<ProjectName>)> {
    let with_tag = |commit: CommitId| -> BTreeSet<ProjectName> {
        let tagged = tagged
            .iter()
            .filter(|(_, commits)| commits.contains_key(&commit));
        tagged.map(|(name, _)| name.clone()).collect()
    };
    history
        .commits
        .iter()
        .map(|commit| (commit.id, with_tag(commit.id)))
        .filter(|(_, names)| !names.is_empty())
        .collect()
}

/// The platforms that images of a project must have.
fn platforms_of(facts: &CommitFacts, name: &ProjectName) -> Vec<Platform> {
    let project = facts.manifest.projects.get(name);
    project.map_or_else(Vec::new, |project| project.platforms.clone())
}
