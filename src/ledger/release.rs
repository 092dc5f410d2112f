//! The waybill of a commit: what was shipped, by digest, once everything had succeeded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::artifact::{Header, Kind, RecordError};
use super::names::{self, LEDGER};
use super::{BuiltFacts, Ledger, LedgerError, Standing};
use crate::model::{CommitId, Digest, Key, ProjectName};
use crate::registry::RawManifest;

/// The waybill of a commit. It is closed: whatever image went into one of its images is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The commit.
    pub commit: CommitId,
    /// The release tag that it was made for; part of some keys.
    pub tag: Option<String>,
    /// Every project that has an image.
    pub projects: BTreeMap<ProjectName, Shipped>,
    /// Projects that have none at this commit, as `expect.absent` allows.
    #[serde(default)]
    pub absent: BTreeSet<ProjectName>,
}

/// One project of a waybill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// The effective key.
    pub key: Key,
    /// The image's digest.
    pub image: Digest,
    /// The commit that the image was built for.
    pub commit: CommitId,
    /// The projects whose images went in; their digests are those of this waybill.
    pub uses: BTreeSet<ProjectName>,
    /// Whether the image was taken over by its `cache-<commit>` tag rather than built by waybill.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The required tasks that have passed, by name, with the key that each passed under.
    #[serde(default)]
    pub tasks: BTreeMap<String, Key>,
}

/// What the manifest of a waybill says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReleaseFacts {
    pub(super) commit: CommitId,
    pub(super) tag: Option<String>,
    /// How many projects have an image.
    pub(super) projects: usize,
}

/// A waybill that stands in a base, and was not read yet.
#[derive(Debug)]
pub struct Sealed {
    commit: CommitId,
    number: u32,
    tag: String,
    header: Header<ReleaseFacts>,
}

/// A waybill that stands in a base.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Its number, from 1.
    pub number: u32,
    /// The tag that it stands under, in the ledger.
    pub tag: String,
    /// When it was sealed, RFC 3339.
    pub created: String,
    /// What it says.
    pub release: Release,
}

impl Release {
    /// What the record of each image states, by key.
    ///
    /// An image whose parts are not all in the waybill is left out: nothing can be concluded from
    /// it.
    #[must_use]
    pub fn built(&self) -> BTreeMap<Key, BuiltFacts> {
        let facts = |shipped: &Shipped| {
            let uses = shipped.uses.iter();
            let uses = uses.map(|name| Some((name.clone(), self.projects.get(name)?.image)));
            Some((
                shipped.key,
                BuiltFacts {
                    image: shipped.image,
                    commit: shipped.commit,
                    uses: uses.collect::<Option<_>>()?,
                    adopted: shipped.adopted,
                },
            ))
        };
        self.projects.values().filter_map(facts).collect()
    }

    /// Whether two waybills ship the same: the same keys, images and tasks, whatever tag they were
    /// made for. A tag that counts is in the keys.
    #[must_use]
    pub fn ships_the_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Shipped, &Shipped)| {
            one.key == other.key && one.image == other.image && one.tasks == other.tasks
        };
        self.absent == other.absent
            && self.projects.keys().eq(other.projects.keys())
            && self
                .projects
                .values()
                .zip(other.projects.values())
                .all(same)
    }
}

/// More editions of one commit's waybill than this are taken for a registry that answers anything.
const MOST_EDITIONS: u32 = 1000;

impl Ledger {
    /// An edition of a commit's waybill; `None` if it has none of that number.
    ///
    /// # Errors
    ///
    /// One that cannot be read is an error: nothing may be concluded from it.
    pub async fn edition(
        &self,
        commit: CommitId,
        number: u32,
    ) -> Result<Option<Edition>, LedgerError> {
        match self.sealed(commit, number).await? {
            Some(sealed) => self.open_edition(sealed).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether a commit has an edition of its waybill: one request, which does not read it.
    pub async fn sealed(
        &self,
        commit: CommitId,
        number: u32,
    ) -> Result<Option<Sealed>, LedgerError> {
        let tag = names::release(commit, number);
        let manifest = self.client().manifest(LEDGER, &tag).await?;
        self.as_sealed(commit, number, manifest.as_ref())
    }

    /// Those of many commits that have a waybill, in their order, with its first edition.
    pub async fn sealed_among(&self, commits: &[CommitId]) -> Result<Vec<Sealed>, LedgerError> {
        let tag = |commit: &CommitId| names::release(*commit, 1);
        let tags: Vec<String> = commits.iter().map(tag).collect();
        let manifests = self.client().manifests(LEDGER, &tags).await?;
        let sealed = commits.iter().zip(&tags);
        sealed
            .filter_map(|(commit, tag)| self.as_sealed(*commit, 1, manifests.get(tag)).transpose())
            .collect()
    }

    /// The edition that stands where a manifest was looked for.
    fn as_sealed(
        &self,
        commit: CommitId,
        number: u32,
        manifest: Option<&RawManifest>,
    ) -> Result<Option<Sealed>, LedgerError> {
        let tag = names::release(commit, number);
        let envelope = self.envelope(tag.clone(), Kind::Release, None, None);
        match self.decoded(LEDGER, &envelope, manifest)? {
            Standing::Absent => Ok(None),
            Standing::Unreadable(why) => Err(LedgerError::Unreadable {
                name: self.name(LEDGER, &tag),
                source: RecordError::Malformed(why),
            }),
            Standing::Record(header) => Ok(Some(Sealed {
                commit,
                number,
                tag,
                header,
            })),
        }
    }

    /// Reads an edition that stands.
    pub async fn open_edition(&self, sealed: Sealed) -> Result<Edition, LedgerError> {
        let Sealed {
            commit,
            number,
            tag,
            header,
        } = sealed;
        let recorded = self.rest::<_, Release>(LEDGER, &tag, header).await?;
        let release = recorded.record;
        if release.commit != commit {
            return Err(LedgerError::Unreadable {
                name: self.name(LEDGER, &tag),
                source: RecordError::Foreign {
                    field: "commit",
                    found: release.commit.to_string(),
                    expected: commit.to_string(),
                },
            });
        }
        Ok(Edition {
            number,
            tag,
            created: recorded.created,
            release,
        })
    }

    /// Every edition of a commit's waybill, the first one first.
    pub async fn editions(&self, commit: CommitId) -> Result<Vec<Edition>, LedgerError> {
        let mut editions = Vec::new();
        for number in 1..=MOST_EDITIONS {
            match self.edition(commit, number).await? {
                Some(edition) => editions.push(edition),
                None => break,
            }
        }
        Ok(editions)
    }

    /// Seals a commit: writes its waybill as a new edition, unless one that ships the same stands.
    /// Returns the edition that stands then, and whether it is new.
    pub async fn seal(&self, release: &Release, now: &str) -> Result<(Edition, bool), LedgerError> {
        for number in 1..=MOST_EDITIONS {
            let stands = self.edition(release.commit, number).await?;
            let is_new = stands.is_none();
            let edition = match stands {
                Some(edition) => edition,
                None => self.write_edition(release, number, now).await?,
            };
            // Another run may have sealed at the same time: what stands is taken if it is the same.
            if edition.release.ships_the_same(release) {
                return Ok((edition, is_new));
            }
        }
        Err(LedgerError::WriteLost {
            name: self.name(LEDGER, &names::release(release.commit, MOST_EDITIONS)),
        })
    }

    async fn write_edition(
        &self,
        release: &Release,
        number: u32,
        now: &str,
    ) -> Result<Edition, LedgerError> {
        let tag = names::release(release.commit, number);
        let envelope = self.envelope(tag.clone(), Kind::Release, None, None);
        let facts = ReleaseFacts::of(release);
        self.write(LEDGER, &envelope, now, &facts, release, None)
            .await?;
        let written = self.edition(release.commit, number).await?;
        written.ok_or_else(|| LedgerError::WriteLost {
            name: self.name(LEDGER, &tag),
        })
    }
}

impl ReleaseFacts {
    pub(super) fn of(release: &Release) -> Self {
        Self {
            commit: release.commit,
            tag: release.tag.clone(),
            projects: release.projects.len(),
        }
    }
}
