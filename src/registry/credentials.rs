//! Where credentials come from, and how they are kept out of sight.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use tokio::sync::Mutex as AsyncMutex;

use super::counter::Counter;
use super::ecr::{self, Ecr};
use super::retry::retry;
use super::{Base, Options, RegistryError};

pub use crate::mask::Secret;

impl Secret {
    /// `text` without this secret.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.reveal().is_empty() {
            text.to_owned()
        } else {
            text.replace(self.reveal(), "[secret]")
        }
    }
}

/// Where a client's credential comes from.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// There is none; what the registry gives to anyone is all that can be had.
    #[default]
    Anonymous,
    /// A user and a password or access token.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// What Docker's configuration has for the registry's host (`$DOCKER_CONFIG/config.json` or
    /// `~/.docker/config.json`: `auths`, `credHelpers`, `credsStore`), for a host of Amazon ECR's
    /// that it has nothing for what AWS's rules find, or none. A host whose ECR API is in use in
    /// this process gets the token of that. Read at the first request, once for all clients.
    Docker,
}

/// A credential in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password or access token.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token (OAuth 2), good only for a token server: what `docker login` stores of some
    /// registries, and some credential helpers give.
    Identity(Secret),
}

impl Credentials {
    /// The credential for `host` (as it stands in image names), or `None` where none is
    /// configured. A configuration that names one which cannot be had is an error.
    pub async fn resolve(&self, host: &str) -> Result<Option<Credential>, RegistryError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Basic { user, password } => Ok(Some(Credential::Basic {
                user: user.clone(),
                password: password.clone(),
            })),
            Self::Docker => match ecr::known(host) {
                Some(ecr) => token(&ecr).await.map(Some),
                None => match from_docker_once(host).await? {
                    None => of_aws(host).await,
                    found => Ok(found),
                },
            },
        }
    }

    /// The credential for the registry of a base, as [`Self::resolve`] finds it: without AWS's
    /// rules where the base is to be spoken to by the OCI protocol alone.
    pub(super) async fn resolve_of(
        &self,
        base: &Base,
    ) -> Result<Option<Credential>, RegistryError> {
        match self {
            Self::Docker if base.is_protocol_alone() => from_docker_once(base.host()).await,
            _ => self.resolve(base.host()).await,
        }
    }
}

/// The longest that Docker's configuration, and the helper that it names, are waited for: long
/// enough for somebody who has to unlock something.
const HELPER_PATIENCE: Duration = Duration::from_secs(60);

/// How long what was found is taken to be good: what helpers give may end within the hour.
const FRESH: Duration = Duration::from_secs(600);

/// What was found for a host, and when; nothing yet where nobody has looked.
type Found = AsyncMutex<Option<(Instant, Result<Option<Credential>, RegistryError>)>>;

/// What Docker's configuration has for a host: asked for once in the life of the process, whoever
/// needs it, or again after a while.
async fn from_docker_once(host: &str) -> Result<Option<Credential>, RegistryError> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Found>>>> = LazyLock::new(Mutex::default);
    let place = {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(host.to_owned()).or_default())
    };
    let mut found = place.lock().await;
    if let Some((_, found)) = found.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return found.clone();
    }
    let (owned, path) = (host.to_owned(), docker_config());
    let look_up = move || from_docker(&owned, path.as_deref());
    let result = in_time(host, HELPER_PATIENCE, look_up).await;
    found.insert((Instant::now(), result)).1.clone()
}

/// A look-up that may start a program, given up when it takes too long. It is left behind then:
/// the program is not ours to end.
async fn in_time(
    host: &str,
    patience: Duration,
    look_up: impl FnOnce() -> Result<Option<Credential>, RegistryError> + Send + 'static,
) -> Result<Option<Credential>, RegistryError> {
    let looking = tokio::task::spawn_blocking(look_up);
    match tokio::time::timeout(patience, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err(broken(host, "reading it was broken off")),
        Err(_) => Err(RegistryError::CredentialHelperSilent {
            host: host.to_owned(),
            seconds: patience.as_secs(),
        }),
    }
}

/// The token of a registry of Amazon ECR's, by its host's name; none for other hosts.
async fn of_aws(host: &str) -> Result<Option<Credential>, RegistryError> {
    let Ok(base) = format!("https://{host}").parse() else {
        return Ok(None);
    };
    match ecr::open(&base, &Options::default())? {
        Some(ecr) => token(&ecr).await.map(Some),
        None => Ok(None),
    }
}

async fn token(ecr: &Ecr) -> Result<Credential, RegistryError> {
    let counter = Counter::new();
    let password = retry(&Options::default(), || ecr.password(&counter)).await?;
    let user = Ecr::USER.to_owned();
    Ok(Credential::Basic { user, password })
}

/// The file that `docker login` writes; `None` where neither variable says where it would be.
fn docker_config() -> Option<PathBuf> {
    let given = std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty());
    let directory = given
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))?;
    Some(directory.join("config.json"))
}

fn from_docker(host: &str, path: Option<&Path>) -> Result<Option<Credential>, RegistryError> {
    let Some(path) = path else { return Ok(None) };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(broken(host, &format!("{}: {cause}", path.display()))),
    };
    // Docker Hub's entry is known by the address of its first version.
    let server = if host == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        host
    };
    match docker_credential::get_credential_from_reader(text.as_slice(), server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Credential::Basic {
            user,
            password: Secret::new(password),
        })),
        Ok(DockerCredential::IdentityToken(token)) => {
            Ok(Some(Credential::Identity(Secret::new(token))))
        }
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(error) => not_had(host, path, error),
    }
}

/// The sentence with which a credential helper says that it has nothing for a host (protocol of
/// docker-credential-helpers).
const HELPER_HAS_NONE: &str = "credentials not found in native keychain";

/// What an error of the look-up means. The errors' own text is not shown: it holds what a helper
/// wrote to its standard output.
fn not_had(
    host: &str,
    path: &Path,
    error: CredentialRetrievalError,
) -> Result<Option<Credential>, RegistryError> {
    let detail = match error {
        CredentialRetrievalError::HelperFailure { stdout, .. }
            if stdout.trim() == HELPER_HAS_NONE =>
        {
            return Ok(None);
        }
        CredentialRetrievalError::HelperFailure { helper, stderr, .. } => {
            let line: String = stderr
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            format!("{helper} failed: {line}")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            format!(
                "{} names a credential helper that cannot be run",
                path.display()
            )
        }
        CredentialRetrievalError::MalformedHelperResponse => {
            format!(
                "the credential helper that {} names answered nonsense",
                path.display()
            )
        }
        CredentialRetrievalError::CredentialDecodingError => {
            format!(
                "its entry in {} is not base64 of user:password",
                path.display()
            )
        }
        CredentialRetrievalError::CredentialMismatchError => {
            format!("its entry in {} contradicts itself", path.display())
        }
        _ => format!("{} is not valid", path.display()),
    };
    Err(broken(host, &detail))
}

fn broken(host: &str, detail: &str) -> RegistryError {
    RegistryError::CredentialHelper {
        host: host.to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(config: &str, host: &str) -> Result<Option<Credential>, RegistryError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, config).unwrap();
        from_docker(host, Some(&path))
    }

    #[test]
    fn reads_what_docker_login_writes() {
        // "ann:pa:ss" in base64.
        let config = r#"{"auths": {"h:5000": {"auth": "YW5uOnBhOnNz"},
                         "https://index.docker.io/v1/": {"auth": "YW5uOnBhOnNz"},
                         "t.example": {"identitytoken": "refresh"}}}"#;
        for host in ["h:5000", "docker.io"] {
            let Some(Credential::Basic { user, password }) = look_up(config, host).unwrap() else {
                panic!("no credential for {host}");
            };
            assert_eq!((user.as_str(), password.reveal()), ("ann", "pa:ss"));
        }
        assert!(matches!(
            look_up(config, "t.example"),
            Ok(Some(Credential::Identity(_)))
        ));
        assert!(matches!(look_up(config, "other:5000"), Ok(None)));
        assert!(matches!(
            from_docker("h", Some(Path::new("/nowhere/config.json"))),
            Ok(None)
        ));
    }

    #[tokio::test]
    async fn a_helper_that_says_nothing_is_given_up() {
        let patience = Duration::from_millis(50);
        let silent = || {
            std::thread::sleep(Duration::from_millis(300));
            Ok(None)
        };
        let error = in_time("h:5000", patience, silent).await.unwrap_err();
        assert_eq!(error.code(), "credential-helper-silent");
        assert!(error.to_string().contains("h:5000"), "{error}");
        assert_eq!(in_time("h:5000", patience, || Ok(None)).await, Ok(None));
    }

    #[test]
    fn a_credential_that_cannot_be_had_is_an_error() {
        for config in [
            "not json",
            r#"{"credHelpers": {"h:5000": "waybill-test-missing"}}"#,
            r#"{"credsStore": "waybill-test-missing"}"#,
            r#"{"auths": {"h:5000": {"auth": "!"}}}"#,
        ] {
            let error = look_up(config, "h:5000").unwrap_err();
            assert_eq!(error.code(), "credential-helper", "{config}");
        }
        let other = r#"{"credHelpers": {"h:5000": "waybill-test-missing"}}"#;
        assert!(matches!(look_up(other, "other:5000"), Ok(None)));
    }

    #[test]
    fn a_helpers_answer_never_shows() {
        let error = |stdout: &str| CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-x".into(),
            stdout: stdout.into(),
            stderr: "locked\nmore".into(),
        };
        let shown = not_had("h", Path::new("c"), error("hunter2"))
            .unwrap_err()
            .to_string();
        assert!(
            shown.contains("docker-credential-x failed: locked"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"));
        let none = not_had(
            "h",
            Path::new("c"),
            error("credentials not found in native keychain\n"),
        );
        assert!(matches!(none, Ok(None)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::Basic {
            user: "ann".into(),
            password: Secret::new("hunter2"),
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
