//! Calls of ECR's own API: which client they go through, how often, and what their errors mean.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::Client as Sdk;
use aws_sdk_ecr::config::ProvideCredentials as _;
use aws_sdk_ecr::config::http::HttpResponse;
use aws_sdk_ecr::config::retry::RetryConfig;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use futures_util::future::BoxFuture;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio::time::timeout;

use super::Place;
use super::pace::Pace;
use super::token::Token;
use crate::registry::cause::chain;
use crate::registry::counter::Counter;
use crate::registry::error::{RequestLine, Said};
use crate::registry::request::{Kind, bounded};
use crate::registry::retry::{Failure, retry};
use crate::registry::{Base, Options, RegistryError};

/// One registry's API.
pub(in crate::registry) struct Ecr {
    pub(super) place: Place,
    /// The registry's host, as it stands in image names.
    host: String,
    pub(super) options: Options,
    sdk: OnceCell<Sdk>,
    pub(super) token: AsyncMutex<Option<Token>>,
    pub(super) pace: Pace,
    /// Repositories that are known to stand.
    pub(super) standing: Mutex<HashSet<String>>,
}

/// A call that ECR understood and did not carry out.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    line: RequestLine,
    /// The exception's name.
    pub(super) code: String,
    message: Option<String>,
}

/// What ECR and its front door say when calls come too fast.
const THROTTLED: [&str; 6] = [
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
];

/// The API of a base, where it has one.
#[expect(
    clippy::unnecessary_wraps,
    reason = "without the feature, a base that is declared to have one is an error"
)]
pub(in crate::registry) fn open(
    base: &Base,
    options: &Options,
) -> Result<Option<Arc<Ecr>>, RegistryError> {
    let place = base.ecr();
    Ok(place.map(|place| Ecr::of(place, base.host(), options)))
}

/// The API of a host that a client of this process has opened already.
pub(in crate::registry) fn known(host: &str) -> Option<Arc<Ecr>> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = known.iter();
    known
        .find(|((other, _), _)| other == host)
        .map(|(_, ecr)| Arc::clone(ecr))
}

/// Every API that was opened, by host and place.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

type Known = HashMap<(String, Place), Arc<Ecr>>;

impl Ecr {
    /// The API of the registry on a host: one for the process, so that token and quotas are shared.
    pub(in crate::registry) fn of(place: &Place, host: &str, options: &Options) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), place.clone());
        let made = || {
            Arc::new(Self {
                place: place.clone(),
                host: host.to_owned(),
                options: options.clone(),
                sdk: OnceCell::new(),
                token: AsyncMutex::default(),
                pace: Pace::default(),
                standing: Mutex::default(),
            })
        };
        Arc::clone(known.entry(key).or_insert_with(made))
    }

    /// Waits until a request of this kind is within the quotas.
    pub(in crate::registry) async fn admit(&self, kind: Kind) {
        self.pace.admit(kind).await;
    }

    /// Makes a call, again where that may help.
    pub(super) async fn call<T, E, F>(
        &self,
        counter: &Counter,
        (kind, action): (Kind, &'static str),
        send: impl Fn(Sdk) -> F,
    ) -> Result<Result<T, Refusal>, RegistryError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let attempt = || self.once(counter, (kind, action), &send);
        retry(&self.options, attempt).await
    }

    /// Makes a call once. What may pass, such as throttling, is a failure; what does not is a
    /// [`Refusal`], for the caller to judge.
    pub(super) async fn once<T, E, F>(
        &self,
        counter: &Counter,
        (kind, action): (Kind, &'static str),
        send: impl Fn(Sdk) -> F,
    ) -> Result<Result<T, Refusal>, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let sdk = self.sdk().await?;
        let _under_way = counter.begin(kind);
        // The SDK's futures are deep: without the type, nobody has to look into them.
        let sent: BoxFuture<'_, _> = Box::pin(send(sdk));
        match sent.await {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => judged(self.line(action), &error).map(Err),
        }
    }

    pub(super) fn line(&self, action: &str) -> RequestLine {
        RequestLine::of_call(&format!("ecr:{action}"), self.place.region.as_deref())
    }

    async fn sdk(&self) -> Result<Sdk, RegistryError> {
        let made = self.sdk.get_or_try_init(|| async {
            let loaded: BoxFuture<'_, _> = Box::pin(self.configuration());
            let config: SdkConfig = loaded.await?;
            if config.region().is_none() {
                let host = self.host.clone();
                return Err(RegistryError::AwsRegionMissing { host });
            }
            self.check_credentials(&config).await?;
            Ok(Sdk::new(&config))
        });
        made.await.cloned()
    }

    /// AWS's own rules on where region, endpoint and credentials come from, but for what the base
    /// says. Repeating is left to the one retry policy.
    async fn configuration(&self) -> Result<SdkConfig, RegistryError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.options.connect_timeout)
            .operation_attempt_timeout(self.options.idle_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client(self.options.extra_root_pem.as_deref())?)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &self.place.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if self.place.fips {
            loader = loader.use_fips(true);
        }
        if self.place.dual_stack {
            loader = loader.use_dual_stack(true);
        }
        if let Some(aws) = &self.options.aws {
            let (id, key) = (aws.access_key_id.clone(), aws.secret_access_key.reveal());
            loader = loader
                .endpoint_url(aws.endpoint.clone())
                .credentials_provider(Credentials::new(id, key, None, None, "options"));
        }
        Ok(loader.load().await)
    }

    /// That there are none is told before the first request, and not as a failure of it.
    async fn check_credentials(&self, config: &SdkConfig) -> Result<(), RegistryError> {
        let host = self.host.clone();
        let Some(provider) = config.credentials_provider() else {
            return Err(RegistryError::AwsCredentialsMissing { host });
        };
        let patience = Duration::from_secs(60);
        let provided = timeout(patience, provider.provide_credentials()).await;
        let Ok(provided) = provided else {
            let detail = format!("nothing came within {} s", patience.as_secs());
            return Err(RegistryError::AwsCredentialsBroken { host, detail });
        };
        match provided {
            Ok(_) => Ok(()),
            Err(CredentialsError::CredentialsNotLoaded(_)) => {
                Err(RegistryError::AwsCredentialsMissing { host })
            }
            Err(error) => {
                let detail = bounded(&chain(&error), 300);
                Err(RegistryError::AwsCredentialsBroken { host, detail })
            }
        }
    }
}

impl fmt::Debug for Ecr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ecr").field(&self.host).finish()
    }
}

impl Refusal {
    /// The error, where the caller has no other use for it.
    pub(super) fn error(self) -> RegistryError {
        RegistryError::AwsRefused {
            request: self.line,
            said: Said {
                code: Some(self.code),
                message: self.message,
            },
        }
    }
}

/// What a failed call means.
fn judged<E>(line: RequestLine, error: &SdkError<E, HttpResponse>) -> Result<Refusal, Failure>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(told) = error else {
        let cause = bounded(&chain(error), 300);
        return Err(Failure::passing(RegistryError::Unreachable {
            request: line,
            cause,
        }));
    };
    let status = told.raw().status().as_u16();
    let code = bounded(told.err().code().unwrap_or("an error without a name"), 64);
    // What is said of a wrong signature repeats what was signed, a session's token included.
    let is_quiet = code.contains("Signature");
    let message = told.err().message().filter(|_| !is_quiet);
    let message = message.map(|text| bounded(text, 300));
    let said = Said {
        code: Some(code.clone()),
        message: message.clone(),
    };
    if status == 429 || THROTTLED.contains(&code.as_str()) {
        return Err(Failure::passing(RegistryError::Throttled {
            request: line,
            status,
            said,
        }));
    }
    if status >= 500 {
        return Err(Failure::passing(RegistryError::Refused {
            request: line,
            status,
            said,
        }));
    }
    Ok(Refusal {
        line,
        code,
        message,
    })
}

/// Connections by rustls with ring, which trust what the registry is trusted by too, through the
/// proxy for HTTPS that the environment names: the SDK's own default looks at none.
fn http_client(
    extra_root_pem: Option<&[u8]>,
) -> Result<impl aws_sdk_ecr::config::HttpClient + use<>, RegistryError> {
    let context = TlsContext::builder().with_trust_store(trusted(extra_root_pem)?);
    let context = context.build().map_err(|cause| RegistryError::Tls {
        detail: bounded(&chain(&cause), 300),
    })?;
    Ok(Builder::new().build_with_connector_fn(move |settings, _| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone())
            .proxy_config(proxy());
        connector.set_connector_settings(settings.cloned());
        connector.build()
    }))
}

/// The system's certificates and those given. The SDK takes them for good: they are looked at first.
fn trusted(extra_root_pem: Option<&[u8]>) -> Result<TrustStore, RegistryError> {
    let Some(pem) = extra_root_pem else {
        return Ok(TrustStore::default());
    };
    let broken = |cause: &dyn fmt::Display| RegistryError::Tls {
        detail: format!("a certificate that was given is none: {cause}"),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|cause| broken(&cause))?;
        roots.add(certificate).map_err(|cause| broken(&cause))?;
    }
    Ok(TrustStore::default().with_pem_certificate(pem))
}

fn proxy() -> ProxyConfig {
    let variable = |names: [&str; 2]| {
        let given = names
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        given.into_iter().find(|value| !value.is_empty())
    };
    let proxy = variable(["HTTPS_PROXY", "https_proxy"]);
    let proxy = proxy.or_else(|| variable(["ALL_PROXY", "all_proxy"]));
    let proxy = proxy.map(ProxyConfig::https);
    match (proxy, variable(["NO_PROXY", "no_proxy"])) {
        (Some(Ok(proxy)), Some(except)) => proxy.no_proxy(except),
        (Some(Ok(proxy)), None) => proxy,
        _ => ProxyConfig::disabled(),
    }
}
