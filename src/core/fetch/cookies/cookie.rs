//! One cookie: how it is read from a `Set-Cookie`, and what no cookie may be.
//!
//! Sections are those of RFC 6265bis. Names and values are bytes: whatever a server sets comes
//! back to it unchanged.

use super::domain::{Origin, is_address, is_public_suffix, is_within};
use super::{CookieView, SameSite, date};

/// Name and value together, in bytes (§5.6).
const LARGEST: usize = 4096;

/// An attribute's value, in bytes (§5.6). A path inherited from the URL has to keep to it, too,
/// so that a full jar has a known size.
const LARGEST_ATTRIBUTE: usize = 1024;

/// Seconds that a cookie may last: 400 days (§5.6.1).
const LONGEST: i64 = 400 * 24 * 60 * 60;

pub(super) struct Cookie {
    pub(super) name: Box<[u8]>,
    pub(super) value: Box<[u8]>,
    /// Canonical.
    pub(super) domain: String,
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: Option<SameSite>,
    /// Seconds since 1970; `i64::MIN` for a cookie that only deletes.
    pub(super) expires: Option<i64>,
    /// The store's count of events when the cookie, or the one it replaces, was set.
    pub(super) created: u64,
    /// The store's count of events when it was last set or sent.
    pub(super) used: u64,
}

/// The attributes that need a look at all of them; of several of a kind, the last one counts.
#[derive(Default)]
struct Attributes<'a> {
    domain: &'a [u8],
    path: Option<&'a [u8]>,
    expires: Option<i64>,
    max_age: Option<i64>,
}

impl Cookie {
    /// Reads a `Set-Cookie` of a response (§5.6, §5.7); `None` if the cookie is to be ignored.
    pub(super) fn parse(line: &[u8], origin: &Origin<'_>, now: i64) -> Option<Self> {
        if line.iter().copied().any(is_control) {
            return None;
        }
        let mut parts = line.split(|&byte| byte == b';');
        let pair = parts.next()?;
        let (name, value) = halves(pair).unwrap_or((b"", trimmed(pair)));
        let mut cookie = Self {
            name: name.into(),
            value: value.into(),
            domain: origin.host.to_owned(),
            host_only: true,
            path: String::new(),
            secure: false,
            http_only: false,
            same_site: None,
            expires: None,
            created: 0,
            used: 0,
        };
        let mut attributes = Attributes::default();
        for part in parts {
            let (name, value) = halves(part).unwrap_or((trimmed(part), b""));
            if value.len() <= LARGEST_ATTRIBUTE {
                cookie.read(name, value, &mut attributes, now);
            }
        }
        cookie.expires = attributes.max_age.or(attributes.expires);
        if cookie.secure && !origin.secure {
            return None;
        }
        cookie.belong(attributes.domain, origin)?;
        let path = attributes.path.filter(|path| path.starts_with(b"/"));
        cookie.path = match path {
            Some(path) => String::from_utf8_lossy(path).into_owned(),
            None => default_path(origin.path).to_owned(),
        };
        // A host prefix wants the path to be written down.
        if attributes.path.is_none() && has_prefix(&cookie.name, b"__Host-") {
            return None;
        }
        cookie.check().ok()?;
        Some(cookie)
    }

    fn read<'a>(&mut self, name: &[u8], value: &'a [u8], into: &mut Attributes<'a>, now: i64) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Expires") {
            into.expires = date::parse(value).map(|at| capped(at, now)).or(into.expires);
        } else if is("Max-Age") {
            into.max_age = max_age(value, now).or(into.max_age);
        } else if is("Domain") {
            into.domain = value.strip_prefix(b".").unwrap_or(value);
        } else if is("Path") {
            into.path = Some(value);
        } else if is("Secure") {
            self.secure = true;
        } else if is("HttpOnly") {
            self.http_only = true;
        } else if is("SameSite") {
            self.same_site = [SameSite::Strict, SameSite::Lax, SameSite::None]
                .into_iter()
                .find(|known| value.eq_ignore_ascii_case(known.name().as_bytes()));
        }
    }

    /// Decides which hosts get the cookie; `None` if the server may not set it for `domain`.
    fn belong(&mut self, domain: &[u8], origin: &Origin<'_>) -> Option<()> {
        if domain.is_empty() {
            return Some(());
        }
        let domain = std::str::from_utf8(domain).ok()?.to_ascii_lowercase();
        if domain == origin.host && (!origin.named || is_public_suffix(&domain)) {
            return Some(());
        }
        if !origin.named || is_public_suffix(&domain) || !is_within(origin.host, &domain) {
            return None;
        }
        self.domain = domain;
        self.host_only = false;
        Some(())
    }

    /// Whether it is fit to be kept, wherever it comes from; the error says what is wrong.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let (name, value, path) = (&*self.name, &*self.value, self.path.as_bytes());
        let mut bytes = name.iter().chain(value).chain(path).copied();
        if bytes.any(|byte| is_control(byte) || byte == b';') {
            return Err("it has a control character or a semicolon");
        }
        if name.contains(&b'=') || trimmed(name) != name || trimmed(value) != value {
            return Err("its name has a =, or its name or value begins or ends with white space");
        }
        // RFC 6265 §5.2; 6265bis would keep it, and browsers do. Sent without a name its value
        // passes for whatever a server reads into it, prefixes included.
        if name.is_empty() {
            return Err("it has no name");
        }
        if name.len() + value.len() > LARGEST {
            return Err("its name and value have more than 4096 bytes");
        }
        if !path.starts_with(b"/") || path.len() > LARGEST_ATTRIBUTE {
            return Err("its path does not begin with / or has more than 1024 bytes");
        }
        if !self.host_only && (is_address(&self.domain) || is_public_suffix(&self.domain)) {
            return Err("its domain is a public suffix or an address");
        }
        self.check_prefix()
    }

    /// What a name promises has to be so (§5.7).
    fn check_prefix(&self) -> Result<(), &'static str> {
        let host = has_prefix(&self.name, b"__Host-");
        if !host && !has_prefix(&self.name, b"__Secure-") {
            return Ok(());
        }
        if !self.secure {
            return Err("a name that begins with __Secure- or __Host- has to be secure");
        }
        if host && !(self.host_only && self.path == "/") {
            return Err("a name that begins with __Host- is for one host and the path /");
        }
        Ok(())
    }

    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|at| at < now)
    }

    /// Whether the same place of the store is meant.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.host_only == other.host_only
            && self.path == other.path
    }

    /// What is sent of it.
    pub(super) fn pair(&self) -> Vec<u8> {
        [&*self.name, b"=", &*self.value].concat()
    }

    pub(super) fn view(&self) -> CookieView {
        CookieView {
            name: text(&self.name),
            value: text(&self.value),
            domain: self.domain.clone(),
            host_only: self.host_only,
            path: self.path.clone(),
            secure: self.secure,
            http_only: self.http_only,
            same_site: self.same_site,
            expires: self.expires,
        }
    }
}

/// Whether a request to `path` is below a cookie's path (§5.1.4).
pub(super) fn is_below(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.ends_with('/'))
}

/// An end that is at most 400 days ahead.
pub(super) fn capped(at: i64, now: i64) -> i64 {
    at.min(now.saturating_add(LONGEST))
}

/// Bytes as users see them: UTF-8, else Latin-1.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => latin1(bytes),
    }
}

/// Each byte as the character of that number.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The folder of a URL's path (§5.1.4).
fn default_path(path: &str) -> &str {
    path.rfind('/').and_then(|end| path.get(..end)).filter(|path| !path.is_empty()).unwrap_or("/")
}

/// When `Max-Age` ends (§5.6.2); `None` if it is no number.
fn max_age(value: &[u8], now: i64) -> Option<i64> {
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0_i64, |seconds, digit| {
        seconds.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    let ended = negative || seconds == 0;
    Some(if ended { i64::MIN } else { capped(now.saturating_add(seconds), now) })
}

/// Both sides of the first `=`, trimmed.
fn halves(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    let (name, value) = pair.split_at_checked(at)?;
    Some((trimmed(name), trimmed(value.get(1..)?)))
}

/// Without the spaces and tabs at both ends; nothing else is white space here.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn has_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A tab is no reason to refuse a cookie (§5.6).
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
