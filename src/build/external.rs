//! External images: their digests and platforms, asked for once a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::asked::Asked;
use super::engine::Engine;
use crate::model::{Digest, Platform};
use crate::problem::Failure;
use crate::registry::{
    Client, Credential, Credentials, ImageReference, Offer, Options, RegistryError,
};

/// The digests and platforms of external images, each asked for once.
#[derive(Debug, Default)]
pub struct ExternalImages {
    pinned: Asked<Result<Option<Pinned>, RegistryError>>,
    platforms: Asked<Result<Vec<Platform>, RegistryError>>,
    /// By host.
    clients: Mutex<BTreeMap<String, Client>>,
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

    /// The image by digest; `None` where its registry does not have it. It is asked for the digest
    /// alone: Docker Hub counts what fetches a manifest, and not this.
    pub async fn pin(&self, name: &str) -> Result<Option<Pinned>, RegistryError> {
        self.pinned.once(name, || self.ask_digest(name)).await
    }

    /// The platforms that an image is there for, by its pinned reference; none where it states
    /// none, or its registry does not have it.
    pub async fn platforms(&self, pinned: &Pinned) -> Result<Vec<Platform>, RegistryError> {
        let name = &pinned.reference;
        self.platforms.once(name, || self.ask_platforms(name)).await
    }

    async fn ask_digest(&self, name: &str) -> Result<Option<Pinned>, RegistryError> {
        let image: ImageReference = name.parse()?;
        if let Some(digest) = image.digest() {
            return Ok(Some(Pinned {
                reference: name.to_owned(),
                digest: *digest,
            }));
        }
        let tag = image.tag().unwrap_or("latest");
        let client = self.client(&image)?;
        let digest = client.digest_of(image.repository(), tag).await?;
        Ok(digest.map(|digest| Pinned {
            reference: image.by_digest(&digest),
            digest,
        }))
    }

    async fn ask_platforms(&self, name: &str) -> Result<Vec<Platform>, RegistryError> {
        let image: ImageReference = name.parse()?;
        let Some(digest) = image.digest() else {
            return Ok(Vec::new());
        };
        let client = self.client(&image)?;
        let offer = client
            .offer(image.repository(), &digest.to_string())
            .await?;
        Ok(offer.iter().flat_map(Offer::platforms).cloned().collect())
    }

    /// The client of an image's registry, which does not ask for long.
    fn client(&self, image: &ImageReference) -> Result<Client, RegistryError> {
        let base = image.registry()?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(base.host()) {
            return Ok(client.clone());
        }
        let host = base.host().to_owned();
        let options = Options {
            connect_timeout: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(10),
            attempts: 2,
            extra_root_pem: self.roots.clone(),
            ..Options::default()
        };
        let client = Client::new(base, Credentials::Docker, options)?;
        clients.insert(host, client.clone());
        Ok(client)
    }
}

/// Checks that the engine reaches a registry on this machine's loopback.
pub async fn check_reach(engine: &Engine, client: &Client) -> Result<(), Failure> {
    if client.base().is_loopback() {
        let login = client.login().await?;
        let image = client.base().name("waybill-probe");
        engine.look_up(&image, login.as_ref()).await?;
    }
    Ok(())
}

/// What the engine needs to talk with a registry: that of one of `bases`, or another. A credential
/// that is configured and cannot be had is an error: nothing goes out anonymously in its place.
pub(crate) async fn login(
    bases: &[&Client],
    host: &str,
) -> Result<Option<Credential>, RegistryError> {
    match bases.iter().find(|client| client.base().host() == host) {
        Some(client) => client.login().await,
        None => Credentials::Docker.resolve(host).await,
    }
}

/// The registry's host, and port where it has one, that an image comes from: Docker Hub's where
/// none stands in front. `None` for what is no reference.
pub(crate) fn host_of(reference: &str) -> Option<String> {
    let image: ImageReference = reference.parse().ok()?;
    Some(image.registry().ok()?.host().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn an_image_without_a_host_comes_from_docker_hub() {
        let digest = Digest::of(b"");
        for (reference, host) in [
            ("debian", "docker.io"),
            ("debian:12", "docker.io"),
            (&format!("debian@{digest}"), "docker.io"),
            ("acme/api", "docker.io"),
            ("index.docker.io/acme/api", "docker.io"),
            ("localhost/api", "localhost"),
            ("127.0.0.1:5000/acme/api:1", "127.0.0.1:5000"),
            (&format!("ghcr.io/acme/api@{digest}"), "ghcr.io"),
        ] {
            assert_eq!(host_of(reference).as_deref(), Some(host), "{reference}");
        }
        assert_eq!(host_of("No Image"), None);
    }

    #[tokio::test]
    async fn each_is_asked_for_once_and_none_waits_for_another() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("{}/thing:1", silent.local_addr().unwrap());
        let images = Arc::new(ExternalImages::default());
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (images, name) = (Arc::clone(&images), name.clone());
            asking.spawn(async move { images.pin(&name).await.is_ok() });
        }
        // The registry has the request, and says nothing.
        let _connection = silent.accept().await.unwrap();
        let second = timeout(Duration::from_millis(300), silent.accept()).await;
        assert!(second.is_err(), "it was asked twice");
        let other = format!("example.com/thing@{}", Digest::of(b""));
        let pinned = timeout(Duration::from_secs(2), images.pin(&other)).await;
        assert_eq!(pinned.unwrap().unwrap().unwrap().reference, other);
    }
}
