//! Cookies: what servers set, what goes back to them, what is kept on disk.
//!
//! The rules are those of draft-ietf-httpbis-rfc6265bis ("RFC 6265bis"), with the public-suffix
//! list compiled in. Storage is offloop's own: ready-made jars keep values as text, read dates
//! strictly, and know neither caps nor name prefixes.
//!
//! # Layout
//! `cookie` reads one `Set-Cookie`, `date` its dates, `domain` says which hosts belong together,
//! `store` keeps and evicts, `saved` is the form on disk. Everything below the jar takes the
//! time as an argument. `SameSite` is kept and never enforced: a client has no site of its own.

mod cookie;
mod date;
mod domain;
mod saved;
mod store;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use url::Url;

use self::cookie::{Cookie, text};
use self::domain::Origin;
use self::store::Store;
use crate::error::{Error, Kind};

/// Cookies of any number of hosts; a clone shares them. Any thread may use it.
///
/// Holds at most 50 cookies per domain and 3,000 in all, each of at most 4,096 bytes.
#[derive(Clone, Default)]
pub struct Jar {
    /// A plain mutex, held for lookups in memory only, never across an await.
    store: Arc<Mutex<Store>>,
}

/// One cookie, as users see it.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieView {
    /// The name, never empty.
    pub name: String,
    /// The value; bytes that are not UTF-8 are read as Latin-1.
    pub value: String,
    /// The host, or the domain whose hosts all get it, in lower case and without a leading dot.
    pub domain: String,
    /// Whether only the host itself gets it, and not the hosts below it.
    pub host_only: bool,
    /// The path below which it is sent.
    pub path: String,
    /// Whether it is sent over https only.
    pub secure: bool,
    /// Whether it is marked as invisible to scripts; kept, without meaning here.
    pub http_only: bool,
    /// Its `SameSite`, if it has one; kept, without meaning here.
    pub same_site: Option<SameSite>,
    /// When it ends, in seconds since 1970; `None` for a cookie of this session.
    pub expires: Option<i64>,
}

/// What a cookie says of requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never sent.
    Strict,
    /// Sent when the user navigates.
    Lax,
    /// Sent.
    None,
}

impl SameSite {
    /// The word in the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Strict, Self::Lax, Self::None].into_iter().find(|it| it.name() == name)
    }
}

impl Jar {
    /// An empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `Cookie` header for a request to `url`: longer paths first, then older cookies.
    pub(super) fn header_for(&self, url: &Url) -> Option<HeaderValue> {
        let line = self.lock().line_for(&Origin::of(url)?, now())?;
        let mut value = HeaderValue::from_bytes(&line).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes every `Set-Cookie` of a response from `url`; what breaks the rules is ignored.
    pub(super) fn store(&self, url: &Url, headers: &HeaderMap) {
        let mut lines = headers.get_all(SET_COOKIE).iter().peekable();
        let Some(origin) = lines.peek().and_then(|_| Origin::of(url)) else { return };
        let mut store = self.lock();
        for line in lines {
            store.receive(&origin, line.as_bytes(), now());
        }
    }

    /// Sets a cookie on the user's behalf.
    ///
    /// `domain` is a host name or an address, which alone gets the cookie; with a leading dot,
    /// all hosts below it get it, too. `expires` is in seconds since 1970, at most 400 days
    /// ahead; `None` is a cookie of this session, and a time that is past deletes the cookie.
    ///
    /// # Errors
    /// `InvalidHeader` for control characters, `;`, an empty name, more than 4,096 bytes, a path
    /// that does not begin with `/`, a domain that is none or is a public suffix, a name prefix
    /// (`__Secure-`, `__Host-`) whose conditions are not met.
    pub fn set(
        &self,
        name: &str,
        value: &str,
        domain: &str,
        path: &str,
        secure: bool,
        expires: Option<i64>,
    ) -> Result<(), Error> {
        let now = now();
        let (bare, host_only) =
            domain.strip_prefix('.').map_or((domain, true), |bare| (bare, false));
        let cookie = Cookie {
            name: name.as_bytes().into(),
            value: value.as_bytes().into(),
            domain: domain::canonical(bare).ok_or_else(|| refused("its domain is no host"))?,
            host_only,
            path: path.into(),
            secure,
            http_only: false,
            same_site: None,
            expires: expires.map(|at| cookie::capped(at, now)),
            created: 0,
            used: 0,
        };
        cookie.check().map_err(refused)?;
        self.lock().put(cookie, now);
        Ok(())
    }

    /// Deletes the cookies of that name, of one domain and path if these are given; how many.
    #[expect(clippy::must_use_candidate, reason = "the count is an extra")]
    pub fn delete(&self, name: &str, domain: Option<&str>, path: Option<&str>) -> usize {
        // A domain that is none matches nothing.
        let domain = domain.map(|domain| {
            domain::canonical(domain.strip_prefix('.').unwrap_or(domain)).unwrap_or_default()
        });
        self.lock().remove(now(), |cookie| {
            text(&cookie.name) == name
                && domain.as_ref().is_none_or(|domain| cookie.domain == *domain)
                && path.is_none_or(|path| cookie.path == path)
        })
    }

    /// Deletes all cookies.
    pub fn clear(&self) {
        *self.lock() = Store::default();
    }

    /// All cookies that have not ended, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<CookieView> {
        self.lock().alive(now()).into_iter().map(Cookie::view).collect()
    }

    /// The jar as a JSON text, cookies of the session included. It holds secrets.
    #[must_use]
    pub fn to_json(&self) -> String {
        saved::write(&self.lock().alive(now()))
    }

    /// A jar of what [`Jar::to_json`] wrote.
    ///
    /// # Errors
    /// As [`Jar::load`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let jar = Self::new();
        jar.load(text)?;
        Ok(jar)
    }

    /// Adds what [`Jar::to_json`] wrote. The text is not trusted: a cookie that no server could
    /// have set is left out.
    ///
    /// # Errors
    /// `InvalidHeader` for a text that is no saved jar or larger than any; then nothing is added.
    pub fn load(&self, text: &str) -> Result<(), Error> {
        let now = now();
        let cookies = saved::read(text, now)?;
        let mut store = self.lock();
        for cookie in cookies {
            store.put(cookie, now);
        }
        Ok(())
    }

    /// A panic while the lock was held cannot leave half a cookie, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").finish_non_exhaustive()
    }
}

impl fmt::Debug for CookieView {
    /// Shows where the cookie belongs and never its value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieView")
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The cookies that one response sets, as pairs of name and value, in the order of the headers;
/// without those that break the rules or only delete.
#[must_use]
pub fn set_by(url: &Url, headers: &HeaderMap) -> Vec<(String, String)> {
    let jar = Jar::new();
    jar.store(url, headers);
    jar.list().into_iter().map(|cookie| (cookie.name, cookie.value)).collect()
}

/// Seconds since 1970; a clock before that is at 0.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn refused(why: &str) -> Error {
    Error::new(Kind::InvalidHeader, format!("this cookie cannot be set: {why}"))
}
