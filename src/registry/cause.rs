//! What reqwest's errors mean: worth another try or not, and what to tell people.

use std::error::Error;
use std::time::Duration;

use super::RegistryError;
use super::error::RequestLine;
use super::retry::Failure;

/// A failure to answer in time.
pub(super) fn silent(request: &RequestLine, patience: Duration) -> Failure {
    let seconds = patience.as_secs_f64();
    Failure::passing(RegistryError::Unreachable {
        request: request.clone(),
        cause: format!("no answer within {seconds} s"),
    })
}

/// A connection that was not made, or broke.
pub(super) fn broken(request: &RequestLine, cause: reqwest::Error) -> Failure {
    let cause = cause.without_url();
    let lasting = cause.is_builder() || is_certificate(&cause);
    let error = RegistryError::Unreachable {
        request: request.clone(),
        cause: chain(&cause),
    };
    if lasting {
        error.into()
    } else {
        Failure::passing(error)
    }
}

/// A TLS configuration that cannot be used.
pub(super) fn tls(cause: &reqwest::Error) -> RegistryError {
    RegistryError::Tls {
        detail: chain(cause),
    }
}

/// Whether the other side's certificate was the trouble, which no repetition mends.
fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let mut innermost = cause;
        // An I/O error names its content's source, not its content, as its source.
        while let Some(io) = innermost.downcast_ref::<std::io::Error>() {
            match io.get_ref() {
                Some(content) => innermost = content,
                None => return false,
            }
        }
        let tls = innermost.downcast_ref::<rustls::Error>();
        matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

/// An error and what caused it, in one line, nothing said twice.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
