//! Digest authentication (RFC 7616, and RFC 2617 where servers still speak it).
//!
//! Owns the answer to one challenge: hashes, client nonce, nonce count, and how all of it is
//! written. How challenges are told apart in a header is `challenges`. The caller keeps the latest
//! [`Challenge`] of each origin and decides when an answer is worth a try; neither the user nor the
//! password is kept here. MD5, SHA-256 and SHA-512/256, each plain or `-sess`, with `qop=auth` or,
//! for servers of RFC 2069, without; `auth-int` is never chosen.

mod challenges;

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::digest::{SHA256, SHA512_256, digest};
use ring::rand::{SystemRandom, generate};

use challenges::{Offer, offers};

/// The hash functions, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Md5,
    Sha256,
    Sha512Of256,
}

/// What `algorithm` may say (RFC 7616 §6.1): name, hash, whether it is a session's.
const ALGORITHMS: [(&str, Hash, bool); 6] = [
    ("MD5", Hash::Md5, false),
    ("MD5-sess", Hash::Md5, true),
    ("SHA-256", Hash::Sha256, false),
    ("SHA-256-sess", Hash::Sha256, true),
    ("SHA-512-256", Hash::Sha512Of256, false),
    ("SHA-512-256-sess", Hash::Sha512Of256, true),
];

/// How the server wants the user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// As it is.
    Plain,
    /// As UTF-8, which goes into `username*` (RFC 7616 §3.4).
    Utf8,
    /// Hashed together with the realm.
    Hashed,
}

/// A server's challenge, and how often it has been answered.
pub(super) struct Challenge {
    /// As it has to be repeated, if the server named one.
    algorithm: Option<&'static str>,
    hash: Hash,
    session: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    /// Whether the server knows `qop=auth`.
    counted: bool,
    naming: Naming,
    stale: bool,
    /// Answers given so far; each raises it.
    count: u32,
    /// Of a session: the first answer's, for as long as the nonce holds.
    cnonce: Option<String>,
}

impl Challenge {
    /// The strongest challenge of this field that can be answered; the first one of several as
    /// strong.
    pub(super) fn parse(headers: &HeaderMap, field: HeaderName) -> Option<Self> {
        let lines = headers.get_all(field).iter();
        let known = lines
            .flat_map(|line| offers(line.as_bytes()))
            .filter_map(|offer| Self::understand(&offer));
        known.reduce(|best, next| if next.strength() > best.strength() { next } else { best })
    }

    /// Whether only the nonce of the answer was too old: user and password were right.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// The value of `Authorization`, marked as sensitive, for a request of `target`: path and query,
    /// or whatever else a proxy is asked for. A client nonce is given by tests alone.
    pub(super) fn answer(
        &mut self,
        user: &str,
        password: &str,
        method: &Method,
        target: &str,
        cnonce: Option<&str>,
    ) -> HeaderValue {
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let fresh = cnonce.map_or_else(unguessable, str::to_owned);
        // The key of a session is made of its first client nonce (RFC 7616 §3.4.2). Keeping that
        // satisfies servers that remember the key, and those that compute it anew.
        let cnonce = if self.session { self.cnonce.get_or_insert(fresh).clone() } else { fresh };

        let (hash, nonce) = (self.hash, self.nonce.as_slice());
        let mut key = hash.of(&[user.as_bytes(), &self.realm, password.as_bytes()]);
        if self.session {
            key = hash.of(&[key.as_bytes(), nonce, cnonce.as_bytes()]);
        }
        let asked = hash.of(&[method.as_str().as_bytes(), target.as_bytes()]);
        let (key, asked) = (key.as_bytes(), asked.as_bytes());
        let response = if self.counted {
            hash.of(&[key, nonce, count.as_bytes(), cnonce.as_bytes(), b"auth", asked])
        } else {
            hash.of(&[key, nonce, asked])
        };

        let mut answer = Answer(b"Digest ".to_vec());
        self.name(user, &mut answer);
        answer.quoted("realm", &self.realm);
        answer.quoted("nonce", nonce);
        answer.quoted("uri", target.as_bytes());
        answer.quoted("response", response.as_bytes());
        if let Some(opaque) = &self.opaque {
            answer.quoted("opaque", opaque);
        }
        if let Some(algorithm) = self.algorithm {
            answer.plain("algorithm", algorithm);
        }
        if self.counted {
            answer.plain("qop", "auth");
            answer.plain("nc", &count);
        }
        if self.counted || self.session {
            answer.quoted("cnonce", cnonce.as_bytes());
        }
        answer.into_value()
    }

    /// `None` for a challenge that lacks something, or asks for what is not known here.
    fn understand(offer: &Offer) -> Option<Self> {
        let (algorithm, hash, session) = match offer.get("algorithm") {
            None => (None, Hash::Md5, false),
            Some(named) => {
                let is = |name: &str| named.eq_ignore_ascii_case(name.as_bytes());
                let (name, hash, session) = ALGORITHMS.into_iter().find(|(name, ..)| is(name))?;
                (Some(name), hash, session)
            }
        };
        let mut protections = offer
            .get("qop")
            .unwrap_or_default()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii);
        let counted = protections.clone().any(|it| it.eq_ignore_ascii_case(b"auth"));
        if !counted && protections.any(|it| !it.is_empty()) {
            return None;
        }
        let says = |name, value: &[u8]| {
            offer.get(name).is_some_and(|said| said.eq_ignore_ascii_case(value))
        };
        let naming = if says("userhash", b"true") {
            Naming::Hashed
        } else if says("charset", b"UTF-8") {
            Naming::Utf8
        } else {
            Naming::Plain
        };
        Some(Self {
            algorithm,
            hash,
            session,
            realm: offer.get("realm")?.to_vec(),
            nonce: offer.get("nonce")?.to_vec(),
            opaque: offer.get("opaque").map(<[u8]>::to_vec),
            counted,
            naming,
            stale: says("stale", b"true"),
            count: 0,
            cnonce: None,
        })
    }

    fn strength(&self) -> (Hash, bool) {
        (self.hash, self.counted)
    }

    /// Writes the user's name. Control characters, which no header can carry, make it a
    /// `username*`, whatever the server says it understands.
    fn name(&self, user: &str, answer: &mut Answer) {
        let plain = match self.naming {
            Naming::Hashed => {
                let hashed = self.hash.of(&[user.as_bytes(), &self.realm]);
                answer.quoted("username", hashed.as_bytes());
                answer.plain("userhash", "true");
                return;
            }
            Naming::Utf8 => user.is_ascii() && !user.contains(|it: char| it.is_ascii_control()),
            Naming::Plain => !user.contains(|it: char| it.is_ascii_control()),
        };
        if plain {
            answer.quoted("username", user.as_bytes());
        } else {
            answer.plain("username*", &extended(user));
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Challenge");
        shown.field("algorithm", &self.algorithm).field("count", &self.count);
        shown.finish_non_exhaustive()
    }
}

impl Hash {
    /// The hash of `parts` with colons between them, in lower-case hexadecimal.
    fn of(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        match self {
            Self::Md5 => hexadecimal(&md5::compute(text).0),
            Self::Sha256 => hexadecimal(digest(&SHA256, &text).as_ref()),
            Self::Sha512Of256 => hexadecimal(digest(&SHA512_256, &text).as_ref()),
        }
    }
}

/// The value of the header while it is written.
struct Answer(Vec<u8>);

impl Answer {
    fn begin(&mut self, name: &str) {
        if self.0.contains(&b'=') {
            self.0.extend_from_slice(b", ");
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.begin(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.begin(name);
        self.0.push(b'"');
        for &byte in value {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(byte);
        }
        self.0.push(b'"');
    }

    /// What came in a header may go out in one, and `name` sees to the rest; were it ever not so,
    /// the server would refuse an empty answer.
    fn into_value(self) -> HeaderValue {
        let mut value =
            HeaderValue::try_from(self.0).unwrap_or_else(|_| HeaderValue::from_static("Digest"));
        value.set_sensitive(true);
        value
    }
}

/// An extended value of RFC 8187 §3.2.
fn extended(text: &str) -> String {
    let mut value = String::from("UTF-8''");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

/// A client nonce of 128 random bits. A server that could guess it could look passwords up in
/// tables made in advance (RFC 7616 §5.8), so without the system's generator it comes from the
/// keys of the standard library's hash maps, which no one is shown either.
fn unguessable() -> String {
    if let Ok(random) = generate::<[u8; 16]>(&SystemRandom::new()) {
        return hexadecimal(&random.expose());
    }
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
