//! Where the engine is: what `DOCKER_HOST` and its companions say.

use std::fmt;
use std::path::PathBuf;

use super::EngineError;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    pub(super) address: Address,
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port, with TLS where there is a directory of certificates.
    Tcp {
        host: String,
        port: u16,
        certificates: Option<PathBuf>,
    },
    /// `docker system dial-stdio` on another machine.
    Ssh {
        user: Option<String>,
        host: String,
        port: Option<u16>,
        socket: Option<String>,
    },
}

/// The socket where an engine listens unless something else is said.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

impl Endpoint {
    /// From `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, as the docker program reads
    /// them; its contexts are not read.
    pub fn from_env() -> Result<Self, EngineError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = set("DOCKER_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let certificates = set("DOCKER_CERT_PATH")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
        let tls = set("DOCKER_TLS_VERIFY").and(certificates);
        Self::parse(&host, tls)
    }

    /// From an address such as `unix:///var/run/docker.sock`, `tcp://host:2375` or
    /// `ssh://user@host:22`; with TLS where `certificates` names a directory of `ca.pem`, and
    /// `cert.pem` and `key.pem` where the engine asks for a client's certificate.
    pub fn parse(text: &str, certificates: Option<PathBuf>) -> Result<Self, EngineError> {
        let error = |reason: &str| EngineError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| error("it has no scheme"))?;
        let address = match scheme {
            "unix" => Address::Unix(PathBuf::from(rest)),
            "tcp" | "http" | "https" => tcp(rest, certificates),
            "ssh" => ssh(rest),
            _ => return Err(error("its scheme is none of unix, tcp and ssh")),
        };
        match &address {
            Address::Tcp {
                certificates: None, ..
            } if scheme == "https" => {
                Err(error("TLS needs DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"))
            }
            Address::Tcp { host, .. } | Address::Ssh { host, .. } if !is_host(host) => {
                Err(error("it names no host"))
            }
            Address::Unix(path) if path.as_os_str().is_empty() => Err(error("it names no socket")),
            _ => Ok(Self {
                text: text.to_owned(),
                address,
            }),
        }
    }

    /// Whether the engine is on this machine, as far as its address shows.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
            Address::Ssh { .. } => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn tcp(rest: &str, certificates: Option<PathBuf>) -> Address {
    let authority = rest.trim_end_matches('/');
    let default = if certificates.is_some() { 2376 } else { 2375 };
    let (host, port) = split_port(authority);
    Address::Tcp {
        host,
        port: port.unwrap_or(default),
        certificates,
    }
}

fn ssh(rest: &str) -> Address {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, authority),
    };
    let (host, port) = split_port(host);
    Address::Ssh {
        user,
        host,
        port,
        socket: (!path.is_empty()).then(|| format!("/{path}")),
    }
}

/// Host and port; an IPv6 address stands in brackets and comes out without.
fn split_port(authority: &str) -> (String, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port)
}

/// A host that ssh cannot take for an option, nor anything for a path.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with('-')
        && !host.contains(|c: char| c.is_whitespace() || c == '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Address> {
        Endpoint::parse(text, None)
            .ok()
            .map(|endpoint| endpoint.address)
    }

    #[test]
    fn reads_what_docker_reads() {
        let tcp = |host: &str, port| Address::Tcp {
            host: host.into(),
            port,
            certificates: None,
        };
        assert_eq!(parse("unix:///run/x"), Some(Address::Unix("/run/x".into())));
        assert_eq!(
            parse("tcp://build.example"),
            Some(tcp("build.example", 2375))
        );
        assert_eq!(parse("tcp://[::1]:80/"), Some(tcp("::1", 80)));
        assert_eq!(
            parse("ssh://me@build:2222/run/d.sock"),
            Some(Address::Ssh {
                user: Some("me".into()),
                host: "build".into(),
                port: Some(2222),
                socket: Some("/run/d.sock".into()),
            })
        );
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "",
            "/var/run/docker.sock",
            "ftp://x",
            "tcp://",
            "ssh://-oX=y",
            "https://x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn knows_this_machine() {
        let local = |text| Endpoint::parse(text, None).unwrap().is_local();
        assert!(local("unix:///x") && local("tcp://127.0.0.1:1") && local("tcp://[::1]:1"));
        assert!(!local("tcp://10.0.0.1:1") && !local("ssh://localhost"));
    }
}
