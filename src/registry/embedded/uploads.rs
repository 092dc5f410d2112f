//! Blobs on their way in (distribution spec, "Pushing blobs"): each upload is a file that grows
//! while its digest is computed, and is moved into its place when it is complete. Uploads belong
//! to the process that opened them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ferro_oci_server::{ContentRange, OciError, OciErrorCode};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex as AsyncMutex;

use super::EmbeddedError;
use super::files::sync_directory;
use super::routes::{Parameters, failed, parse_digest};
use super::store::Store;
use crate::model::Digest;

/// The uploads of this process.
#[derive(Debug)]
pub(super) struct Uploads {
    store: Store,
    /// Removed with everything in it when the server ends.
    directory: TempDir,
    open: Mutex<Table>,
    opened: AtomicU64,
}

/// The open uploads by repository and id.
type Table = HashMap<(String, String), Arc<AsyncMutex<Upload>>>;

/// One upload. Whoever holds the lock on it writes.
#[derive(Debug)]
struct Upload {
    repository: String,
    path: PathBuf,
    hasher: Sha256,
    length: u64,
}

/// What processes that were killed leave is removed when it is this old.
const LEFT_OVER: Duration = Duration::from_secs(24 * 60 * 60);

impl Uploads {
    pub(super) fn new(store: Store) -> Result<Self, EmbeddedError> {
        let place = store.uploads();
        let error = |cause: io::Error| EmbeddedError::Store {
            path: place.clone(),
            why: cause.to_string(),
        };
        std::fs::create_dir_all(&place).map_err(error)?;
        remove_left_overs(&place);
        let directory = tempfile::tempdir_in(&place).map_err(error)?;
        Ok(Self {
            store,
            directory,
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        })
    }

    /// POST: opens an upload; or takes a whole blob at once (`?digest=`); or finds that a blob to
    /// be mounted is here already, since all repositories share their blobs.
    pub(super) async fn start(
        &self,
        repository: &str,
        parameters: &Parameters,
        body: Body,
    ) -> Result<Response, OciError> {
        if let Some(mount) = parameters.get("mount") {
            let digest = parse_digest(mount)?;
            let here = fs::try_exists(self.store.blob(&digest)).await;
            if here.map_err(|cause| failed(&cause))? {
                return Ok(created(repository, &digest));
            }
        }
        let (id, upload) = self.open(repository);
        if let Some(digest) = parameters.get("digest") {
            let done = self.complete(&upload, digest, body).await;
            self.close(repository, &id);
            return done;
        }
        Ok((StatusCode::ACCEPTED, state(repository, &id, 0)).into_response())
    }

    /// PATCH: takes a part. Where its place is given, it must be the next one.
    pub(super) async fn append(
        &self,
        repository: &str,
        id: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, OciError> {
        let upload = self.find(repository, id)?;
        let mut upload = upload.lock().await;
        if let Some(range) = headers.get(CONTENT_RANGE) {
            let range = range
                .to_str()
                .ok()
                .and_then(|text| ContentRange::parse(text).ok());
            if range.is_none_or(|range| range.start != upload.length) {
                let state = state(repository, id, upload.length);
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, state).into_response());
            }
        }
        upload.write(body).await?;
        Ok((StatusCode::ACCEPTED, state(repository, id, upload.length)).into_response())
    }

    /// PUT: takes the last part, if there is one, and puts the blob into its place.
    pub(super) async fn finish(
        &self,
        repository: &str,
        id: &str,
        parameters: &Parameters,
        body: Body,
    ) -> Result<Response, OciError> {
        let upload = self.find(repository, id)?;
        let digest = parameters
            .get("digest")
            .map(String::as_str)
            .unwrap_or_default();
        let done = self.complete(&upload, digest, body).await;
        self.close(repository, id);
        done
    }

    /// GET: how far an upload has come.
    pub(super) async fn status(&self, repository: &str, id: &str) -> Result<Response, OciError> {
        let length = self.find(repository, id)?.lock().await.length;
        Ok((StatusCode::NO_CONTENT, state(repository, id, length)).into_response())
    }

    /// DELETE: gives an upload up.
    pub(super) async fn cancel(&self, repository: &str, id: &str) -> Result<Response, OciError> {
        let upload = self.find(repository, id)?;
        self.close(repository, id);
        upload.lock().await.discard().await;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn open(&self, repository: &str) -> (String, Arc<AsyncMutex<Upload>>) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        // The directory's name is random, so that no other process has the same ids.
        let own = self
            .directory
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let id = format!("{}-{number}", own.trim_start_matches('.'));
        let upload = Arc::new(AsyncMutex::new(Upload {
            repository: repository.to_owned(),
            path: self.directory.path().join(&id),
            hasher: Sha256::new(),
            length: 0,
        }));
        self.table()
            .insert((repository.to_owned(), id.clone()), Arc::clone(&upload));
        (id, upload)
    }

    fn find(&self, repository: &str, id: &str) -> Result<Arc<AsyncMutex<Upload>>, OciError> {
        let upload = self
            .table()
            .get(&(repository.to_owned(), id.to_owned()))
            .cloned();
        upload.ok_or_else(|| OciError::new(OciErrorCode::BlobUploadUnknown, "no such upload"))
    }

    fn close(&self, repository: &str, id: &str) {
        self.table().remove(&(repository.to_owned(), id.to_owned()));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn complete(
        &self,
        upload: &AsyncMutex<Upload>,
        digest: &str,
        body: Body,
    ) -> Result<Response, OciError> {
        let mut upload = upload.lock().await;
        let done = async {
            let declared = parse_digest(digest)?;
            upload.write(body).await?;
            let actual = Digest::new(upload.hasher.clone().finalize().into());
            if actual != declared {
                let message = format!("the bytes have digest {actual}, not {declared}");
                return Err(OciError::new(OciErrorCode::DigestInvalid, message));
            }
            self.keep(&upload.path, &declared)
                .await
                .map_err(|cause| failed(&cause))?;
            Ok(created(&upload.repository, &declared))
        }
        .await;
        if done.is_err() {
            upload.discard().await;
        }
        done
    }

    /// Moves a complete file into the blobs, for good.
    async fn keep(&self, file: &PathBuf, digest: &Digest) -> io::Result<()> {
        self.store.check()?;
        File::options()
            .write(true)
            .open(file)
            .await?
            .sync_all()
            .await?;
        let place = self.store.blob(digest);
        let directory = place.parent().unwrap_or(&place);
        fs::create_dir_all(directory).await?;
        fs::rename(file, &place).await?;
        sync_directory(directory)
    }
}

impl Upload {
    /// Takes in all of `body`. What arrived before a broken connection stays.
    async fn write(&mut self, body: Body) -> Result<(), OciError> {
        let mut file = self.file().await.map_err(|cause| failed(&cause))?;
        let mut parts = body.into_data_stream();
        let mut broken = None;
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) => {
                    file.write_all(&part)
                        .await
                        .map_err(|cause| failed(&cause))?;
                    self.hasher.update(&part);
                    self.length += part.len() as u64;
                }
                Err(cause) => {
                    broken = Some(format!("the upload broke off: {cause}"));
                    break;
                }
            }
        }
        file.flush().await.map_err(|cause| failed(&cause))?;
        match broken {
            Some(message) => Err(OciError::new(OciErrorCode::BlobUploadInvalid, message)),
            None => Ok(()),
        }
    }

    async fn file(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            // After a day without uploads, another process may have taken it for left over.
            fs::create_dir_all(directory).await?;
        }
        File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .await
    }

    async fn discard(&self) {
        // It may never have been written, and goes with its directory anyway.
        let _ = fs::remove_file(&self.path).await;
    }
}

fn created(repository: &str, digest: &Digest) -> Response {
    let headers = [
        ("location", format!("/v2/{repository}/blobs/{digest}")),
        ("docker-content-digest", digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}

/// Where an upload goes on, and how far it has come (`0-0` where nothing has).
fn state(repository: &str, id: &str, length: u64) -> [(HeaderName, String); 2] {
    [
        (LOCATION, format!("/v2/{repository}/blobs/uploads/{id}")),
        (RANGE, format!("0-{}", length.saturating_sub(1))),
    ]
}

fn remove_left_overs(uploads: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(uploads) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_OVER) {
            // Left to the next start if it fails: it only takes up room.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
