//! Blobs on their way out, streamed from their files; ferro's handlers read them whole.

use std::io::{ErrorKind, SeekFrom};
use std::ops::RangeInclusive;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ferro_oci_server::{OciError, OciErrorCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::routes::{failed, parse_digest};
use super::store::Store;

/// Answers GET and HEAD of a blob, and GET of a part of one (RFC 9110, section 14, one range).
pub(super) async fn get(
    store: &Store,
    method: &Method,
    headers: &HeaderMap,
    digest: &str,
) -> Result<Response, OciError> {
    let digest = parse_digest(digest)?;
    let mut file = match File::open(store.blob(&digest)).await {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            store.check().map_err(|cause| failed(&cause))?;
            return Err(OciError::new(
                OciErrorCode::BlobUnknown,
                format!("{digest} is not here"),
            ));
        }
        Err(cause) => return Err(failed(&cause)),
    };
    let size = file.metadata().await.map_err(|cause| failed(&cause))?.len();
    let name = digest.to_string();
    let common = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, format!("\"{name}\"")),
    ];
    let digest_header = [("docker-content-digest", name)];
    if method == Method::HEAD {
        return Ok((common, digest_header, [(CONTENT_LENGTH, size)]).into_response());
    }
    match headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok())
        .map(|text| part(text, size))
    {
        Some(Part::Within(range)) => {
            file.seek(SeekFrom::Start(*range.start()))
                .await
                .map_err(|cause| failed(&cause))?;
            let length = range.end() - range.start() + 1;
            let shown = format!("bytes {}-{}/{size}", range.start(), range.end());
            let body = Body::from_stream(ReaderStream::new(file.take(length)));
            let place = [(CONTENT_RANGE, shown), (CONTENT_LENGTH, length.to_string())];
            Ok((
                StatusCode::PARTIAL_CONTENT,
                common,
                digest_header,
                place,
                body,
            )
                .into_response())
        }
        Some(Part::Beyond) => {
            let shown = [(CONTENT_RANGE, format!("bytes */{size}"))];
            Ok((StatusCode::RANGE_NOT_SATISFIABLE, shown).into_response())
        }
        Some(Part::NotUnderstood) | None => {
            let body = Body::from_stream(ReaderStream::new(file));
            Ok((common, digest_header, [(CONTENT_LENGTH, size)], body).into_response())
        }
    }
}

#[derive(Debug, PartialEq)]
enum Part {
    Within(RangeInclusive<u64>),
    Beyond,
    /// The whole is sent, as the RFC allows.
    NotUnderstood,
}

/// Reads `bytes=a-b` and `bytes=a-`.
fn part(text: &str, size: u64) -> Part {
    let parsed = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let Some((first, last)) = parsed else {
        return Part::NotUnderstood;
    };
    let Ok(first) = first.parse::<u64>() else {
        return Part::NotUnderstood;
    };
    let last = match last {
        "" => u64::MAX,
        text => match text.parse::<u64>() {
            Ok(last) if last >= first => last,
            _ => return Part::NotUnderstood,
        },
    };
    if first >= size {
        return Part::Beyond;
    }
    Part::Within(first..=last.min(size - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        assert_eq!(part("bytes=0-", 10), Part::Within(0..=9));
        assert_eq!(part("bytes=3-5", 10), Part::Within(3..=5));
        assert_eq!(part("bytes=3-50", 10), Part::Within(3..=9));
        assert_eq!(part("bytes=10-", 10), Part::Beyond);
        assert_eq!(part("bytes=0-", 0), Part::Beyond);
        for other in ["bytes=-5", "bytes=5-3", "bytes=1-2,4-5", "lines=1-2", ""] {
            assert_eq!(part(other, 10), Part::NotUnderstood, "{other}");
        }
    }
}
