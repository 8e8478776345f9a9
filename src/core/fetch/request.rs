//! What is asked for: a request whose parts have been checked.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::retry::Retry;
use super::timeout::Timeouts;
use super::upload::Content;
use crate::error::{Error, Kind};

/// One request, ready to be sent, and how far it may go.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute, http or https, without user info.
    pub url: Arc<Url>,
    /// All headers besides those the protocol itself needs and the cookies of the jar.
    pub headers: Arc<HeaderMap>,
    /// The body.
    pub content: Content,
    /// Digest credentials, for the origin of `url`.
    pub digest: Option<Arc<Credentials>>,
    /// How long each phase may take.
    pub timeouts: Arc<Timeouts>,
    /// The most bytes of body that are accepted; `None` is no limit.
    pub max_body: Option<u64>,
    /// Which redirects are followed.
    pub follow: Follow,
    /// When and how often it is tried again.
    pub retry: Arc<Retry>,
    /// The head of the answer is wanted as it was sent, too.
    pub verbatim: bool,
}

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// None.
    Never,
    /// Those of safe methods (RFC 9110 §9.2.1).
    Safe,
    /// Those of all methods.
    All,
}

/// A user name and a password.
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// Checks one header.
///
/// # Errors
/// `InvalidHeader`; the message names the header and never shows its value.
pub fn header(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), Error> {
    let checked = HeaderName::from_bytes(name).map_err(|_| {
        let shown = String::from_utf8_lossy(name);
        Error::new(Kind::InvalidHeader, format!("{shown:?} is not a header name"))
    })?;
    let value = HeaderValue::from_bytes(value).map_err(|_| {
        Error::new(
            Kind::InvalidHeader,
            format!("the value of header {checked} has a control character"),
        )
    })?;
    Ok((checked, value))
}
