//! Servers that tests start for themselves: real registries, and certificates for them.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::oneshot;

/// Serves on a loopback port, in the runtime that runs this, until that ends.
pub(crate) async fn listen(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A server on a loopback port with a thread of its own, so that tests with and without async can
/// use it. Ends when dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl Listening {
    /// Has every connection served, each by a task of its own.
    pub(crate) fn start<F>(serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (send_address, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                send_address.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self {
            address: address.recv().unwrap(),
            stop: Some(stop),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// Debian's docker-registry on a loopback port, with a directory of its own. Ends when dropped.
pub(crate) struct DockerRegistry {
    pub(crate) address: SocketAddr,
    child: Child,
    config: PathBuf,
    data: PathBuf,
    _directory: TempDir,
}

/// What a registry is to be like; the default is open, over plain HTTP.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// The only user and password that it lets in.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// Speaks HTTPS with this certificate.
    pub(crate) certificate: Option<&'a Certificate>,
    /// Takes tokens of this issuer only.
    pub(crate) issuer: Option<&'a Issuer<'a>>,
    /// Keeps its data here.
    pub(crate) data: Option<&'a Path>,
    /// Deletes nothing.
    pub(crate) keeps_all: bool,
}

impl DockerRegistry {
    /// An open registry over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(&Setup::default())
    }

    /// A registry as `setup` has it; it answers when this returns.
    pub(crate) fn start_with(setup: &Setup<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yml");
        let data = setup.data.unwrap_or(directory.path()).join("data");
        let (address, child) = on_a_free_port(|address| {
            let text = configuration(setup, directory.path(), &data, address);
            fs::write(&config, text).unwrap();
            serve(&config)
        });
        Self {
            address,
            child,
            config,
            data,
            _directory: directory,
        }
    }

    /// The directory of what it keeps.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it as its keeper would: what is under way is finished. Killed, it leaves empty files
    /// behind, which it answers for with errors for good.
    pub(crate) fn stop(&mut self) {
        let process = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &process]).status();
        assert!(told.unwrap().success());
        let _ = self.child.wait();
    }

    /// Serves what it has again, at the same address.
    pub(crate) fn serve_again(&mut self) {
        self.kill();
        self.child = serve(&self.config);
        assert!(
            listens(&mut self.child, self.address),
            "it does not start again"
        );
    }

    /// The text of a base in it.
    pub(crate) fn base(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.address)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(config: &Path) -> Child {
    Command::new("docker-registry")
        .arg("serve")
        .arg(config)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is installed")
}

fn configuration(setup: &Setup<'_>, directory: &Path, data: &Path, address: SocketAddr) -> String {
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: error}}\n\
         storage:\n  delete: {{enabled: {}}}\n  filesystem: {{rootdirectory: {}}}\n\
         http:\n  addr: {address}\n  secret: test\n  draintimeout: 5s\n",
        !setup.keeps_all,
        data.display()
    );
    if let Some(certificate) = setup.certificate {
        let (server, key) = (certificate.server.display(), certificate.key.display());
        text += "  tls:\n";
        text.extend([
            format!("    certificate: {server}\n"),
            format!("    key: {key}\n"),
        ]);
    }
    if let Some((user, password)) = setup.login {
        let made = Command::new("htpasswd")
            .args(["-Bbn", user, password])
            .output()
            .unwrap();
        let file = directory.join("htpasswd");
        fs::write(&file, made.stdout).unwrap();
        text += "auth:\n  htpasswd:\n    realm: test\n";
        text.extend([format!("    path: {}\n", file.display())]);
    }
    if let Some(issuer) = setup.issuer {
        let (realm, keys) = (issuer.realm, issuer.certificate.authority.display());
        text += "auth:\n  token:\n    service: the registry\n    issuer: the tests\n";
        text.extend([format!("    realm: {realm}\n    rootcertbundle: {keys}\n")]);
    }
    text
}

/// A proxy that tunnels: whatever host is asked for, it connects to one address.
pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        // Ends with the tests' process.
        spawn(move || {
            for client in listener.incoming() {
                let kept = Arc::clone(&kept);
                spawn(move || tunnel(&client?, target, &kept));
            }
        });
        Self { address, asked }
    }

    /// The hosts that it was asked to connect to since this was last asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn tunnel(client: &TcpStream, target: SocketAddr, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let host = first.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(host);
    // The client says nothing more before it is answered.
    lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    let server = TcpStream::connect(target)?;
    (&*client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut &server, &mut &*client).map(|_| ())
}

/// Who gives tokens for a registry.
pub(crate) struct Issuer<'a> {
    /// The address of its server.
    pub(crate) realm: &'a str,
    /// Tokens are signed with its authority's key.
    pub(crate) certificate: &'a Certificate,
}

/// A certificate authority made for one test, and a certificate of it for 127.0.0.1 and for
/// `registry.invalid`.
pub(crate) struct Certificate {
    pub(crate) authority: PathBuf,
    pub(crate) authority_key: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    /// Makes both with the `openssl` program.
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let extensions = path("extensions");
        fs::write(
            &extensions,
            "subjectAltName=IP:127.0.0.1,DNS:registry.invalid\n",
        )
        .unwrap();
        openssl(
            directory.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
             -keyout authority.key -out authority.pem",
        );
        openssl(
            directory.path(),
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
             -keyout server.key -out server.csr",
        );
        openssl(
            directory.path(),
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
             -days 2 -extfile extensions -out server.pem",
        );
        Self {
            authority: path("authority.pem"),
            authority_key: path("authority.key"),
            server: path("server.pem"),
            key: path("server.key"),
            _directory: directory,
        }
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Starts a server on a port that is free. One that ends at once had its port taken meanwhile, and
/// is started on another; any other reason would have it end every time.
pub(crate) fn on_a_free_port(start: impl Fn(SocketAddr) -> Child) -> (SocketAddr, Child) {
    for _ in 0..5 {
        let address = free_address();
        let mut child = start(address);
        if listens(&mut child, address) {
            return (address, child);
        }
    }
    panic!("a server ended at once, on five ports");
}

/// Waits until a server listens; whether it does, rather than having ended.
fn listens(child: &mut Child, address: SocketAddr) -> bool {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if TcpStream::connect(address).is_ok() {
            // Whoever took its port answers too, and then it is about to end.
            sleep(Duration::from_millis(20));
            return child.try_wait().unwrap().is_none();
        }
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(120),
            "nothing listens on {address}"
        );
        sleep(Duration::from_millis(20));
    }
    false
}

/// A loopback address that nothing listens on just now. Its port is none that the system gives
/// to whoever asks for any: tests that run at the same time do not get it in between.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let random = RandomState::new().hash_one(std::process::id());
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A loopback address that refuses every connection for as long as this lives: it is taken, and
/// nobody listens. (What [`free_address`] names may be another test's server by now.)
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _taken: tokio::net::TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self {
            address: taken.local_addr().unwrap(),
            _taken: taken,
        }
    }
}
