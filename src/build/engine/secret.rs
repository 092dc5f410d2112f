//! Values that must not be seen.

use std::fmt;

use bollard::auth::DockerCredentials;

/// Bytes that are never printed: neither `Debug` nor an error shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for the one who needs them.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to log in to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With a user's name and a password or access token.
    Password {
        /// The user's name.
        username: String,
        /// The password or token; text.
        password: Secret,
    },
    /// With a refresh token for the registry's token server, as `docker login` stores some; text.
    Identity(Secret),
}

impl Login {
    /// As the engine's API takes it, for the registry `host`. A password that is no text could
    /// not have been given to any registry; it becomes one that none accepts.
    pub(super) fn for_engine(&self, host: &str) -> DockerCredentials {
        let text = |secret: &Secret| Some(String::from_utf8_lossy(&secret.0).into_owned());
        let serveraddress = Some(host.to_owned());
        match self {
            Self::Password { username, password } => DockerCredentials {
                username: Some(username.clone()),
                password: text(password),
                serveraddress,
                ..DockerCredentials::default()
            },
            Self::Identity(token) => DockerCredentials {
                identitytoken: text(token),
                serveraddress,
                ..DockerCredentials::default()
            },
        }
    }
}
