//! Connections to the engine: a socket, TCP, TLS, or a program run over ssh.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::Address;
use super::ssh;
use super::{Endpoint, EngineError};

/// A stream of bytes to and from the engine.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections to one engine.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) endpoint: Endpoint,
    tls: Option<TlsConnector>,
}

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// After how much silence a connection is tried.
const KEEPALIVE: Duration = Duration::from_secs(30);

impl Dialer {
    /// Reads the certificates, where the endpoint has any.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, EngineError> {
        let tls = match &endpoint.address {
            Address::Tcp {
                certificates: Some(directory),
                ..
            } => {
                let config = tls_config(directory).map_err(|reason| EngineError::Address {
                    address: endpoint.to_string(),
                    reason,
                })?;
                Some(TlsConnector::from(Arc::new(config)))
            }
            _ => None,
        };
        Ok(Self { endpoint, tls })
    }

    /// A new connection.
    pub(super) async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        match &self.endpoint.address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port, .. } => {
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                tokio::time::timeout(PATIENCE, self.dial_tcp(host, *port))
                    .await
                    .map_err(late)?
            }
            Address::Ssh {
                user,
                host,
                port,
                socket,
            } => {
                let destination = ssh::Destination {
                    user: user.as_deref(),
                    host,
                    port: *port,
                    socket: socket.as_deref(),
                };
                Ok(Box::new(ssh::connect(&destination)?))
            }
        }
    }

    async fn dial_tcp(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        // A build may be silent for long: routers are kept from forgetting the connection, and a
        // host that is gone is noticed.
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// Trusts `ca.pem` alone, and shows `cert.pem` where it is there, as the docker program does.
fn tls_config(directory: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&directory.join("ca.pem"))? {
        roots
            .add(certificate)
            .map_err(|error| format!("ca.pem: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let own = directory.join("cert.pem");
    if !own.exists() {
        return Ok(builder.with_no_client_auth());
    }
    let key_path = directory.join("key.pem");
    let key =
        PrivateKeyDer::from_pem_file(&key_path).map_err(|error| unreadable(&key_path, &error))?;
    builder
        .with_client_auth_cert(certificates(&own)?, key)
        .map_err(|error| format!("cert.pem: {error}"))
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> String {
    format!("{}: {error}", path.display())
}
