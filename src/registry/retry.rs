//! The one retry policy: what is worth another try, when, and how often.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};

use super::request::Answer;
use super::{Options, RegistryError};

/// The failure of one attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RegistryError,
    again: Option<Again>,
}

/// Another attempt may succeed; the registry may have said how long to wait.
#[derive(Debug, Default)]
struct Again {
    after: Option<Duration>,
}

impl Failure {
    /// A failure that may pass, to be tried again after the usual delay.
    pub(super) fn passing(error: RegistryError) -> Self {
        Self {
            error,
            again: Some(Again::default()),
        }
    }

    /// A failure that may pass, with the `Retry-After` header that came with it.
    pub(super) fn passing_after(error: RegistryError, header: Option<&str>) -> Self {
        let after = header.and_then(|text| retry_after(text, Utc::now()));
        Self {
            error,
            again: Some(Again { after }),
        }
    }
}

impl From<RegistryError> for Failure {
    /// A failure that another attempt would not mend.
    fn from(error: RegistryError) -> Self {
        Self { error, again: None }
    }
}

/// Whether an answer is worth another try.
pub(super) fn is_passing(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 429 | 500 | 502 | 503 | 504) || answer.is_throttled()
}

/// Repeats `attempt` while it fails in a way that may pass, with growing, jittered delays, or
/// longer ones where the registry asks for them. None begins once patience is at its end.
pub(super) async fn retry<T, A, F>(options: &Options, attempt: A) -> Result<T, RegistryError>
where
    A: FnMut() -> F,
    F: Future<Output = Result<T, Failure>>,
{
    let delays = policy(options);
    let (cap, patience, start) = (options.longest_wait, options.patience, Instant::now());
    attempt
        .retry(delays)
        .when(|failure| failure.again.is_some())
        .adjust(|failure, delay| {
            let asked = failure.again.as_ref().and_then(|again| again.after);
            // What was asked for, and the jitter, so that not everyone comes back at once.
            let delay = asked.unwrap_or_default().saturating_add(delay?).min(cap);
            (start.elapsed() + delay < patience).then_some(delay)
        })
        .await
        .map_err(|failure| failure.error)
}

/// The delays between the attempts at what has to be asked for piece by piece.
#[cfg(feature = "ecr")]
pub(super) fn delays(options: &Options) -> impl Iterator<Item = Duration> + use<> {
    backon::BackoffBuilder::build(policy(options))
}

/// Growing delays with jitter.
fn policy(options: &Options) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(options.base_delay)
        .with_max_times(options.attempts.saturating_sub(1))
        .with_jitter()
}

/// How long a `Retry-After` header asks to wait: seconds, an HTTP date (RFC 9110, section 10.2.3),
/// or, as GHCR writes, a number with its unit.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let units = [("ms", 1e-3), ("µs", 1e-6), ("us", 1e-6), ("s", 1.0)];
    let with_unit = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    if let Some((number, unit)) = with_unit {
        let seconds = number.parse::<f64>().ok()? * unit;
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_of_retry_after() {
        let now = DateTime::parse_from_rfc2822("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        let read = |text| retry_after(text, now.with_timezone(&Utc));
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Wed, 21 Oct 2026 07:28:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Wed, 21 Oct 2026 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("834.5ms"), Some(Duration::from_micros(834_500)));
        assert_eq!(read("880.5µs"), Some(Duration::from_nanos(880_500)));
        assert_eq!(read("1.5s"), Some(Duration::from_millis(1500)));
        for nonsense in ["", "-1", "-1s", "soon", "ms", "NaNs", "infs", "1e99s"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
