//! External images: their digests, asked for once a run.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use super::engine::{Login, Secret};
use crate::model::Digest;
use crate::registry::{Client, Credentials, ImageReference, Options, RegistryError};

/// The digests of external images, each asked for once.
#[derive(Debug, Default)]
pub struct ExternalImages {
    known: Mutex<BTreeMap<String, Option<Pinned>>>,
    roots: Option<Vec<u8>>,
}

/// An external image by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// What stands in the Dockerfile instead.
    pub reference: String,
    /// The digest.
    pub digest: Digest,
}

impl ExternalImages {
    /// None is known yet. `roots` are certificates in PEM to trust besides the system's.
    #[must_use]
    pub fn new(roots: Option<Vec<u8>>) -> Self {
        Self {
            roots,
            ..Self::default()
        }
    }

    /// The image by digest, where its registry answers. An image that only the engine knows, or
    /// whose registry cannot be asked from here, is left as written: the engine has the last word.
    pub async fn pin(&self, name: &str) -> Option<Pinned> {
        let mut known = self.known.lock().await;
        if let Some(pinned) = known.get(name) {
            return pinned.clone();
        }
        let pinned = ask(name, self.roots.clone()).await;
        known.insert(name.to_owned(), pinned.clone());
        pinned
    }
}

async fn ask(name: &str, extra_root_pem: Option<Vec<u8>>) -> Option<Pinned> {
    let image: ImageReference = name.parse().ok()?;
    if let Some(digest) = image.digest() {
        return Some(Pinned {
            reference: name.to_owned(),
            digest: *digest,
        });
    }
    let options = Options {
        connect_timeout: Duration::from_secs(4),
        idle_timeout: Duration::from_secs(10),
        attempts: 2,
        extra_root_pem,
        ..Options::default()
    };
    let client = Client::new(image.registry().ok()?, Credentials::Docker, options).ok()?;
    let tag = image.tag().unwrap_or("latest");
    let digest = client.digest_of(image.repository(), tag).await.ok()??;
    Some(Pinned {
        reference: image.by_digest(&digest),
        digest,
    })
}

/// What the engine needs to talk with a registry. A credential that is configured and cannot be had
/// is an error: nothing goes out anonymously in its place.
pub(super) async fn login(
    credentials: &Credentials,
    host: &str,
) -> Result<Option<Login>, RegistryError> {
    let login = credentials.login(host).await?;
    Ok(login.map(|(username, password)| Login::Password {
        username,
        password: Secret::new(password.reveal()),
    }))
}
