//! What the embedded registry keeps, as files:
//!
//! ```text
//! format                            which layout this is
//! lock                              held while something is changed
//! blobs/sha256/ab/cdef…             ferro-blob-store's layout
//! repositories/<name>/manifests/<hex>       media type, newline, the manifest's bytes
//! repositories/<name>/tags/<tag>            the manifest's digest
//! repositories/<name>/referrers/<hex>/<hex> a descriptor, in JSON
//! uploads/                          blobs on their way in, by process
//! ```
//!
//! In file names `/` is written `+`, and an upper-case letter as `+` and the lower-case one, since
//! some file systems do not tell cases apart. A file is written under a temporary name, flushed to
//! disk and then renamed.

use std::fs::{self, File};
use std::io::{self, Error, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fs4::fs_std::FileExt as _;

use super::EmbeddedError;
use super::files::{TEMPORARY, file_of_tag, remove_if_there, tag_of_file, write_durably};
use crate::model::Digest;

/// The directory of an embedded registry, checked when it was opened. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: std::sync::Arc<Path>,
}

/// A manifest as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// What a manifest that names a subject is listed under, and with which descriptor (JSON).
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    pub(super) subject: Digest,
    pub(super) descriptor: Vec<u8>,
}

/// Either name of a manifest.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    Tag(String),
    Digest(Digest),
}

/// The content of `format`.
const FORMAT: &str = "waybill embedded registry, version 1\n";

impl Store {
    /// Opens the directory, or makes it where there is none or an empty one.
    pub(super) fn open(directory: &Path) -> Result<Self, EmbeddedError> {
        let error = |why: String| EmbeddedError::Store {
            path: directory.to_owned(),
            why,
        };
        let store = Self {
            root: directory.into(),
        };
        fs::create_dir_all(directory).map_err(|cause| error(cause.to_string()))?;
        let _lock = store.lock().map_err(|cause| error(cause.to_string()))?;
        if is_new(directory).map_err(|cause| error(cause.to_string()))? {
            store.lay_out().map_err(|cause| error(cause.to_string()))?;
        }
        store.check().map_err(|cause| error(cause.to_string()))?;
        Ok(store)
    }

    /// Where blobs are kept.
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The file of a blob, whether it is there or not.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let (shard, rest) = hex.split_at(2);
        self.blobs().join("sha256").join(shard).join(rest)
    }

    /// Where uploads are collected.
    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The manifest under a tag or digest.
    pub(super) fn manifest(
        &self,
        name: &str,
        reference: &Reference,
    ) -> io::Result<Option<Manifest>> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.tag(name, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let path = self.manifest_file(name, &digest);
        let Some(content) = self.read(&path)? else {
            return match reference {
                Reference::Digest(_) => Ok(None),
                Reference::Tag(tag) => {
                    let why =
                        format!("tag {tag} of {name} stands for {digest}, which is not there");
                    Err(Error::new(ErrorKind::InvalidData, why))
                }
            };
        };
        parse_manifest(&content, digest)
            .ok_or_else(|| damaged(&path))
            .map(Some)
    }

    /// Keeps a manifest; the tag, which makes it visible, comes last.
    pub(super) fn put_manifest(
        &self,
        name: &str,
        manifest: &Manifest,
        tag: Option<&str>,
        referrer: Option<&Referrer>,
    ) -> io::Result<()> {
        let _lock = self.lock()?;
        self.check()?;
        let digest = manifest.digest;
        let mut content = manifest.media_type.clone().into_bytes();
        content.push(b'\n');
        content.extend_from_slice(&manifest.bytes);
        let path = self.manifest_file(name, &digest);
        if self.read(&path)?.as_ref() != Some(&content) {
            write_durably(&path, &content)?;
        }
        if let Some(referrer) = referrer {
            let path = self.referrers(name, &referrer.subject).join(digest.hex());
            write_durably(&path, &referrer.descriptor)?;
        }
        if let Some(tag) = tag {
            write_durably(&self.tag_file(name, tag), format!("{digest}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Forgets a manifest with its tags and as a referrer; says whether it was there.
    pub(super) fn delete_manifest(&self, name: &str, digest: &Digest) -> io::Result<bool> {
        let _lock = self.lock()?;
        let reference = Reference::Digest(*digest);
        if self.manifest(name, &reference)?.is_none() {
            return Ok(false);
        }
        for tag in self.tags(name)? {
            if self.tag(name, &tag)? == Some(*digest) {
                fs::remove_file(self.tag_file(name, &tag))?;
            }
        }
        for subject in self.names_in(&self.repository(name).join("referrers"))? {
            let path = self
                .repository(name)
                .join("referrers")
                .join(subject)
                .join(digest.hex());
            remove_if_there(&path)?;
        }
        fs::remove_file(self.manifest_file(name, digest))?;
        Ok(true)
    }

    /// Forgets a tag; the manifest stays. Says whether it was there.
    pub(super) fn delete_tag(&self, name: &str, tag: &str) -> io::Result<bool> {
        let _lock = self.lock()?;
        let file = self.tag_file(name, tag);
        if self.read(&file)?.is_none() {
            return Ok(false);
        }
        fs::remove_file(file)?;
        Ok(true)
    }

    /// All tags of a repository, sorted.
    pub(super) fn tags(&self, name: &str) -> io::Result<Vec<String>> {
        let files = self.names_in(&self.repository(name).join("tags"))?;
        Ok(sorted(files.iter().filter_map(|file| tag_of_file(file))))
    }

    /// All repositories, sorted.
    pub(super) fn repositories(&self) -> io::Result<Vec<String>> {
        let names = self.names_in(&self.root.join("repositories"))?;
        Ok(sorted(names.iter().map(|name| name.replace('+', "/"))))
    }

    /// The descriptors of what names `subject` as its subject, in the order of their digests.
    pub(super) fn referrers_of(&self, name: &str, subject: &Digest) -> io::Result<Vec<Vec<u8>>> {
        let directory = self.referrers(name, subject);
        let files = sorted(self.names_in(&directory)?.into_iter());
        let read = |file: &String| self.read(&directory.join(file)).transpose();
        files.iter().filter_map(read).collect()
    }

    /// Fails unless this is still the directory of an embedded registry of this version.
    pub(super) fn check(&self) -> io::Result<()> {
        match fs::read_to_string(self.root.join("format")) {
            Ok(format) if format == FORMAT => Ok(()),
            Ok(format) if format.starts_with("waybill embedded registry, version ") => {
                Err(Error::new(
                    ErrorKind::Unsupported,
                    "it was made by another version of waybill",
                ))
            }
            Ok(_) => Err(Error::new(
                ErrorKind::InvalidData,
                "its file 'format' is damaged",
            )),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Err(Error::new(
                ErrorKind::InvalidData,
                "it is no embedded registry (it has no file 'format')",
            )),
            Err(cause) => Err(cause),
        }
    }

    /// The first content of a new registry; `format` comes last.
    fn lay_out(&self) -> io::Result<()> {
        let parent = self
            .root
            .parent()
            .filter(|parent| parent.ends_with(".waybill"));
        let ignore = parent.unwrap_or(&self.root).join(".gitignore");
        if !ignore.try_exists()? {
            write_durably(&ignore, b"*\n")?;
        }
        write_durably(&self.root.join("format"), FORMAT.as_bytes())
    }

    /// Waits until no other process or thread changes anything; free again when dropped.
    fn lock(&self) -> io::Result<File> {
        let path = self.root.join("lock");
        let file = File::options().create(true).append(true).open(path)?;
        file.lock_exclusive()?;
        Ok(file)
    }

    fn tag(&self, name: &str, tag: &str) -> io::Result<Option<Digest>> {
        let path = self.tag_file(name, tag);
        let Some(content) = self.read(&path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&content).unwrap_or_default();
        text.trim_end()
            .parse()
            .map(Some)
            .map_err(|_| damaged(&path))
    }

    /// A file's content; `None` where it is not there although the registry is.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => self.check().map(|()| None),
            Err(cause) => Err(cause),
        }
    }

    /// The names in a directory; none where it is not there although the registry is.
    fn names_in(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                return self.check().map(|()| Vec::new());
            }
            Err(cause) => return Err(cause),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?
                .file_name()
                .into_string()
                .map_err(|_| damaged(directory))?;
            if !name.starts_with(TEMPORARY) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.root.join("repositories").join(name.replace('/', "+"))
    }

    fn manifest_file(&self, name: &str, digest: &Digest) -> PathBuf {
        self.repository(name).join("manifests").join(digest.hex())
    }

    fn tag_file(&self, name: &str, tag: &str) -> PathBuf {
        self.repository(name).join("tags").join(file_of_tag(tag))
    }

    fn referrers(&self, name: &str, subject: &Digest) -> PathBuf {
        self.repository(name).join("referrers").join(subject.hex())
    }
}

/// Whether a directory holds nothing but what an interrupted start leaves.
fn is_new(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && name != ".gitignore" && !name.starts_with(TEMPORARY) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parse_manifest(content: &[u8], digest: Digest) -> Option<Manifest> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let bytes = Bytes::copy_from_slice(&content[end + 1..]);
    let media_type = String::from_utf8(content[..end].to_vec()).ok()?;
    (Digest::of(&bytes) == digest).then_some(Manifest {
        digest,
        media_type,
        bytes,
    })
}

fn damaged(path: &Path) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{} is damaged", path.display()),
    )
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(content: &'static [u8]) -> Manifest {
        Manifest {
            digest: Digest::of(content),
            media_type: "application/x".into(),
            bytes: Bytes::from_static(content),
        }
    }

    fn tag(text: &str) -> Reference {
        Reference::Tag(text.into())
    }

    #[test]
    fn keeps_manifests_by_tag_and_digest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (one, two) = (manifest(b"{1}\n"), manifest(b"{2}"));
        store.put_manifest("a/b", &one, Some("Tag"), None).unwrap();
        store.put_manifest("a/b", &two, Some("tag"), None).unwrap();
        let again = Store::open(directory.path()).unwrap();
        assert_eq!(
            again.manifest("a/b", &tag("Tag")).unwrap(),
            Some(one.clone())
        );
        assert_eq!(again.manifest("a/b", &tag("tag")).unwrap(), Some(two));
        assert_eq!(again.manifest("a/b", &tag("none")).unwrap(), None);
        assert_eq!(
            again.manifest("a", &Reference::Digest(one.digest)).unwrap(),
            None
        );
        assert_eq!(again.tags("a/b").unwrap(), ["Tag", "tag"]);
        assert_eq!(again.repositories().unwrap(), ["a/b"]);
        assert!(again.delete_manifest("a/b", &one.digest).unwrap());
        assert!(!again.delete_manifest("a/b", &one.digest).unwrap());
        assert_eq!(store.tags("a/b").unwrap(), ["tag"]);
    }

    #[test]
    fn what_is_no_registry_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("notes.txt"), "mine").unwrap();
        assert!(Store::open(directory.path()).is_err());
        fs::remove_file(directory.path().join("notes.txt")).unwrap();
        Store::open(directory.path()).unwrap();
        for format in ["", "waybill embedded registry, version 2\n"] {
            fs::write(directory.path().join("format"), format).unwrap();
            assert!(Store::open(directory.path()).is_err(), "{format}");
        }
    }

    #[test]
    fn a_registry_that_vanished_or_was_damaged_is_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let one = manifest(b"{}");
        store.put_manifest("a", &one, Some("t"), None).unwrap();
        let file = store.manifest_file("a", &one.digest);
        fs::write(&file, b"application/x\n{ }").unwrap();
        assert!(store.manifest("a", &tag("t")).is_err());
        fs::remove_file(&file).unwrap();
        assert!(store.manifest("a", &tag("t")).is_err());
        fs::remove_dir_all(directory.path()).unwrap();
        assert!(store.manifest("a", &tag("t")).is_err());
        assert!(store.tags("a").is_err());
        assert!(store.repositories().is_err());
    }

    #[test]
    fn hides_from_git_at_the_right_place() {
        let directory = tempfile::tempdir().unwrap();
        Store::open(&directory.path().join(".waybill/registry")).unwrap();
        let ignore = directory.path().join(".waybill/.gitignore");
        assert_eq!(fs::read_to_string(ignore).unwrap(), "*\n");
        Store::open(&directory.path().join("elsewhere")).unwrap();
        assert!(!directory.path().join(".gitignore").exists());
        assert!(directory.path().join("elsewhere/.gitignore").exists());
    }

    #[tokio::test]
    async fn blobs_lie_where_ferro_puts_them() {
        use ferro_blob_store::{BlobStore as _, FsBlobStore};
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let ferro = FsBlobStore::new(store.blobs()).unwrap();
        ferro
            .put(
                &ferro_blob_store::Digest::sha256_of(b"x"),
                Bytes::from_static(b"x"),
            )
            .await
            .unwrap();
        assert_eq!(fs::read(store.blob(&Digest::of(b"x"))).unwrap(), b"x");
    }
}
