//! One base's records, over the registry client.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LedgerError;
use super::artifact::{self, Envelope, Header, Kind, RecordError};
use super::names::{self, LEDGER, MARKER, RUNS, TAINTS};
use super::record::{BuiltFacts, BuiltRecord, FailedRecord, Marker, TaintRecord};
use super::upkeep;
use crate::model::{Key, ProjectName, Reason};
use crate::registry::{Client, Put, RawManifest};

/// What stands under a record's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<F> {
    /// Nothing.
    Absent,
    /// The record.
    Record(F),
    /// Something that is not that record.
    Unreadable(String),
}

impl<F> Standing<F> {
    /// The same, of what a record holds.
    fn map<G>(self, of: impl FnOnce(F) -> G) -> Standing<G> {
        match self {
            Self::Absent => Standing::Absent,
            Self::Record(record) => Standing::Record(of(record)),
            Self::Unreadable(why) => Standing::Unreadable(why),
        }
    }
}

impl<F> Standing<Header<F>> {
    /// The facts alone.
    fn facts(self) -> Standing<F> {
        self.map(|header| header.facts)
    }
}

/// A record with its layers within reach.
#[derive(Clone, Debug)]
pub struct Recorded<R> {
    /// The whole record.
    pub record: R,
    /// When it was written, RFC 3339.
    pub created: String,
    /// The project that it names.
    pub project: Option<ProjectName>,
    /// The log, compressed with gzip.
    pub log: Option<Bytes>,
}

/// The records of one base.
#[derive(Clone)]
pub struct Ledger {
    pub(super) client: Client,
    marker: Marker,
}

impl Ledger {
    /// Opens a base: reads the markers of its ledger and of its taints.
    pub async fn open(client: Client) -> Result<Self, LedgerError> {
        let missing = |repository| LedgerError::MarkerMissing {
            base: client.base().to_string(),
            repository,
            tag: MARKER,
        };
        match read_markers(&client).await? {
            (Some(marker), Some(_)) => Ok(Self { client, marker }),
            (None, _) => Err(missing(LEDGER)),
            (_, None) => Err(missing(TAINTS)),
        }
    }

    /// Opens a base, and makes the markers of one that has none. What stands is left as it is; a
    /// half-made base is completed.
    pub async fn create(client: Client, new: Marker, now: &str) -> Result<Self, LedgerError> {
        let (ledger, taints) = match read_markers(&client).await? {
            (Some(marker), Some(_)) => return Ok(Self { client, marker }),
            lacking => lacking,
        };
        let marker = if let Some(marker) = ledger {
            marker
        } else {
            let marker = taints.clone().unwrap_or(new);
            write_marker(&client, LEDGER, marker, now).await?
        };
        if taints.is_none() {
            write_marker(&client, TAINTS, marker, now).await?;
        }
        // Another run may have made it at the same time: what stands in the end is read again.
        Self::open(client).await
    }

    /// Asks whether there is anything in the way of a base here: markers that cannot be read, or
    /// that are not of one base.
    pub async fn check(client: &Client) -> Result<(), LedgerError> {
        read_markers(client).await.map(|_| ())
    }

    /// The registry that holds the records, and the images beside them.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The base's marker.
    #[must_use]
    pub const fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The record of a build, as far as a plan needs it.
    pub async fn built(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Standing<BuiltFacts>, LedgerError> {
        let envelope = self.envelope(names::built(key), Kind::Built, Some(project), Some(key));
        Ok(self.header(LEDGER, &envelope).await?.facts())
    }

    /// The records of many builds; see [`Client::manifests`] for what counts as absent.
    pub async fn built_many(
        &self,
        wanted: &BTreeMap<Key, ProjectName>,
    ) -> Result<BTreeMap<Key, Standing<BuiltFacts>>, LedgerError> {
        let tags: Vec<String> = wanted.keys().map(|key| names::built(*key)).collect();
        let manifests = self.client.manifests(LEDGER, &tags).await?;
        let standing = |(key, project): (&Key, &ProjectName)| {
            let envelope =
                self.envelope(names::built(*key), Kind::Built, Some(project), Some(*key));
            let manifest = manifests.get(&envelope.tag);
            Ok((*key, self.decoded(LEDGER, &envelope, manifest)?.facts()))
        };
        wanted.iter().map(standing).collect()
    }

    /// The whole record of a build, with its log.
    pub async fn built_record(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<BuiltRecord>>, LedgerError> {
        let envelope = self.envelope(names::built(key), Kind::Built, Some(project), Some(key));
        self.whole::<BuiltFacts, _>(LEDGER, &envelope).await
    }

    /// Writes the record of a build and reads it back: what stands then, whoever wrote it.
    pub async fn write_built(
        &self,
        key: Key,
        project: &ProjectName,
        record: &BuiltRecord,
        log: Option<Bytes>,
        now: &str,
    ) -> Result<BuiltFacts, LedgerError> {
        let envelope = self.envelope(names::built(key), Kind::Built, Some(project), Some(key));
        self.write(LEDGER, &envelope, now, &record.facts, record, log)
            .await?;
        match self.built(key, project).await? {
            Standing::Record(facts) => Ok(facts),
            Standing::Absent | Standing::Unreadable(_) => Err(LedgerError::WriteLost {
                name: self.name(LEDGER, &envelope.tag),
            }
            .of(Some(project))),
        }
    }

    /// Every tainted key of the base: one listing of the taints' own repository, all its pages.
    ///
    /// # Errors
    ///
    /// [`LedgerError::ListIncomplete`] where the listing lacks the marker: it is cut off, or of
    /// something else, and does not say that there are no taints.
    pub async fn tainted_keys(&self) -> Result<BTreeSet<Key>, LedgerError> {
        let tags = self.client.tags(TAINTS).await?;
        if !tags.iter().any(|tag| tag == MARKER) {
            return Err(LedgerError::ListIncomplete {
                name: self.client.base().name(TAINTS),
                tag: MARKER,
            });
        }
        Ok(tags
            .iter()
            .filter_map(|tag| names::taint_key(tag))
            .collect())
    }

    /// A taint, read by name. One that cannot be read is a taint all the same.
    pub async fn taint(&self, key: Key) -> Result<Standing<TaintRecord>, LedgerError> {
        Ok(self.written_taint(key).await?.map(|(taint, _)| taint))
    }

    /// A taint as [`Self::taint`] reads it, with the time at which it was written, RFC 3339.
    pub async fn written_taint(
        &self,
        key: Key,
    ) -> Result<Standing<(TaintRecord, String)>, LedgerError> {
        let envelope = self.envelope(names::taint(key), Kind::Taint, None, Some(key));
        let standing = self.header(TAINTS, &envelope).await?;
        Ok(standing.map(|header| (header.facts, header.created)))
    }

    /// Writes a taint, unless one stands.
    pub async fn write_taint(
        &self,
        key: Key,
        project: &ProjectName,
        taint: &TaintRecord,
        now: &str,
    ) -> Result<(), LedgerError> {
        let envelope = self.envelope(names::taint(key), Kind::Taint, Some(project), Some(key));
        if self.taint(key).await? != Standing::Absent {
            return Ok(());
        }
        self.write(TAINTS, &envelope, now, taint, taint, None)
            .await?;
        match self.taint(key).await? {
            Standing::Absent => Err(LedgerError::WriteLost {
                name: self.name(TAINTS, &envelope.tag),
            }
            .of(Some(project))),
            Standing::Record(_) | Standing::Unreadable(_) => Ok(()),
        }
    }

    /// The last failure under a key, with its log.
    pub async fn failed(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<FailedRecord>>, LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        self.whole::<serde_json::Value, _>(RUNS, &envelope).await
    }

    /// What the last failure under a key states: one request, without its log. One that cannot be
    /// read says nothing.
    pub async fn failure(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Standing<FailedRecord>, LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        Ok(self.header(RUNS, &envelope).await?.facts())
    }

    /// Writes the last failure under a key.
    pub async fn write_failed(
        &self,
        key: Key,
        project: &ProjectName,
        record: &FailedRecord,
        log: Option<Bytes>,
        now: &str,
    ) -> Result<(), LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        self.write(RUNS, &envelope, now, record, record, log).await
    }

    pub(super) fn envelope(
        &self,
        tag: String,
        kind: Kind,
        project: Option<&ProjectName>,
        key: Option<Key>,
    ) -> Envelope {
        let ledger = self.marker.id.clone();
        Envelope {
            tag,
            ledger,
            kind,
            project: project.cloned(),
            key,
        }
    }

    pub(super) fn name(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.client.base())
    }

    pub(super) async fn header<F: DeserializeOwned>(
        &self,
        repository: &str,
        envelope: &Envelope,
    ) -> Result<Standing<Header<F>>, LedgerError> {
        let manifest = self.client.manifest(repository, &envelope.tag).await?;
        self.decoded(repository, envelope, manifest.as_ref())
    }

    /// What a manifest is, that stands where a record would.
    pub(super) fn decoded<F: DeserializeOwned>(
        &self,
        repository: &str,
        envelope: &Envelope,
        manifest: Option<&RawManifest>,
    ) -> Result<Standing<Header<F>>, LedgerError> {
        let Some(manifest) = manifest else {
            return Ok(Standing::Absent);
        };
        match artifact::decode(&manifest.bytes, envelope) {
            Ok(header) => Ok(Standing::Record(header)),
            Err(source @ RecordError::Newer(_)) => {
                let name = self.name(repository, &envelope.tag);
                let error = LedgerError::Unreadable { name, source };
                Err(error.of(envelope.project.as_ref()))
            }
            Err(error) => Ok(Standing::Unreadable(error.to_string())),
        }
    }

    pub(super) async fn whole<F: DeserializeOwned, R: DeserializeOwned>(
        &self,
        repository: &str,
        envelope: &Envelope,
    ) -> Result<Option<Recorded<R>>, LedgerError> {
        let read = match self.header::<F>(repository, envelope).await? {
            Standing::Absent => return Ok(None),
            Standing::Unreadable(why) => Err(self.unreadable(repository, &envelope.tag, why)),
            Standing::Record(header) => self.rest(repository, &envelope.tag, header).await,
        };
        let project = envelope.project.as_ref();
        read.map(Some).map_err(|error| error.of(project))
    }

    /// A record whose manifest was read already.
    pub(super) async fn rest<F, R: DeserializeOwned>(
        &self,
        repository: &str,
        tag: &str,
        header: Header<F>,
    ) -> Result<Recorded<R>, LedgerError> {
        let name = || self.name(repository, tag);
        let unreadable = |why: String| self.unreadable(repository, tag, why);
        let missing = || LedgerError::LayerMissing { name: name() };
        let json = self
            .client
            .blob(repository, &header.json, artifact::MAX_JSON)
            .await?;
        let record = serde_json::from_slice(&json.ok_or_else(missing)?)
            .map_err(|error| unreadable(error.to_string()))?;
        let log = match &header.log {
            None => None,
            Some(log) => self.client.blob(repository, log, artifact::MAX_LOG).await?,
        };
        Ok(Recorded {
            record,
            created: header.created,
            project: header.project,
            log,
        })
    }

    fn unreadable(&self, repository: &str, tag: &str, why: String) -> LedgerError {
        let name = self.name(repository, tag);
        LedgerError::RecordUnreadable { name, why }
    }

    pub(super) async fn write(
        &self,
        repository: &str,
        envelope: &Envelope,
        now: &str,
        facts: &impl Serialize,
        record: &impl Serialize,
        log: Option<Bytes>,
    ) -> Result<(), LedgerError> {
        let artifact = artifact::encode(envelope, now, facts, record, log)?;
        push(&self.client, repository, &envelope.tag, artifact).await
    }
}

/// The taint that is taken for one that stands but cannot be read.
#[must_use]
pub(super) fn unreadable_taint(why: &str, commit: crate::model::CommitId) -> TaintRecord {
    let by = "unknown".to_owned();
    let why = format!("the taint cannot be read: {why}");
    TaintRecord {
        reason: Reason::Tainted {
            by: by.clone(),
            why,
            commit,
        },
        commit,
        by,
    }
}

/// The markers of a base's ledger and of its taints, which are of one base where both stand.
async fn read_markers(client: &Client) -> Result<(Option<Marker>, Option<Marker>), LedgerError> {
    let (ledger, taints) =
        futures_util::try_join!(read_marker(client, LEDGER), read_marker(client, TAINTS))?;
    match (&ledger, &taints) {
        (Some(marker), Some(taints)) if taints.id != marker.id => Err(LedgerError::Unreadable {
            name: client.base().tagged(TAINTS, MARKER),
            source: RecordError::Foreign {
                field: "ledger",
                found: taints.id.clone(),
                expected: marker.id.clone(),
            },
        }),
        _ => Ok((ledger, taints)),
    }
}

async fn read_marker(
    client: &Client,
    repository: &'static str,
) -> Result<Option<Marker>, LedgerError> {
    let Some(manifest) = client.manifest(repository, MARKER).await? else {
        return Ok(None);
    };
    let expected = marker_envelope(String::new());
    let header: Header<Marker> =
        artifact::decode(&manifest.bytes, &expected).map_err(|source| LedgerError::Unreadable {
            name: format!("{}/{repository}:{MARKER}", client.base()),
            source,
        })?;
    Ok(Some(header.facts))
}

async fn write_marker(
    client: &Client,
    repository: &'static str,
    marker: Marker,
    now: &str,
) -> Result<Marker, LedgerError> {
    let envelope = marker_envelope(marker.id.clone());
    let artifact = artifact::encode(&envelope, now, &marker, &marker, None)?;
    push(client, repository, MARKER, artifact).await?;
    let name = || format!("{}/{repository}:{MARKER}", client.base());
    read_marker(client, repository)
        .await?
        .ok_or_else(|| LedgerError::WriteLost { name: name() })
}

fn marker_envelope(id: String) -> Envelope {
    Envelope {
        tag: MARKER.to_owned(),
        ledger: id,
        kind: Kind::Ledger,
        project: None,
        key: None,
    }
}

/// Blobs first, the manifest last, in a repository that is made if it must be. A tag that stands and
/// cannot be moved is as good as written: a reader takes what stands.
async fn push(
    client: &Client,
    repository: &str,
    tag: &str,
    artifact: artifact::Artifact,
) -> Result<(), LedgerError> {
    client
        .make_repository(repository, upkeep::of(repository))
        .await?;
    for blob in artifact.blobs {
        client.put_blob(repository, blob).await?;
    }
    match client
        .put_manifest(repository, tag, artifact::MANIFEST_TYPE, artifact.manifest)
        .await?
    {
        Put::Done(_) | Put::TagStands => Ok(()),
    }
}
