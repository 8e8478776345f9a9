//! Which proxy a URL goes through, and what may be known of it.
//!
//! A client has one proxy for everything, or those of the environment, read once when it is made:
//!
//! | variable | meaning |
//! |---|---|
//! | `http_proxy`, else `HTTP_PROXY` | for http URLs; `HTTP_PROXY` not under CGI (see below) |
//! | `https_proxy`, else `HTTPS_PROXY` | for https URLs |
//! | `all_proxy`, else `ALL_PROXY` | for both, where the above say nothing |
//! | `no_proxy`, else `NO_PROXY` | hosts that are reached directly, as `bypass` has it |
//!
//! An empty variable counts as unset. They are the variables of curl, which reads no `HTTP_PROXY`
//! at all: to a CGI program it is what the client sent in a `Proxy:` header (CVE-2016-1000110).
//! It is ignored here where `REQUEST_METHOD` is set, which says that this is one.
//!
//! A proxy is `[scheme://][user:password@]host[:port]`. The scheme is `http` (also if there is
//! none), `https`, `socks5` (names are resolved here) or `socks5h` (by the proxy); the port is
//! 80, 443 or 1080 accordingly. A text that is no proxy is an error and never a direct connection.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::url::Url;
use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::PROXY_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use self::bypass::Bypass;
use super::digest::Challenge;
use crate::error::{Error, Kind};

mod bypass;

/// The language a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear; CONNECT for https URLs.
    Http,
    /// The same within TLS.
    Https,
    /// SOCKS 5 (RFC 1928); names are resolved before the proxy is asked.
    Socks5,
    /// SOCKS 5; the proxy resolves names.
    Socks5h,
}

/// One proxy. Its credentials are shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The language it speaks.
    pub scheme: Scheme,
    /// Its name or address; an IPv6 address is in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password, decoded.
    pub credentials: Option<(String, String)>,
    challenge: Latest,
}

/// The latest digest challenge of a proxy, which all copies of it share. It is no part of what the
/// proxy is.
#[derive(Clone, Default)]
struct Latest(Arc<Mutex<Option<Challenge>>>);

impl Latest {
    fn lock(&self) -> MutexGuard<'_, Option<Challenge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Latest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Latest {}

/// The proxies of a client; none by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    bypass: Bypass,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl Proxy {
    /// Parses a proxy, as the module's documentation has it.
    ///
    /// # Errors
    /// `InvalidUrl`; the error shows nothing of the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some((scheme, rest)) => match Scheme::parse(scheme) {
                Some(scheme) => (scheme, rest),
                None => return Err(invalid("its scheme is not http, https, socks5 or socks5h")),
            },
        };
        if rest.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return Err(invalid("it contains a space, a control character or a backslash"));
        }
        if rest.starts_with('/') {
            return Err(invalid("it names no host"));
        }
        // `Url` reads hosts of http and https URLs only, and drops the default port of each.
        let read = |scheme: &str| {
            Url::parse(&format!("{scheme}://{rest}")).map_err(|error| invalid(&error.to_string()))
        };
        let (url, other) = (read("http")?, read("https")?);
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("something follows its host and port"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port().or(other.port()).unwrap_or(scheme.default_port());
        Ok(Self {
            scheme,
            host,
            port,
            credentials: credentials(&url, scheme)?,
            challenge: Latest::default(),
        })
    }

    /// `Proxy-Authorization` for an http or https proxy with credentials, marked as sensitive: an
    /// answer to the latest digest challenge (RFC 7616), or Basic (RFC 7617) where there was none.
    /// It is for this request, of `target` as it stands in its first line, and for nobody else.
    #[must_use]
    pub fn authorization(&self, method: &Method, target: &str) -> Option<HeaderValue> {
        let (Scheme::Http | Scheme::Https) = self.scheme else { return None };
        let (user, password) = self.credentials.as_ref()?;
        if let Some(challenge) = self.challenge.lock().as_mut() {
            return Some(challenge.answer(user, password, method, target, None));
        }
        let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes the headers of a 407. True when they have a digest challenge that is worth an answer,
    /// after so many `answers` to others for the same request: one, and one more if only the nonce
    /// was too old.
    pub(super) fn challenges(&self, headers: &HeaderMap, answers: u32) -> bool {
        if self.credentials.is_none() {
            return false;
        }
        let mut latest = self.challenge.lock();
        *latest = Challenge::parse(headers, PROXY_AUTHENTICATE);
        latest.as_ref().is_some_and(|it| answers < if it.is_stale() { 2 } else { 1 })
    }

    /// The proxy without its credentials, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}://{}:{}", self.scheme.name(), self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?})", self.shown())
    }
}

impl Proxies {
    /// The same proxy for all URLs; `NO_PROXY` plays no part.
    #[must_use]
    pub fn one(proxy: Proxy) -> Self {
        Self { http: Some(proxy.clone()), https: Some(proxy), bypass: Bypass::default() }
    }

    /// Those of the environment; `variable` gives the value of one, if it is set.
    ///
    /// # Errors
    /// `InvalidUrl` that names the variable and not its value.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let value = |name: &'static str| {
            let value = variable(name)?.trim().to_owned();
            (!value.is_empty()).then_some((name, value))
        };
        let is_cgi = variable("REQUEST_METHOD").is_some();
        // Windows does not tell the two spellings apart.
        let lower = (!(is_cgi && cfg!(windows))).then(|| value("http_proxy")).flatten();
        let upper = (!is_cgi).then(|| value("HTTP_PROXY")).flatten();
        let https = value("https_proxy").or_else(|| value("HTTPS_PROXY"));
        let all = value("all_proxy").or_else(|| value("ALL_PROXY"));
        let bypass = value("no_proxy").or_else(|| value("NO_PROXY"));
        Ok(Self {
            http: lower.or(upper).or_else(|| all.clone()).map(named).transpose()?,
            https: https.or(all).map(named).transpose()?,
            bypass: bypass.map(|(_, text)| Bypass::parse(&text)).unwrap_or_default(),
        })
    }

    /// The proxy for this very URL; none if its host is to be dialled. To be asked anew for each
    /// hop of a redirect.
    #[must_use]
    pub fn for_url(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.bypass.covers(url))
    }
}

fn named((name, text): (&'static str, String)) -> Result<Proxy, Error> {
    Proxy::parse(&text).map_err(|mut error| {
        error.message = format!("the environment variable {name} is unusable: {}", error.message);
        error
    })
}

fn credentials(url: &Url, scheme: Scheme) -> Result<Option<(String, String)>, Error> {
    let decoded = |text| {
        let decoded = percent_decode_str(text).decode_utf8().map(Cow::into_owned);
        decoded.map_err(|_| invalid("its credentials are not UTF-8"))
    };
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
    let is_http = matches!(scheme, Scheme::Http | Scheme::Https);
    if is_http && user.contains(':') {
        return Err(invalid("basic authorization allows no colon in the user name (RFC 7617)"));
    }
    if !is_http && user.len().max(password.len()) > 255 {
        return Err(invalid("SOCKS allows 255 bytes of user name and of password (RFC 1929)"));
    }
    Ok(Some((user, password)))
}

fn invalid(why: &str) -> Error {
    let text = "a proxy is [scheme://][user:password@]host[:port], with user name and password \
                percent-encoded";
    Error::new(Kind::InvalidUrl, format!("invalid proxy: {why}; {text}"))
}

#[cfg(test)]
mod tests;
