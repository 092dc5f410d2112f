//! The token that ECR wants to be shown on the OCI protocol: got by a credential of AWS's, good for
//! twelve hours, and a password there.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_ecr::types::AuthorizationData;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::api::Ecr;
use crate::registry::counter::Counter;
use crate::registry::credentials::Secret;
use crate::registry::request::Kind;
use crate::registry::retry::Failure;
use crate::registry::{RegistryError, error::RequestLine};

/// A token in hand.
pub(super) struct Token {
    password: Secret,
    good_until: Instant,
}

/// The longest time before its end at which a token is replaced: what an engine was given lasts
/// that much longer.
const LONGEST_MARGIN: Duration = Duration::from_secs(3600);

/// The longest that a token is taken to be good for.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

impl Ecr {
    /// The user that goes with every token.
    pub(in crate::registry) const USER: &str = "AWS";

    /// The token, fetched by one task at a time where there is none that is good for a while.
    pub(in crate::registry) async fn password(&self, counter: &Counter) -> Result<Secret, Failure> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept
            .as_ref()
            .filter(|token| token.good_until > Instant::now())
        {
            return Ok(token.password.clone());
        }
        let token = self.fetch_token(counter).await?;
        Ok(kept.insert(token).password.clone())
    }

    /// Drops a token that was refused, unless another task has replaced it already.
    pub(in crate::registry) async fn forget(&self, is_refused: impl Fn(&Secret) -> bool) {
        let mut kept = self.token.lock().await;
        if kept
            .as_ref()
            .is_some_and(|token| is_refused(&token.password))
        {
            *kept = None;
        }
    }

    async fn fetch_token(&self, counter: &Counter) -> Result<Token, Failure> {
        let action = "GetAuthorizationToken";
        let send = |sdk: aws_sdk_ecr::Client| sdk.get_authorization_token().send();
        let answer = self.once(counter, (Kind::Token, action), send).await?;
        let answer = answer.map_err(super::api::Refusal::error)?;
        Ok(read(&self.line(action), answer.authorization_data())?)
    }
}

fn read(request: &RequestLine, data: &[AuthorizationData]) -> Result<Token, RegistryError> {
    let corrupt = |detail: &str| RegistryError::Corrupt {
        request: request.clone(),
        detail: detail.to_owned(),
    };
    let data = data.first().ok_or_else(|| corrupt("it holds no token"))?;
    let encoded = data.authorization_token().unwrap_or_default();
    let decoded = STANDARD.decode(encoded).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let password = decoded
        .as_deref()
        .and_then(|text| text.strip_prefix("AWS:"));
    let password = password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| corrupt("its token is not base64 of AWS:password"))?;
    let ends = data
        .expires_at()
        .and_then(|time| SystemTime::try_from(*time).ok());
    let left = ends.and_then(|time| time.duration_since(SystemTime::now()).ok());
    Ok(Token {
        password: Secret::new(password),
        good_until: Instant::now() + usable(left.unwrap_or_default()),
    })
}

/// How long a token is used that ends after so long.
fn usable(left: Duration) -> Duration {
    let left = left.min(LONGEST);
    left.saturating_sub((left / 10).min(LONGEST_MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> AuthorizationData {
        let ends = SystemTime::now() + Duration::from_secs(1000);
        AuthorizationData::builder()
            .authorization_token(STANDARD.encode(text))
            .expires_at(ends.into())
            .build()
    }

    #[test]
    fn reads_the_password_and_replaces_it_in_time() {
        let line = RequestLine::of_call("ecr:GetAuthorizationToken", None);
        let token = read(&line, &[data("AWS:a:b")]).unwrap();
        assert_eq!(token.password.reveal(), "a:b");
        let left = token.good_until - Instant::now();
        assert!(
            left > Duration::from_secs(890) && left <= Duration::from_secs(900),
            "{left:?}"
        );
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
        assert_eq!(usable(LONGEST), Duration::from_secs(12 * 3600 - 3600));
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        for bad in [
            vec![],
            vec![data("AWS:")],
            vec![data("me:pw")],
            vec![data("")],
        ] {
            let line = RequestLine::of_call("ecr:GetAuthorizationToken", None);
            assert!(read(&line, &bad).is_err());
        }
    }
}
