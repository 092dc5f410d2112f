//! What stands for ECR's API in a program that was built without it: nothing can be one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::model::Digest;
use crate::registry::client::RawManifest;
use crate::registry::counter::Counter;
use crate::registry::credentials::Secret;
use crate::registry::request::Kind;
use crate::registry::retry::Failure;
use crate::registry::transport::Transport;
use crate::registry::upkeep::Upkeep;
use crate::registry::{Base, Options, RegistryError};

/// No value of this type exists.
#[derive(Debug)]
pub(in crate::registry) struct Ecr(Infallible);

/// The API of a base, where it has one: none here. One that is declared to is an error.
pub(in crate::registry) fn open(
    base: &Base,
    _: &Options,
) -> Result<Option<Arc<Ecr>>, RegistryError> {
    match base.ecr() {
        Some(place) if place.declared => Err(RegistryError::EcrNotBuiltIn {
            host: base.host().to_owned(),
        }),
        _ => Ok(None),
    }
}

/// The API of a host that is in use: none here.
pub(in crate::registry) fn known(_: &str) -> Option<Arc<Ecr>> {
    None
}

impl Ecr {
    pub(in crate::registry) const USER: &str = "AWS";
    pub(in crate::registry) const BATCH: usize = 1;

    pub(in crate::registry) async fn admit(&self, _: Kind) {
        match self.0 {}
    }

    pub(in crate::registry) async fn password(&self, _: &Counter) -> Result<Secret, Failure> {
        match self.0 {}
    }

    pub(in crate::registry) async fn forget(&self, _: impl Fn(&Secret) -> bool) {
        match self.0 {}
    }

    pub(in crate::registry) async fn manifests(
        &self,
        _: &Transport,
        _: &str,
        _: &[&str],
        _: bool,
    ) -> Result<BTreeMap<String, RawManifest>, RegistryError> {
        match self.0 {}
    }

    pub(in crate::registry) async fn is_archived(
        &self,
        _: &Transport,
        _: &str,
        _: &Digest,
    ) -> Result<bool, RegistryError> {
        match self.0 {}
    }

    pub(in crate::registry) async fn make_repository(
        &self,
        _: &Transport,
        _: &str,
        _: &Upkeep,
    ) -> Result<(), RegistryError> {
        match self.0 {}
    }

    pub(in crate::registry) async fn make_repositories(
        &self,
        _: &Transport,
        _: &[(String, Upkeep)],
    ) -> Result<Vec<String>, RegistryError> {
        match self.0 {}
    }
}
