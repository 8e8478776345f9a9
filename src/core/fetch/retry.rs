//! When a request is tried again: after what, how long after, and how often in all.
//!
//! [`Retry`] is the caller's wish for one request. [`Budget`] is the client's veto: when a server
//! is down, every caller's wish together would multiply the load that keeps it down, so retries
//! are also bounded by the requests of the last seconds. Whether the body can be sent again, and
//! whether time is left, is for the caller to see.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Method};
use ring::rand::{Random, SystemRandom, generate};

use crate::error::{Error, Kind};

/// When and how often a request is tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tries besides the first one.
    pub attempts: u32,
    /// Statuses that are worth another try.
    pub statuses: Vec<u16>,
    /// Methods that may be sent again; `None` is the idempotent ones (RFC 9110 §9.2.2).
    pub methods: Option<Vec<Method>>,
    /// The most that is waited before the second try; doubles with each further one.
    pub backoff: Duration,
    /// Wait at least as long as the server asks for in `Retry-After`.
    pub respect_retry_after: bool,
    /// The most that is waited before any try. A server that asks for more is not asked again.
    pub max_wait: Duration,
    /// Retries per request of the whole client, on average over ten seconds. Ten retries a second
    /// are always allowed, so that it does not bind those who ask seldom.
    pub budget: f64,
}

impl Default for Retry {
    /// None; but once there are `attempts`, those of most clients.
    fn default() -> Self {
        Self {
            attempts: 0,
            statuses: vec![429, 500, 502, 503, 504],
            methods: None,
            backoff: Duration::from_millis(100),
            respect_retry_after: true,
            max_wait: Duration::from_secs(60),
            budget: 0.2,
        }
    }
}

impl Retry {
    /// Whether requests of this method may be sent again.
    pub(super) fn allows_method(&self, method: &Method) -> bool {
        match &self.methods {
            Some(methods) => methods.contains(method),
            None => method.is_idempotent(),
        }
    }

    /// Whether an answer with this status is worth another try.
    pub(super) fn allows_status(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Whether a failure may pass if it is tried again. Not so what the caller got wrong or
    /// limited, what is a matter of trust, and what would come back the same.
    #[expect(clippy::unused_self, reason = "asked like the method and the status")]
    pub(crate) fn allows_error(&self, error: &Error) -> bool {
        match error.kind {
            Kind::Connect
            | Kind::Dns
            | Kind::ConnectTimeout
            | Kind::ReadTimeout
            | Kind::WriteTimeout
            | Kind::Stalled
            | Kind::Protocol
            | Kind::TruncatedBody => true,
            Kind::InvalidUrl
            | Kind::InvalidHeader
            | Kind::Tls
            | Kind::Proxy
            | Kind::BlockedAddress
            | Kind::PoolTimeout
            | Kind::TotalTimeout
            | Kind::HeadersTooLarge
            | Kind::Decode
            | Kind::BodyTooLarge
            | Kind::TooManyRedirects
            | Kind::InvalidRedirect
            | Kind::InsecureRedirect
            | Kind::UnreplayableBody
            | Kind::UploadFailed
            | Kind::StreamMisused
            | Kind::PoolFull
            | Kind::WouldDeadlock
            | Kind::Initializer
            | Kind::Closed
            | Kind::Forked
            | Kind::Resources
            | Kind::Memory
            | Kind::File
            | Kind::Os
            | Kind::Status
            | Kind::ChecksumMismatch
            | Kind::RangeMismatch
            | Kind::UnsafeFilename
            | Kind::DownloadInProgress
            | Kind::InvalidChecksum
            | Kind::Internal => false,
        }
    }

    /// How long to wait before the next try, after `nth` retries already; `None` when the server
    /// `asked` for longer than `max_wait`.
    ///
    /// Full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
    /// anything between nothing and the doubled backoff is as likely. It comes on top of what the
    /// server asked for, or all who were told the same would return in the same moment.
    pub(crate) fn wait(&self, nth: u32, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.filter(|_| self.respect_retry_after).unwrap_or_default();
        if asked > self.max_wait {
            return None;
        }
        let factor = 1_u32.checked_shl(nth).unwrap_or(u32::MAX);
        let most = self.backoff.saturating_mul(factor).min(self.max_wait);
        let jitter = most.as_secs_f64() * fraction();
        let jitter = Duration::try_from_secs_f64(jitter).unwrap_or(most);
        Some(asked.saturating_add(jitter).min(self.max_wait))
    }
}

/// Something between 0 and 1, 1 if the system gives no random bits.
fn fraction() -> f64 {
    let random = generate::<[u8; 4]>(&SystemRandom::new()).map(Random::expose);
    random.map_or(1.0, |bytes| f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

/// What the server asks for in `Retry-After`: seconds or a date (RFC 9110 §10.2.3). Nothing for a
/// date that has passed; fractions of seconds are understood, although no RFC knows them; a number
/// beyond all bounds is the longest time there is, and what is neither number nor date is ignored.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let seconds = text.parse().ok()?;
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// For how many seconds a request and a retry count; Finagle's and tower's default.
const WINDOW: u64 = 10;

/// Retries in a window that are allowed whatever the requests: ten a second, likewise.
const ALWAYS: f64 = 100.0;

/// The retries that all requests of a client may have together.
///
/// The law: in the [`WINDOW`] of whole seconds that ends with a retry there are at most [`ALWAYS`]
/// retries, and `ratio` more for each request in it. After Finagle's `RetryBudget` and tower's
/// `TpsBudget`, whose numbers these are; it keeps an entry for each second of the window.
#[derive(Debug)]
pub(super) struct Budget {
    ratio: f64,
    began: Instant,
    /// The latest second last. A standard lock: held for a few instructions, without any await.
    seconds: Mutex<VecDeque<Second>>,
}

/// What happened within one second.
#[derive(Debug)]
struct Second {
    /// Counted from the budget's beginning.
    nth: u64,
    requests: u32,
    retries: u32,
}

impl Budget {
    /// Allows `ratio` retries for each request; what is no number is none, and 1000 the most.
    pub(super) fn new(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1000.0) };
        Self { ratio, began: Instant::now(), seconds: Mutex::default() }
    }

    /// A request begins.
    pub(super) fn deposit(&self) {
        self.deposit_at(Instant::now());
    }

    /// Takes one retry out; false when there is none left.
    pub(super) fn withdraw(&self) -> bool {
        self.withdraw_at(Instant::now())
    }

    fn deposit_at(&self, now: Instant) {
        if let Some(second) = self.seconds_until(now).back_mut() {
            second.requests = second.requests.saturating_add(1);
        }
    }

    fn withdraw_at(&self, now: Instant) -> bool {
        let mut seconds = self.seconds_until(now);
        let requests: f64 = seconds.iter().map(|second| f64::from(second.requests)).sum();
        let retries: f64 = seconds.iter().map(|second| f64::from(second.retries)).sum();
        if retries + 1.0 > ALWAYS + self.ratio * requests {
            return false;
        }
        if let Some(second) = seconds.back_mut() {
            second.retries = second.retries.saturating_add(1);
        }
        true
    }

    /// The seconds that count at `now`, which belongs to the last of them. A clock read just
    /// before another thread's counts with the later one.
    fn seconds_until(&self, now: Instant) -> MutexGuard<'_, VecDeque<Second>> {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = now.saturating_duration_since(self.began).as_secs();
        if seconds.back().is_none_or(|last| last.nth < nth) {
            while seconds.front().is_some_and(|first| first.nth + WINDOW <= nth) {
                seconds.pop_front();
            }
            seconds.push_back(Second { nth, requests: 0, retries: 0 });
        }
        seconds
    }
}

#[cfg(test)]
mod tests;
