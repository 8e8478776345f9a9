//! What is asked for: a request whose parts have been checked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::error::{Error, Kind};

/// One request, ready to be sent, and how far it may go.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute, http or https, without user info.
    pub url: Arc<Url>,
    /// All headers besides those the protocol itself needs.
    pub headers: Arc<HeaderMap>,
    /// The body, if any.
    pub body: Option<Bytes>,
    /// For everything together, redirects and body included; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The most bytes of body that are accepted; `None` is no limit.
    pub max_body: Option<usize>,
    /// Follow redirects of safe methods.
    pub follow_redirects: bool,
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
