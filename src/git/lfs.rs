//! Objects of git-lfs, as far as this clone holds them.

use std::path::PathBuf;

use super::Repository;

impl Repository {
    /// The file that holds an LFS object, by its SHA-256 in hexadecimal; `None` if it is not in
    /// this clone.
    #[must_use]
    pub fn lfs_object(&self, oid: &str) -> Option<PathBuf> {
        let common = self
            .shared
            .common_dir
            .as_deref()
            .unwrap_or_else(|| self.shared.git_dir());
        let path = common
            .join("lfs/objects")
            .join(oid.get(..2)?)
            .join(oid.get(2..4)?)
            .join(oid);
        path.is_file().then_some(path)
    }
}
