//! Which request goes where: blobs and uploads to our own streaming code, the rest to ferro's
//! handlers. Paths are read from their end, so that a repository may be called `blobs`.

use std::collections::BTreeMap;
use std::io::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use ferro_blob_store::FsBlobStore;
use ferro_oci_server::handlers::{blob, manifest, referrers, tags};
use ferro_oci_server::{AppState, OciError, OciErrorCode, validate_name};
use reqwest::Url;

use super::meta::Meta;
use super::store::Store;
use super::uploads::Uploads;
use super::{EmbeddedError, blobs, host};
use crate::model::{Digest, is_tag};

/// The parameters of a query.
pub(super) type Parameters = BTreeMap<String, String>;

/// The largest manifest that is taken.
const LARGEST_MANIFEST: usize = 4 << 20;

struct Shared {
    store: Store,
    uploads: Uploads,
    ferro: Arc<AppState>,
    /// Where it listens.
    address: SocketAddr,
}

/// The registry as a router.
pub(super) fn router(
    store: Store,
    uploads: Uploads,
    address: SocketAddr,
) -> Result<Router, EmbeddedError> {
    let blobs = FsBlobStore::new(store.blobs()).map_err(|cause| EmbeddedError::Store {
        path: store.blobs(),
        why: cause.to_string(),
    })?;
    let ferro = AppState::new(Arc::new(blobs), Arc::new(Meta::new(store.clone())));
    let router = ferro_oci_server::router(Arc::clone(&ferro));
    let shared = Arc::new(Shared {
        store,
        uploads,
        ferro,
        address,
    });
    Ok(router.layer(from_fn_with_state(shared, dispatch)))
}

/// What a path is about: a repository, and what in it.
#[derive(Debug, PartialEq)]
struct Target {
    repository: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Manifest(String),
    Blob(String),
    NewUpload,
    Upload(String),
    Tags,
    Referrers(String),
}

async fn dispatch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let named = request.uri().authority();
    if let Err(error) = host::check(shared.address, named, request.headers()) {
        return error.into_response();
    }
    let Some(target) = target(request.uri().path()) else {
        // The version check and the catalogue.
        return next.run(request).await;
    };
    match answer(&shared, &target, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, target: &Target, request: Request) -> Result<Response, OciError> {
    validate_name(&target.repository)?;
    let (head, body) = request.into_parts();
    let parameters = parameters(head.uri.query().unwrap_or_default());
    let (name, method) = (target.repository.as_str(), head.method.clone());
    let (ferro, uploads) = (&*shared.ferro, &shared.uploads);
    let response = match (&target.what, method.as_str()) {
        (What::Blob(digest), "GET" | "HEAD") => {
            return blobs::get(&shared.store, &method, &head.headers, digest).await;
        }
        (What::Blob(digest), "DELETE") => blob::delete_blob(ferro, name, digest).await,
        (What::NewUpload, "POST") => return uploads.start(name, &parameters, body).await,
        (What::Upload(id), "PATCH") => {
            return uploads.append(name, id, &head.headers, body).await;
        }
        (What::Upload(id), "PUT") => return uploads.finish(name, id, &parameters, body).await,
        (What::Upload(id), "GET") => return uploads.status(name, id).await,
        (What::Upload(id), "DELETE") => return uploads.cancel(name, id).await,
        (What::Manifest(which), "GET") => {
            manifest::get_manifest(ferro, name, which, &head.headers).await
        }
        (What::Manifest(which), "HEAD") => manifest::head_manifest(ferro, name, which).await,
        (What::Manifest(which), "PUT") => {
            let body = whole(body).await?;
            manifest::put_manifest(ferro, name, which, &head.headers, body).await
        }
        (What::Manifest(tag), "DELETE") if is_tag(tag) => {
            return delete_tag(&shared.store, name, tag).await;
        }
        (What::Manifest(which), "DELETE") => manifest::delete_manifest(ferro, name, which).await,
        (What::Tags, "GET") => tags::list_tags(ferro, name, &parameters).await,
        (What::Referrers(subject), "GET") => {
            referrers::get_referrers(ferro, name, subject, &parameters).await
        }
        _ => {
            return Err(OciError::new(
                OciErrorCode::Unsupported,
                "not of this protocol",
            ));
        }
    };
    Ok(own_up(&method, response))
}

/// ferro has no deletion of tags.
async fn delete_tag(store: &Store, name: &str, tag: &str) -> Result<Response, OciError> {
    let (store, name, owned) = (store.clone(), name.to_owned(), tag.to_owned());
    let done = tokio::task::spawn_blocking(move || store.delete_tag(&name, &owned)).await;
    let deleted = done.map_err(Error::other).and_then(|done| done);
    if deleted.map_err(|cause| failed(&cause))? {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let message = format!("no tag {tag} stands in the repository");
    Err(OciError::new(OciErrorCode::ManifestUnknown, message))
}

/// ferro answers 405 where the store cannot be read; that is a failure of ours.
fn own_up(method: &Method, mut response: Response) -> Response {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

async fn whole(body: Body) -> Result<axum::body::Bytes, OciError> {
    to_bytes(body, LARGEST_MANIFEST).await.map_err(|_| {
        OciError::new(
            OciErrorCode::SizeInvalid,
            "the manifest is too large, or broke off",
        )
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
    })
}

fn target(path: &str) -> Option<Target> {
    // Some clients encode the colon of a digest.
    let path = path.replace("%3A", ":").replace("%3a", ":");
    let rest = path.strip_prefix("/v2/")?;
    let (before, last) = rest.rsplit_once('/')?;
    let (repository, what) = if let Some(repository) = rest.strip_suffix("/tags/list") {
        (repository, What::Tags)
    } else if last.is_empty() {
        (before.strip_suffix("/blobs/uploads")?, What::NewUpload)
    } else if let Some(repository) = rest.strip_suffix("/blobs/uploads") {
        (repository, What::NewUpload)
    } else if let Some(repository) = before.strip_suffix("/blobs/uploads") {
        (repository, What::Upload(last.to_owned()))
    } else {
        let (repository, kind) = before.rsplit_once('/')?;
        let what = match kind {
            "manifests" => What::Manifest(last.to_owned()),
            "blobs" => What::Blob(last.to_owned()),
            "referrers" => What::Referrers(last.to_owned()),
            _ => return None,
        };
        (repository, what)
    };
    Some(Target {
        repository: repository.to_owned(),
        what,
    })
}

fn parameters(query: &str) -> Parameters {
    let url = Url::parse(&format!("http://query/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default()
}

/// A digest of the kind that is kept here.
pub(super) fn parse_digest(text: &str) -> Result<Digest, OciError> {
    text.parse().map_err(|_| {
        OciError::new(
            OciErrorCode::DigestInvalid,
            "a digest here is sha256:<64 hexadecimal digits>",
        )
    })
}

/// The answer where the disk, not the client, is at fault.
pub(super) fn failed(cause: &std::io::Error) -> OciError {
    OciError::new(
        OciErrorCode::Unsupported,
        format!("the registry's directory: {cause}"),
    )
    .with_status(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"").to_string();
        let encoded = digest.replace(':', "%3A");
        for (path, repository, what) in [
            (
                "/v2/a/b/manifests/t".to_owned(),
                "a/b",
                What::Manifest("t".into()),
            ),
            (
                "/v2/a/blobs/manifests/t".into(),
                "a/blobs",
                What::Manifest("t".into()),
            ),
            (
                "/v2/blobs/manifests/t".into(),
                "blobs",
                What::Manifest("t".into()),
            ),
            ("/v2/manifests/tags/list".into(), "manifests", What::Tags),
            (
                format!("/v2/blobs/blobs/{digest}"),
                "blobs",
                What::Blob(digest.clone()),
            ),
            (
                format!("/v2/a/blobs/{encoded}"),
                "a",
                What::Blob(digest.clone()),
            ),
            ("/v2/a/blobs/uploads/".into(), "a", What::NewUpload),
            ("/v2/a/blobs/uploads".into(), "a", What::NewUpload),
            (
                "/v2/a/blobs/uploads/x-1".into(),
                "a",
                What::Upload("x-1".into()),
            ),
            (
                format!("/v2/a/referrers/{digest}"),
                "a",
                What::Referrers(digest.clone()),
            ),
        ] {
            let expected = Target {
                repository: repository.into(),
                what,
            };
            assert_eq!(target(&path), Some(expected), "{path}");
        }
        for path in ["/v2/", "/v2/_catalog", "/", "/v2/a", "/v2/a/b"] {
            assert_eq!(target(path), None, "{path}");
        }
    }
}
