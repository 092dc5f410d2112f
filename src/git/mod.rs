//! The facts of a git repository: commits, trees, history, changes. The only user of gix.
//!
//! Objects are read with gix, without locks and from any number of threads, and never fetched on
//! the way: what a clone lacks is [`GitError::Missing`]. The `git` program is run where it does
//! what gix cannot: the state of the work tree, fetching into partial clones, and streaming large
//! blobs.
//!
//! The directory that a command names decides which repository is meant; `GIT_DIR` and its kin in
//! the environment do not. Replacement objects (`refs/replace`) are ignored everywhere, since they
//! are facts of one clone.

mod changes;
mod error;
mod history;
mod identity;
mod last_changes;
mod lfs;
mod links;
mod objects;
mod program;
mod remote;
mod revision;
mod snapshot;
mod tree;
mod work_tree;
mod work_tree_files;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gix::sec::trust::DefaultForLevel as _;

pub use error::{Completeness, GitError};
pub use history::{History, HistoryCommit, HistoryEnd};
pub use last_changes::LastChange;
pub use objects::Commit;
pub use snapshot::Snapshot;
pub use work_tree_files::WorkTree;

use crate::model::RepoPath;

/// An open git repository: a normal clone, a linked work tree, or a bare one.
pub struct Repository {
    shared: gix::ThreadSafeRepository,
    /// Handles that no thread uses at the moment, with their caches.
    idle: Mutex<Vec<gix::Repository>>,
    root: PathBuf,
    /// Names of the remotes that promise to have what a partial clone lacks.
    promisors: Vec<String>,
}

impl Repository {
    /// Opens the repository that `directory` lies in.
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        if !directory.exists() {
            return Err(GitError::NotARepository {
                directory: directory.to_owned(),
            });
        }
        let directory = gix::path::realpath(directory).map_err(|error| GitError::Open {
            directory: directory.to_owned(),
            detail: error.to_string(),
        })?;
        let opened = discover(&directory, true).or_else(|error| {
            let error = open_error(directory.clone(), &error);
            // gix knows fewer places than git where a user may have said that it is trusted.
            if matches!(error, GitError::Untrusted { .. }) && program::git_trusts(&directory) {
                return discover(&directory, false).map_err(|error| open_error(directory, &error));
            }
            Err(error)
        })?;
        Ok(Self::from_gix(opened))
    }

    /// Opens the repository of the submodule at `path`, where it is checked out or was.
    pub fn submodule(&self, path: &RepoPath) -> Result<Self, GitError> {
        let relative = gix::path::from_byte_slice(path.as_bytes())
            .map_err(|_| GitError::Submodule { path: path.clone() })?;
        let common = self.shared.common_dir.as_deref();
        let modules = common
            .unwrap_or_else(|| self.shared.git_dir())
            .join("modules");
        let checked_out = self
            .work_dir()
            .map(|work_dir| work_dir.join(relative).join(".git"));
        let mut candidates = checked_out.into_iter().chain([modules.join(relative)]);
        let git_dir = candidates
            .find(|candidate| candidate.exists())
            .ok_or_else(|| GitError::Submodule { path: path.clone() })?;
        // Whoever trusts a repository trusts its submodules, of which only objects are read.
        options(gix::sec::Trust::Full, false)
            .open_path_as_is(true)
            .open(&git_dir)
            .map(Self::from_gix)
            .map_err(|error| open_error(git_dir, &error))
    }

    /// The work tree's root, or the git directory of a bare repository; absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The work tree's root, if there is a work tree.
    #[must_use]
    pub fn work_dir(&self) -> Option<&Path> {
        self.shared.work_dir()
    }

    /// Whether commits end at a boundary (`git clone --depth`).
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.with_objects(|objects| objects.handle.is_shallow().unwrap_or(false))
    }

    /// Whether objects are left at the remote until they are asked for (`git clone --filter`).
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.promisors.is_empty()
    }

    fn completeness(&self) -> Completeness {
        if self.is_partial() {
            Completeness::Partial
        } else if self.is_shallow() {
            Completeness::Shallow
        } else {
            Completeness::Full
        }
    }

    fn from_gix(shared: gix::ThreadSafeRepository) -> Self {
        let root = shared.work_dir().unwrap_or_else(|| shared.git_dir());
        let root = root.to_owned();
        let promisors = remote::promisors(shared.to_thread_local().config_snapshot().plumbing());
        Self {
            shared,
            idle: Mutex::default(),
            root,
            promisors,
        }
    }
}

fn discover(directory: &Path, only_trusted: bool) -> gix::Result<gix::ThreadSafeRepository> {
    gix::ThreadSafeRepository::discover_opts(
        directory,
        gix::discover::upwards::Options::default(),
        gix::sec::trust::Mapping {
            full: options(gix::sec::Trust::Full, only_trusted),
            reduced: options(gix::sec::Trust::Reduced, only_trusted),
        },
    )
}

/// How repositories are opened: without replacement objects, heedless of `GIT_*` variables that
/// name another repository, and, with `only_trusted`, only if no other user planted it.
fn options(trust: gix::sec::Trust, only_trusted: bool) -> gix::open::Options {
    let mut permissions = gix::open::Permissions::default_for_level(trust);
    permissions.env.git_prefix = gix::sec::Permission::Deny;
    gix::open::Options::default_for_level(trust)
        .permissions(permissions)
        .bail_if_untrusted(only_trusted)
        .config_overrides([
            "core.useReplaceRefs=false",
            "gitoxide.objects.allocLimitIfReducedTrust=0",
        ])
}

fn open_error(directory: PathBuf, error: &gix::Error) -> GitError {
    use gix::discover::upwards::Error as Discovery;
    if let Some(Discovery::NoTrustedGitRepository { .. }) = error.downcast_any_ref() {
        return GitError::Untrusted { directory };
    }
    if error.downcast_any_ref::<Discovery>().is_some() {
        return GitError::NotARepository { directory };
    }
    if let Some(format) = foreign_object_format(&directory) {
        return GitError::ObjectFormat { directory, format };
    }
    if error.is_permission_denied() {
        return GitError::Untrusted { directory };
    }
    GitError::Open {
        directory,
        detail: error.probable_cause().to_string(),
    }
}

/// The object format of the repository around `directory`, if it is not SHA-1.
fn foreign_object_format(directory: &Path) -> Option<String> {
    let (path, _) = gix::discover::upwards(directory).ok()?;
    let (git_dir, _) = path.into_repository_and_work_tree_directories();
    let config = gix::config::File::from_path_no_includes(
        git_dir.join("config"),
        gix::config::Source::Local,
    );
    let format = config.ok()?.string("extensions.objectFormat")?.to_string();
    (!format.eq_ignore_ascii_case("sha1")).then_some(format)
}
