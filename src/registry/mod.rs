//! Registries: the client over the OCI distribution protocol, its credentials, and the embedded
//! registry. The only module that knows of HTTP, of the registry crates and of their types.
//!
//! Flow of a request: [`Client`] says what it wants (client.rs, many.rs, blobs.rs, tags.rs,
//! delete.rs, platforms.rs; copy.rs and index.rs put them together), the transport sends it with the one retry
//! policy (transport.rs, retry.rs), authentication stands in between (auth.rs, credentials.rs), and
//! whatever goes wrong becomes a [`RegistryError`]. What Amazon ECR has beside the protocol is in
//! ecr/; what repositories are to be like there, in upkeep.rs.
//!
//! Invariants: a thing is absent only where a registry said so in the protocol's own words; bytes
//! are taken only under the digest that they have; no error holds a secret.

mod auth;
mod base;
mod blob_stream;
mod blobs;
mod cause;
mod challenge;
mod client;
mod copy;
mod counter;
mod credentials;
mod delete;
mod ecr;
pub mod embedded;
mod error;
mod hint;
mod image;
mod image_config;
mod index;
mod many;
mod platforms;
mod pushed;
mod request;
mod retry;
mod tags;
mod transport;
mod upkeep;

pub use base::Base;
pub use client::{Client, Put, RawManifest};
pub use copy::{Copied, CopyOptions, Extras, Origin};
pub use credentials::{Credential, Credentials, Secret};
pub use error::{RegistryError, RequestLine};
pub use image::ImageReference;
pub use image_config::ImageConfig;
pub use platforms::Offer;
pub use request::{Kind, Requests};
pub use transport::{AwsAccess, Options};
pub use upkeep::{Keep, Upkeep};

/// The types of manifests and descriptors (OCI image spec, `manifest.md`, `image-index.md`).
pub use oci_client::manifest;

/// Installs the process's TLS provider (rustls with ring). To be called before any TLS connection
/// is made; a second call does nothing.
pub fn install_tls() {
    // An error says that a provider stands already, which is what was wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
