//! Amazon ECR: what it has beside the OCI protocol. The only module that knows of AWS.
//!
//! A [`Place`] says which of Amazon's registries a base is in; [`Ecr`] is that registry's API, one
//! for all clients of the process: its token (token.rs) goes with every request of the OCI
//! protocol, many manifests are read with one call (images.rs), repositories are made with their
//! settings (repositories.rs, policy.rs), and writes keep to its quotas (pace.rs).
//!
//! Invariants: no request goes out without a credential of AWS's; an image or a repository is
//! absent only in ECR's own words; manifests are taken only under the digest that they have.
//!
//! Without the cargo feature `ecr` a host of ECR's is spoken to as any other registry, and a base
//! that is declared to be one is an error.

#[cfg(feature = "ecr")]
mod api;
#[cfg(feature = "ecr")]
mod images;
#[cfg(feature = "ecr")]
mod pace;
mod place;
mod policy;
#[cfg(feature = "ecr")]
mod repositories;
#[cfg(feature = "ecr")]
mod token;
#[cfg(not(feature = "ecr"))]
mod without;

#[cfg(feature = "ecr")]
pub(super) use api::{Ecr, known, open};
pub(super) use place::Place;
pub(super) use policy::settings;
#[cfg(not(feature = "ecr"))]
pub(super) use without::{Ecr, known, open};
