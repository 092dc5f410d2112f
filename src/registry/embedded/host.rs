//! Which `Host` a request may name.
//!
//! A browser lets a page of any site talk to an address of this machine, once the site's name leads
//! there (DNS rebinding); its requests then still name the site. So a registry on a loopback
//! address answers only those that name this machine.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use ferro_oci_server::{OciError, OciErrorCode};

use super::super::base::is_loopback;

/// Refuses a request that names another host than the one that listens.
pub(super) fn check(
    listen: SocketAddr,
    target: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), OciError> {
    // Bound to an address that others reach, it has names that nobody here can know.
    if !listen.ip().is_loopback() {
        return Ok(());
    }
    let mut named = headers.get_all(HOST).iter();
    let named = match (target, named.next(), named.next()) {
        // HTTP/2, and the absolute form of HTTP/1, name the host in the target.
        (Some(target), _, None) => Some(target.host().to_owned()),
        (None, Some(host), None) => {
            let host = host.to_str().ok().and_then(|host| host.parse().ok());
            host.map(|host: Authority| host.host().to_owned())
        }
        _ => None,
    };
    if named.is_some_and(|host| is_this_machine(&host, listen.ip())) {
        return Ok(());
    }
    let message = "this registry answers only to the names of the machine that it runs on";
    // RFC 9110, section 15.5.20: the request was not meant for this server.
    let misdirected = axum::http::StatusCode::MISDIRECTED_REQUEST;
    Err(OciError::new(OciErrorCode::Denied, message).with_status(misdirected))
}

fn is_this_machine(host: &str, listen: IpAddr) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_loopback(host)
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address == listen)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, StatusCode};

    use super::*;

    fn is_let_in(listen: &str, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let checked = check(listen.parse().unwrap(), None, &headers);
        if let Err(error) = &checked {
            assert_eq!(error.status(), StatusCode::MISDIRECTED_REQUEST);
        }
        checked.is_ok()
    }

    #[test]
    fn on_loopback_only_this_machine_is_named() {
        for host in [
            "127.0.0.1:5000",
            "127.0.0.1",
            "127.1.2.3:80",
            "localhost",
            "LocalHost:5000",
            "[::1]:5000",
        ] {
            assert!(is_let_in("127.0.0.1:5000", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:5000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1:5000",
            "[::2]:5000",
            "evil.example@127.0.0.1 x",
            "",
        ] {
            assert!(!is_let_in("127.0.0.1:5000", &[host]), "{host}");
        }
        assert!(!is_let_in("127.0.0.1:5000", &[]));
        assert!(!is_let_in("127.0.0.1:5000", &["localhost", "evil.example"]));
    }

    #[test]
    fn elsewhere_it_has_names_of_its_own() {
        for listen in ["0.0.0.0:5000", "192.168.0.1:5000", "[::]:5000"] {
            assert!(is_let_in(listen, &["builder.example:5000"]), "{listen}");
        }
    }
}
