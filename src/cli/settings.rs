//! What the command line and the environment mean, settled once.

use std::path::PathBuf;

use super::args::Global;
use crate::manifest::Manifest;
use crate::model::{RegistryApi, RepoPath};
use crate::problem::{Class, Failure, Problem};

/// The name of the registry that a repository carries with it.
pub(super) const EMBEDDED: &str = "embedded";

/// The settings of a run that come from outside the repository.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) directory: PathBuf,
    pub(super) manifest: Option<RepoPath>,
    /// The commit that was asked for, if one was.
    pub(super) commit: Option<String>,
    pub(super) tag: Option<String>,
    registry: Option<String>,
    upstream: Option<String>,
    /// Certificates in PEM that registries may have besides those that the system trusts.
    pub(super) roots: Option<Vec<u8>>,
    /// Whether this runs in somebody's CI.
    ci: bool,
}

/// The two bases by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseNames {
    pub(super) registry: BaseName,
    pub(super) upstream: Option<BaseName>,
}

/// A base by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseName {
    /// [`EMBEDDED`], or as written.
    pub(super) text: String,
    /// What the manifest says of it, where it is the manifest's.
    pub(super) api: RegistryApi,
}

impl BaseName {
    pub(super) fn is_embedded(&self) -> bool {
        self.text == EMBEDDED
    }
}

impl From<String> for BaseName {
    fn from(text: String) -> Self {
        let api = RegistryApi::default();
        Self { text, api }
    }
}

impl Settings {
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let manifest = global.manifest.as_deref().map(manifest_path).transpose()?;
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Ok(Self {
            directory: global
                .directory
                .clone()
                .unwrap_or_else(|| PathBuf::from(".")),
            manifest,
            commit: set(&global.commit),
            tag: set(&global.tag),
            registry: set(&global.registry),
            upstream: set(&global.upstream),
            roots: roots(global.registry_ca.as_deref())?,
            ci: is_ci(),
        })
    }

    /// The embedded base is written, and the one that would have been is its upstream.
    pub(super) fn with_embedded_base(self) -> Self {
        let configured = self.registry.filter(|registry| registry != EMBEDDED);
        Self {
            registry: Some(EMBEDDED.to_owned()),
            upstream: self.upstream.or(configured),
            ..self
        }
    }

    /// The commit, by any name that git knows.
    pub(super) fn revision(&self) -> &str {
        self.commit.as_deref().unwrap_or("HEAD")
    }

    /// The bases: flag over variable over manifest. Without `CI` in the environment the embedded
    /// registry is written, with the manifest's registry as its upstream.
    pub(super) fn bases(&self, manifest: &Manifest) -> Result<BaseNames, Failure> {
        let embedded = (!self.ci).then(|| EMBEDDED.to_owned());
        let given = self.registry.clone().or(embedded).map(BaseName::from);
        let registry = given.or_else(|| registry_of(manifest));
        let registry = registry.ok_or_else(no_registry)?;
        Ok(self.with_upstream(registry, manifest))
    }

    /// The base that is set up: flag over variable over manifest, and else the embedded one.
    pub(super) fn base_to_make(&self, manifest: &Manifest) -> BaseNames {
        let given = self.registry.clone().map(BaseName::from);
        let registry = given.or_else(|| registry_of(manifest));
        let registry = registry.unwrap_or_else(|| EMBEDDED.to_owned().into());
        self.with_upstream(registry, manifest)
    }

    fn with_upstream(&self, registry: BaseName, manifest: &Manifest) -> BaseNames {
        let upstream = match self.upstream.as_deref() {
            Some("none") => None,
            Some(upstream) => Some(upstream.to_owned().into()),
            None if registry.is_embedded() => {
                registry_of(manifest).or_else(|| upstream_of(manifest))
            }
            None => upstream_of(manifest),
        };
        let upstream =
            upstream.filter(|upstream| upstream.text != registry.text && !upstream.is_embedded());
        BaseNames { registry, upstream }
    }
}

fn registry_of(manifest: &Manifest) -> Option<BaseName> {
    let (text, api) = (manifest.registry.clone()?, manifest.registry_api.clone());
    Some(BaseName { text, api })
}

fn upstream_of(manifest: &Manifest) -> Option<BaseName> {
    let (text, api) = (manifest.upstream.clone()?, manifest.upstream_api.clone());
    Some(BaseName { text, api })
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The content of the file of certificates; an empty name is none.
fn roots(file: Option<&str>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(file) = file.filter(|file| !file.is_empty()) else {
        return Ok(None);
    };
    let read = std::fs::read(file).map_err(|cause| cause.to_string());
    let pem = read.and_then(|pem| {
        let text = String::from_utf8_lossy(&pem);
        if text.contains("-----BEGIN CERTIFICATE-----") {
            Ok(pem)
        } else {
            Err("no certificate in PEM stands in it".to_owned())
        }
    });
    pem.map(Some).map_err(|why| {
        let message = format!("the certificates in {file} cannot be used: {why}");
        let problem = Problem::error("invalid-registry-ca", message)
            .hint("--registry-ca takes a file of certificates, each between BEGIN and END lines");
        Failure::new(Class::Usage, problem)
    })
}

fn manifest_path(text: &str) -> Result<RepoPath, Failure> {
    RepoPath::root()
        .join(text.as_bytes())
        .filter(|path| !path.is_root())
        .ok_or_else(|| {
            let message = format!("'{text}' is no path inside the repository");
            let problem = Problem::error("invalid-manifest-path", message)
                .hint("--manifest takes a path from the repository's root");
            Failure::new(Class::Usage, problem)
        })
}

fn no_registry() -> Failure {
    let problem = Problem::error("no-registry", "no registry is configured")
        .hint("give --registry or WAYBILL_REGISTRY, or set `registry` in the manifest");
    Failure::new(Class::Usage, problem)
}
