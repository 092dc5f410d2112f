//! Credentials as an engine takes them.

use bollard::auth::DockerCredentials;

use crate::registry::Credential;

/// A credential as the engine's API takes it, for the registry `host` (Docker Engine API,
/// "Authentication").
pub(super) fn for_engine(credential: &Credential, host: &str) -> DockerCredentials {
    let serveraddress = Some(host.to_owned());
    match credential {
        Credential::Basic { user, password } => DockerCredentials {
            username: Some(user.clone()),
            password: Some(password.reveal().to_owned()),
            serveraddress,
            ..DockerCredentials::default()
        },
        Credential::Identity(token) => DockerCredentials {
            identitytoken: Some(token.reveal().to_owned()),
            serveraddress,
            ..DockerCredentials::default()
        },
    }
}
