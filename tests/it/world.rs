//! Decision, execution and recording together: real git, the embedded registry, and a builder that
//! follows a script instead of driving an engine.
//!
//! A [`World`] is a repository and a registry; a [`Run`] is one `plan` or `build` in it, by some
//! clone, as some script has it. Every build checks that each project of its plan ended once.

mod bases;
mod builder;
mod counted;
mod crowd;
mod edits;
mod faults;
mod keys;
mod kill;
mod random;
mod reuse;
mod rough;
mod run;
mod soak;
mod taints;
mod verdicts;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use waybill::ledger::{Ledger, Marker, names};
use waybill::model::{Digest, Key, ProjectName};
use waybill::registry::{Base, Client, Credentials, embedded};

use crate::repo::Repo;
pub(crate) use builder::Act;
use run::{Done, builds, is_reused, planned};

/// The prefix of every base here.
const PREFIX: &str = "acme";

/// A repository and a registry.
pub(crate) struct World {
    pub(crate) repo: Repo,
    pub(crate) registry: Served,
    pub(crate) runtime: Runtime,
}

/// An embedded registry in a directory of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    _kept: Option<TempDir>,
    _server: embedded::Server,
}

impl Served {
    fn new(runtime: &Runtime) -> Self {
        let kept = memory_directory();
        let served = Self::of(runtime, kept.path());
        Self {
            _kept: Some(kept),
            ..served
        }
    }

    fn of(runtime: &Runtime, directory: &Path) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime
            .block_on(embedded::serve(directory, any_port))
            .unwrap();
        Self {
            address: server.address(),
            directory: directory.to_owned(),
            _kept: None,
            _server: server,
        }
    }

    /// The text of the base in it.
    pub(crate) fn base(&self) -> String {
        format!("{}/{PREFIX}", self.address)
    }

    /// Removes an image behind the registry's back, with every tag that stands for it.
    pub(crate) fn forget(&self, project: &str, image: &Digest) {
        let repository = format!("{PREFIX}+{project}");
        let repository = self.directory.join("repositories").join(repository);
        for tag in std::fs::read_dir(repository.join("tags")).unwrap() {
            let tag = tag.unwrap().path();
            if std::fs::read_to_string(&tag)
                .unwrap()
                .contains(&image.hex())
            {
                std::fs::remove_file(tag).unwrap();
            }
        }
        std::fs::remove_file(repository.join("manifests").join(image.hex())).unwrap();
    }

    /// Removes a tag behind the registry's back.
    pub(crate) fn forget_tag(&self, repository: &str, tag: &str) {
        let repository = format!("{PREFIX}+{repository}");
        let repository = self.directory.join("repositories").join(repository);
        std::fs::remove_file(repository.join("tags").join(tag)).unwrap();
    }
}

/// A directory in memory where the system has such: what is flushed there costs nothing.
pub(crate) fn memory_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The small monorepo of most tests: `api` uses the images of `base` and `log`, `web` uses that of
/// `base` and is triggered by `log`, `docs` stands alone.
const SHOP: &str = r#"{
  "version": 1,
  "projects": {
    "api": {"buildDir": "services/api", "dependencies": ["base", "log"]},
    "base": {"buildDir": "docker/base"},
    "docs": {"buildDir": "docs"},
    "log": {"buildDir": "libs/log"},
    "web": {"buildDir": "services/web", "dependencies": ["base", "log"]}
  }
}
"#;

impl World {
    /// The small monorepo, committed, with an empty registry.
    pub(crate) fn shop() -> Self {
        let repo = Repo::new();
        repo.write("build_manifest.json", SHOP);
        for (directory, dockerfile) in [
            ("docker/base", "FROM scratch\nCOPY . /\n"),
            ("docs", "FROM scratch\nCOPY . /\n"),
            ("libs/log", "FROM scratch\nCOPY . /\n"),
            ("services/api", "FROM base\nCOPY --from=log / /\nCOPY . /\n"),
            ("services/web", "FROM base\nCOPY . /\n"),
        ] {
            repo.write(format!("{directory}/Dockerfile"), dockerfile);
            repo.write(format!("{directory}/main"), directory);
        }
        repo.commit("First");
        Self::of(repo)
    }

    /// Any repository, with an empty registry that was made to be used alone.
    pub(crate) fn of(repo: Repo) -> Self {
        let runtime = runtime();
        let registry = Served::new(&runtime);
        let world = Self {
            repo,
            registry,
            runtime,
        };
        world.make_base(false);
        world
    }

    /// A laptop: a clone, with a registry that was made to be used with an upstream.
    pub(crate) fn laptop(repo: &Repo) -> Self {
        let runtime = runtime();
        let registry = Served::new(&runtime);
        let world = Self {
            repo: repo.clone_with(&[]),
            registry,
            runtime,
        };
        world.make_base(true);
        world
    }

    /// Another machine: a clone, and the same registry served anew.
    pub(crate) fn elsewhere(&self, clone: Repo) -> Self {
        let runtime = runtime();
        let registry = Served::of(&runtime, &self.registry.directory);
        Self {
            repo: clone,
            registry,
            runtime,
        }
    }

    fn make_base(&self, upstream: bool) {
        self.make_base_at(&self.registry.base(), upstream);
    }

    /// As a build does with a base of its own: makes what is missing of it.
    fn make_base_at(&self, base: &str, upstream: bool) {
        let client = client(base);
        let id = format!("base {upstream}");
        let made = Ledger::create(client, Marker { id, upstream }, NOW);
        self.runtime.block_on(made).unwrap();
    }

    /// The ledger of the base that is written.
    pub(crate) fn ledger(&self) -> Ledger {
        self.block_on(Ledger::open(self.client())).unwrap()
    }

    /// A client of the base that is written.
    pub(crate) fn client(&self) -> Client {
        client(&self.registry.base())
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Puts something that is no record where a record would be.
    pub(crate) fn put_garbage(&self, repository: &str, tag: &str) {
        let client = self.client();
        let pushed = builder::push_image(&client, repository, tag, b"garbage", None);
        self.block_on(pushed).unwrap();
    }

    /// Changes an annotation of the record under a tag.
    pub(crate) fn annotate(&self, repository: &str, tag: &str, name: &str, value: &str) {
        self.block_on(async {
            let client = self.client();
            let manifest = client.manifest(repository, tag).await.unwrap().unwrap();
            let mut json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
            assert!(json["annotations"][name].is_string(), "{json}");
            json["annotations"][name] = value.into();
            let bytes = serde_json::to_vec(&json).unwrap().into();
            client
                .put_manifest(repository, tag, &manifest.media_type, bytes)
                .await
                .unwrap();
        });
    }

    /// Every key that has a record of a build.
    pub(crate) fn recorded(&self) -> BTreeSet<Key> {
        let tags = self.block_on(async { self.client().tags(names::LEDGER).await });
        let tags = tags.unwrap();
        let built = tags.iter().filter_map(|tag| tag.strip_prefix("v1-built-"));
        built.map(|key| key.parse().unwrap()).collect()
    }
}

/// The time of every record here.
const NOW: &str = "2026-01-01T00:00:00Z";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A client that does not try again: what fails in these tests is meant to.
pub(crate) fn client(base: &str) -> Client {
    let options = waybill::registry::Options {
        attempts: 1,
        ..waybill::registry::Options::default()
    };
    Client::new(
        base.parse::<Base>().unwrap(),
        Credentials::Anonymous,
        options,
    )
    .unwrap()
}

pub(crate) fn name(text: &str) -> ProjectName {
    text.parse().unwrap()
}

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
