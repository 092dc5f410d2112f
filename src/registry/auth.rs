//! How a registry is shown a credential: HTTP basic, or tokens from a token server (distribution's
//! "Token Authentication Specification").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::RegistryError;
use super::challenge::{Challenge, challenges};
use super::credentials::{Credential, Credentials, Secret};
use super::ecr::Ecr;
use super::request::{Answer, Asked, Body, Kind, Request};
use super::retry::Failure;
use super::transport::{Transport, resolve};

/// What is known about how one registry wants to be spoken to.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    resolved: OnceCell<Option<Credential>>,
    scheme: AsyncMutex<Scheme>,
    /// By scope. One token is fetched by one task at a time.
    tokens: Mutex<HashMap<String, Arc<AsyncMutex<Option<Token>>>>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Scheme {
    /// Not asked yet.
    Unknown,
    /// It asked for nothing when it was asked.
    Open,
    Basic,
    Bearer(TokenServer),
}

#[derive(Clone, Debug, PartialEq)]
struct TokenServer {
    realm: Url,
    service: Option<String>,
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    good_until: Instant,
}

/// What goes with a request to show who asks.
#[derive(Debug)]
pub(super) struct Authorization {
    /// The header's value.
    header: Option<Secret>,
    /// What must not come back in an error.
    secrets: Vec<Secret>,
    /// Whether a configured credential stands behind it.
    credential: bool,
    /// The only place that it is sent to: a URL of the same scheme, host and port.
    audience: Url,
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            resolved: OnceCell::new(),
            scheme: AsyncMutex::new(Scheme::Unknown),
            tokens: Mutex::default(),
        }
    }

    /// The credential in every form in which it may come back: also in answers to requests that
    /// did not show it.
    fn secrets(&self) -> Vec<Secret> {
        match self.resolved.get().and_then(Option::as_ref) {
            Some(Credential::Basic { user, password }) => {
                vec![encoded(user, password), password.clone()]
            }
            Some(Credential::Identity(token)) => vec![token.clone()],
            None => Vec::new(),
        }
    }
}

/// A user and password as HTTP's basic scheme has them.
fn encoded(user: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{user}:{}", password.reveal())))
}

impl Authorization {
    fn none(audience: &Url) -> Self {
        Self {
            header: None,
            secrets: Vec::new(),
            credential: false,
            audience: audience.clone(),
        }
    }

    fn basic(audience: &Url, user: &str, password: &Secret) -> Self {
        let encoded = encoded(user, password);
        Self {
            header: Some(Secret::new(format!("Basic {}", encoded.reveal()))),
            secrets: vec![encoded, password.clone()],
            credential: true,
            audience: audience.clone(),
        }
    }

    /// The header to send to `url`, and what the other side will take the request for.
    pub(super) fn toward(&self, url: &Url) -> (Option<&str>, Asked) {
        if url.origin() != self.audience.origin() {
            return (None, Asked::Elsewhere);
        }
        let asked = if self.credential {
            Asked::WithCredential
        } else {
            Asked::Anonymously
        };
        (self.header.as_ref().map(Secret::reveal), asked)
    }

    /// A body as text, without the secrets that the other side was shown, or may know.
    pub(super) fn redact(&self, body: &[u8], auth: &Auth) -> String {
        let text = String::from_utf8_lossy(body).into_owned();
        let known = auth.secrets();
        let secrets = self.secrets.iter().chain(&known);
        secrets.fold(text, |text, secret| secret.redact(&text))
    }
}

impl Transport {
    /// What is to go with a request for `scope`.
    pub(super) async fn authorize(&self, scope: Option<&str>) -> Result<Authorization, Failure> {
        if let Some(ecr) = &self.ecr {
            let password = ecr.password(&self.counter).await?;
            return Ok(Authorization::basic(&self.root, Ecr::USER, &password));
        }
        let credential = self.credential().await?;
        let scheme = self.scheme(credential.is_some()).await?;
        match (scheme, credential) {
            (Scheme::Bearer(server), _) => self.with_token(&server, scope, credential).await,
            (_, None) => Ok(Authorization::none(&self.root)),
            (_, Some(Credential::Basic { user, password })) => {
                Ok(Authorization::basic(&self.root, user, password))
            }
            (_, Some(Credential::Identity(_))) => Err(RegistryError::CredentialHelper {
                host: self.base.host().to_owned(),
                detail: "it is an identity token, and the registry names no token server".into(),
            }
            .into()),
        }
    }

    async fn credential(&self) -> Result<Option<&Credential>, RegistryError> {
        let resolve = || self.auth.credentials.resolve_of(&self.base);
        Ok(self.auth.resolved.get_or_try_init(resolve).await?.as_ref())
    }

    /// How the registry wants to be spoken to. Where a credential is configured, it is asked
    /// before the first request, so that none goes out anonymously.
    async fn scheme(&self, has_credential: bool) -> Result<Scheme, Failure> {
        let mut scheme = self.auth.scheme.lock().await;
        if *scheme == Scheme::Unknown && has_credential {
            let ping = Request::new(Kind::Ping, Method::GET, self.root.clone(), None);
            let answer = self
                .exchange(&ping, &Authorization::none(&self.root))
                .await?;
            *scheme = match answer.status.as_u16() {
                401 => self.challenge(&answer)?.unwrap_or(Scheme::Basic),
                _ => Scheme::Open,
            };
        }
        Ok(scheme.clone())
    }

    /// Learns from an answer that lets nobody in; says whether a second try has a chance.
    pub(super) async fn may_be_let_in(
        &self,
        answer: &Answer,
        scope: Option<&str>,
        used: &Authorization,
    ) -> Result<bool, Failure> {
        if answer.asked == Asked::Elsewhere {
            return Ok(false);
        }
        match &self.ecr {
            Some(ecr) if answer.refuses_token() => {
                ecr.forget(|token| used.secrets.contains(token)).await;
                Ok(true)
            }
            None if answer.status.as_u16() == 401 => self.take_challenge(answer, scope, used).await,
            _ => Ok(false),
        }
    }

    /// The credential for an engine that pushes to and pulls from this registry; `None` where there
    /// is none.
    pub(super) async fn login(&self) -> Result<Option<Credential>, RegistryError> {
        let Some(ecr) = &self.ecr else {
            return self.auth.credentials.resolve_of(&self.base).await;
        };
        let password = self.retry(|| ecr.password(&self.counter)).await?;
        let user = Ecr::USER.to_owned();
        Ok(Some(Credential::Basic { user, password }))
    }

    async fn take_challenge(
        &self,
        answer: &Answer,
        scope: Option<&str>,
        used: &Authorization,
    ) -> Result<bool, Failure> {
        let Some(challenge) = self.challenge(answer)? else {
            return Ok(false);
        };
        let mut scheme = self.auth.scheme.lock().await;
        if let Scheme::Bearer(_) = challenge {
            self.forget_token(scope, used).await;
            *scheme = challenge;
            return Ok(true);
        }
        // Basic: worth a second try only if there is a credential that was not shown.
        let unshown = self.credential().await?.is_some() && used.header.is_none();
        *scheme = challenge;
        Ok(unshown)
    }

    /// What a 401 asks for; tokens are preferred. `None` where it says nothing that is understood.
    fn challenge(&self, answer: &Answer) -> Result<Option<Scheme>, RegistryError> {
        let headers = answer.headers.get_all(WWW_AUTHENTICATE);
        let offered: Vec<Challenge> = headers
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        if let Some(bearer) = offered.iter().find(|offer| offer.is("bearer")) {
            let realm = bearer.parameter("realm").unwrap_or_default();
            let realm = Url::parse(realm)
                .map_err(|_| "its token server has no valid address".to_owned())
                .and_then(|realm| resolve(&self.root, realm.as_str()))
                .map_err(|why| answer.corrupt(why))?;
            let service = bearer.parameter("service").map(str::to_owned);
            return Ok(Some(Scheme::Bearer(TokenServer { realm, service })));
        }
        Ok(offered
            .iter()
            .any(|offer| offer.is("basic"))
            .then_some(Scheme::Basic))
    }

    async fn with_token(
        &self,
        server: &TokenServer,
        scope: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Authorization, Failure> {
        let place = self.place_of(scope);
        let mut place = place.lock().await;
        let kept = place.take_if(|token| token.good_until > Instant::now());
        let token = match kept {
            Some(token) => token,
            None => self.fetch_token(server, scope, credential).await?,
        };
        let token = place.insert(token).text.clone();
        Ok(Authorization {
            header: Some(Secret::new(format!("Bearer {}", token.reveal()))),
            secrets: vec![token],
            credential: credential.is_some(),
            audience: self.root.clone(),
        })
    }

    fn place_of(&self, scope: Option<&str>) -> Arc<AsyncMutex<Option<Token>>> {
        let mut tokens = self
            .auth
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            tokens
                .entry(scope.unwrap_or_default().to_owned())
                .or_default(),
        )
    }

    /// Drops the token that was just refused, unless another task has replaced it already.
    async fn forget_token(&self, scope: Option<&str>, used: &Authorization) {
        let place = self.place_of(scope);
        let mut place = place.lock().await;
        if place
            .as_ref()
            .is_some_and(|token| used.secrets.contains(&token.text))
        {
            *place = None;
        }
    }

    async fn fetch_token(
        &self,
        server: &TokenServer,
        scope: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Token, Failure> {
        let (request, authorization) = token_request(server, scope, credential);
        let answer = self.exchange(&request, &authorization).await?;
        match (answer.status.as_u16(), credential) {
            (200, _) => Ok(read_token(&answer)?),
            (400, Some(Credential::Identity(_))) => Err(RegistryError::CredentialRefused {
                request: answer.request,
                host: answer.host,
                status: 400,
                said: answer.said,
            }
            .into()),
            _ => Err(answer.refused().into()),
        }
    }
}

fn token_request(
    server: &TokenServer,
    scope: Option<&str>,
    credential: Option<&Credential>,
) -> (Request, Authorization) {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    parameters.extend(
        server
            .service
            .as_deref()
            .map(|service| ("service", service)),
    );
    let request = |method, url| Request::new(Kind::Token, method, url, None);
    let mut url = server.realm.clone();
    if let Some(Credential::Identity(token)) = credential {
        parameters.extend(scope.map(|scope| ("scope", scope)));
        parameters.extend([
            ("grant_type", "refresh_token"),
            ("client_id", "waybill"),
            ("refresh_token", token.reveal()),
        ]);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut authorization = Authorization::none(&server.realm);
        authorization.secrets.push(token.clone());
        authorization.credential = true;
        let request = request(Method::POST, url)
            .header(CONTENT_TYPE, form)
            .body(Body::Whole(form_encoded(&parameters).into()));
        return (request, authorization);
    }
    // Several scopes are one parameter each here, and one text in a form (RFC 6749, section 3.3).
    parameters.extend(
        scope
            .into_iter()
            .flat_map(|scope| scope.split(' '))
            .map(|one| ("scope", one)),
    );
    url.query_pairs_mut().extend_pairs(parameters);
    let authorization = match credential {
        Some(Credential::Basic { user, password }) => {
            Authorization::basic(&server.realm, user, password)
        }
        _ => Authorization::none(&server.realm),
    };
    (request(Method::GET, url), authorization)
}

fn form_encoded(parameters: &[(&str, &str)]) -> String {
    // The encoder of URLs' queries is the encoder of forms.
    Url::parse_with_params("http://form/", parameters)
        .ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

/// A token is good for 60 seconds where nothing is said; it is replaced before it expires.
fn read_token(answer: &Answer) -> Result<Token, RegistryError> {
    let body: TokenBody = serde_json::from_slice(&answer.body)
        .map_err(|_| answer.corrupt("the token server's answer is no JSON of a token"))?;
    let text = body
        .token
        .or(body.access_token)
        .filter(|token| !token.reveal().is_empty())
        .ok_or_else(|| answer.corrupt("the token server's answer holds no token"))?;
    // A day is as good as for ever here, and no clock overflows.
    let lifetime = Duration::from_secs(body.expires_in.unwrap_or(60).min(86_400));
    let margin = (lifetime / 10).min(Duration::from_secs(30));
    let lifetime = lifetime.saturating_sub(margin);
    Ok(Token {
        text,
        good_until: Instant::now() + lifetime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_to_its_audience_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let audience = url("https://r.example/v2/");
        let basic = Authorization::basic(&audience, "ann", &Secret::new("hunter2"));
        assert!(basic.toward(&url("https://r.example/v2/x")).0.is_some());
        for other in [
            "http://r.example/",
            "https://r.example:444/",
            "https://s.example/",
        ] {
            assert_eq!(basic.toward(&url(other)), (None, Asked::Elsewhere));
        }
        assert!(!format!("{basic:?}").contains("hunter2"));
        let echo = format!("no {} and {}", "hunter2", STANDARD.encode("ann:hunter2"));
        let auth = Auth::new(Credentials::Anonymous);
        let shown = basic.redact(echo.as_bytes(), &auth);
        assert_eq!(shown, "no [secret] and [secret]");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            form_encoded(&[("a", "b c&d"), ("e", "ü")]),
            "a=b+c%26d&e=%C3%BC"
        );
    }
}
