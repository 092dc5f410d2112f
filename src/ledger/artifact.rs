//! A record as an OCI artifact: an image manifest whose annotations hold what a plan needs, with
//! the whole record as a JSON layer (OCI image spec, "Guidelines for artifact usage").

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Key, ProjectName};
/// The media type of every record's manifest.
pub(super) use crate::registry::manifest::OCI_IMAGE_MEDIA_TYPE as MANIFEST_TYPE;

/// The version of the records that this program writes, and the newest that it reads.
pub(super) const VERSION: u64 = 1;
/// The largest JSON layer that is read, in bytes.
pub(super) const MAX_JSON: u64 = 16 << 20;
/// The largest log layer that is read, in bytes (compressed).
pub const MAX_LOG: u64 = 256 << 20;

const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const LOG_TYPE: &str = "application/vnd.waybill.log.v1+gzip";
const EMPTY: &[u8] = b"{}";

const TAG: &str = "io.waybill.tag";
const LEDGER: &str = "io.waybill.ledger";
const KIND: &str = "io.waybill.kind";
const RECORD_VERSION: &str = "io.waybill.version";
const PROJECT: &str = "io.waybill.project";
const KEY: &str = "io.waybill.key";
const FACTS: &str = "io.waybill.facts";
const CREATED: &str = "org.opencontainers.image.created";

/// What kind of fact a record states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The marker of a base.
    Ledger,
    /// An image was built.
    Built,
    /// A key is not to be trusted.
    Taint,
    /// A build or a task failed.
    Failed,
    /// A task passed.
    Passed,
    /// A waybill: every project of a commit has succeeded.
    Release,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Built => "built",
            Self::Taint => "taint",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Release => "release",
        }
    }

    fn media_type(self) -> String {
        format!("application/vnd.waybill.{}.v1+json", self.name())
    }
}

/// What a record says of itself; a reader that asked for something else treats it as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The tag that it stands under.
    pub tag: String,
    /// The id of the base that it was written for; a marker's own id.
    pub ledger: String,
    /// The kind.
    pub kind: Kind,
    /// The project that it is about, if it is about one.
    pub project: Option<ProjectName>,
    /// The key that it is about, if it is about one.
    pub key: Option<Key>,
}

/// A record, ready to be pushed: the manifest, and the blobs that it names.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// Config, JSON layer and log, to be pushed before the manifest.
    pub blobs: Vec<Bytes>,
}

/// A record's manifest, read and found to be what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Header<F> {
    /// What a plan needs.
    pub facts: F,
    /// The project that the record names.
    pub project: Option<ProjectName>,
    /// When it was written, RFC 3339.
    pub created: String,
    /// The JSON layer.
    pub json: Digest,
    /// The log layer.
    pub log: Option<Digest>,
}

/// Why something that stands under a record's tag is not that record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or without what a record must have.
    #[error("it is no record: {0}")]
    Malformed(String),
    /// A record, but another one than was asked for.
    #[error("it is a record of another {field}: '{found}' instead of '{expected}'")]
    Foreign {
        /// What differs.
        field: &'static str,
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Written by a newer program.
    #[error("it is a record of version {0}, and this program reads versions up to {VERSION}")]
    Newer(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Descriptor {
    fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        let size = bytes.len() as u64;
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size,
        }
    }
}

/// Puts a record together: `facts` go into the annotations, `record` into the JSON layer, and
/// `log`, compressed already, into a layer of its own.
///
/// # Errors
///
/// A value that JSON cannot hold, which none of waybill's is.
pub(super) fn encode(
    envelope: &Envelope,
    created: &str,
    facts: &impl Serialize,
    record: &impl Serialize,
    log: Option<Bytes>,
) -> Result<Artifact, serde_json::Error> {
    let json = Bytes::from(serde_json::to_vec_pretty(record)?);
    let mut annotations = BTreeMap::from([
        (TAG.to_owned(), envelope.tag.clone()),
        (LEDGER.to_owned(), envelope.ledger.clone()),
        (KIND.to_owned(), envelope.kind.name().to_owned()),
        (RECORD_VERSION.to_owned(), VERSION.to_string()),
        (FACTS.to_owned(), serde_json::to_string(facts)?),
        (CREATED.to_owned(), created.to_owned()),
    ]);
    let project = envelope.project.as_ref().map(ToString::to_string);
    annotations.extend(project.map(|project| (PROJECT.to_owned(), project)));
    annotations.extend(envelope.key.map(|key| (KEY.to_owned(), key.to_string())));
    let mut layers = vec![Descriptor::of(envelope.kind.media_type(), &json)];
    layers.extend(log.as_ref().map(|log| Descriptor::of(LOG_TYPE, log)));
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        artifact_type: envelope.kind.media_type(),
        config: Descriptor::of(EMPTY_TYPE, EMPTY),
        layers,
        annotations,
    };
    let mut blobs = vec![Bytes::from_static(EMPTY), json];
    blobs.extend(log);
    Ok(Artifact {
        manifest: serde_json::to_vec(&manifest)?.into(),
        blobs,
    })
}

/// Reads a record's manifest, and holds it against what was asked for. `expected.ledger` is not
/// compared for a marker, nor `expected.project` where it is `None`.
pub(super) fn decode<F: DeserializeOwned>(
    bytes: &[u8],
    expected: &Envelope,
) -> Result<Header<F>, RecordError> {
    let malformed = |error: serde_json::Error| RecordError::Malformed(error.to_string());
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(malformed)?;
    let annotation = |name: &str| {
        let value = manifest.annotations.get(name);
        value.ok_or_else(|| RecordError::Malformed(format!("the annotation {name} is missing")))
    };
    let version = annotation(RECORD_VERSION)?;
    let version: u64 = version
        .parse()
        .map_err(|_| RecordError::Malformed(format!("the version '{version}' is no number")))?;
    if version > VERSION {
        return Err(RecordError::Newer(version));
    }
    require("kind", annotation(KIND)?, expected.kind.name())?;
    require("tag", annotation(TAG)?, &expected.tag)?;
    if expected.kind != Kind::Ledger {
        require("ledger", annotation(LEDGER)?, &expected.ledger)?;
    }
    if let Some(project) = &expected.project {
        require("project", annotation(PROJECT)?, project.as_str())?;
    }
    if let Some(key) = expected.key {
        require("key", annotation(KEY)?, &key.to_string())?;
    }
    let project = match manifest.annotations.get(PROJECT) {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| RecordError::Malformed(format!("project '{text}'")))?,
        ),
    };
    let layer = |media_type: &str| {
        manifest
            .layers
            .iter()
            .find(|layer| layer.media_type == media_type)
    };
    let json = layer(&expected.kind.media_type())
        .ok_or_else(|| RecordError::Malformed("the JSON layer is missing".to_owned()))?;
    Ok(Header {
        facts: serde_json::from_str(annotation(FACTS)?).map_err(malformed)?,
        project,
        created: annotation(CREATED)?.clone(),
        json: json.digest,
        log: layer(LOG_TYPE).map(|layer| layer.digest),
    })
}

fn require(field: &'static str, found: &str, expected: &str) -> Result<(), RecordError> {
    if found == expected {
        return Ok(());
    }
    // What stands there was written by anybody: it is cut before it is shown.
    let found = found
        .chars()
        .filter(|character| !character.is_control())
        .take(80)
        .collect();
    Err(RecordError::Foreign {
        field,
        found,
        expected: expected.to_owned(),
    })
}
