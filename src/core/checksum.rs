//! Checksums of what streams by: SHA-256, SHA-512, BLAKE3 and MD5.
//!
//! Owns their names, how an expected one is written ("sha256:HEX"), and what a server says of a
//! body in `Content-Digest` and `Repr-Digest` (RFC 9530). It runs on whichever thread has the
//! bytes; none of it belongs on the loop's.

use std::fmt;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine};

use crate::error::{Error, Kind};

/// A way of making a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512, likewise.
    Sha512,
    /// BLAKE3 with its usual 32 bytes.
    Blake3,
    /// MD5 (RFC 1321): finds accidents and no forgeries.
    Md5,
}

impl Algorithm {
    /// All there are, the strongest habit first.
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Blake3, Self::Md5];

    /// The name users write, which is hashlib's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
            Self::Md5 => "md5",
        }
    }

    /// How many bytes its checksums have.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
        }
    }

    /// The algorithm of this name: "sha256", and "SHA-256" as well.
    ///
    /// # Errors
    /// `InvalidChecksum`, which tells the names there are.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let plain = name.to_ascii_lowercase().replace('-', "");
        Self::ALL.into_iter().find(|it| it.name() == plain).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            let text = format!("there is no checksum {name:?}; there are {known}");
            Error::new(Kind::InvalidChecksum, text)
        })
    }
}

/// A checksum: the algorithm, and as many bytes as it gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Checksum {
    /// Reads "sha256:HEX", in which the case of letters does not matter.
    ///
    /// # Errors
    /// `InvalidChecksum` for another algorithm, length, or what is not hexadecimal.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((name, digits)) = text.split_once(':') else {
            let why = format!("a checksum is written \"sha256:HEX\", not {text:?}");
            return Err(Error::new(Kind::InvalidChecksum, why));
        };
        let algorithm = Algorithm::parse(name.trim())?;
        let bytes = from_hex(digits.trim()).filter(|bytes| bytes.len() == algorithm.length());
        let bytes = bytes.ok_or_else(|| {
            let digits = 2 * algorithm.length();
            let why = format!("a {} checksum has {digits} hexadecimal digits", algorithm.name());
            Error::new(Kind::InvalidChecksum, why)
        })?;
        Ok(Self { algorithm, bytes })
    }

    /// The checksums that a `Content-Digest` or `Repr-Digest` gives (RFC 9530), as far as they
    /// are of algorithms known here. A field that is not well-formed gives none: it is
    /// the server's word about its own bytes, and no reason to refuse them.
    #[must_use]
    pub fn of_digest_field(field: &str) -> Vec<Self> {
        let mut found = Vec::new();
        for member in field.split(',') {
            let Some((name, value)) = member.split_once('=') else { continue };
            let algorithm = match name.trim().to_ascii_lowercase().as_str() {
                "sha-256" => Algorithm::Sha256,
                "sha-512" => Algorithm::Sha512,
                "md5" => Algorithm::Md5,
                _ => continue,
            };
            // A byte sequence of RFC 8941, maybe with parameters behind it.
            let Some(value) = value.trim().strip_prefix(':') else { continue };
            let Some((encoded, _parameters)) = value.split_once(':') else { continue };
            let Ok(bytes) = BASE64.decode(encoded) else { continue };
            if bytes.len() == algorithm.length() {
                found.push(Self { algorithm, bytes });
            }
        }
        found
    }

    /// How it was made.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes as hexadecimal digits, small letters.
    #[must_use]
    pub fn hex(&self) -> String {
        to_hex(&self.bytes)
    }
}

/// "sha256:HEX", as it is parsed.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A checksum in the making.
#[derive(Clone)]
pub struct Hasher {
    state: State,
}

#[derive(Clone)]
enum State {
    Sha(Algorithm, ring::digest::Context),
    /// Boxed: nearly 2 KiB, ten times the others.
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Context),
}

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let sha = |how| State::Sha(algorithm, ring::digest::Context::new(how));
        let state = match algorithm {
            Algorithm::Sha256 => sha(&ring::digest::SHA256),
            Algorithm::Sha512 => sha(&ring::digest::SHA512),
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Md5 => State::Md5(md5::Context::new()),
        };
        Self { state }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha(_, context) => context.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
            State::Md5(context) => context.consume(bytes),
        }
    }

    /// The checksum of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Checksum {
        match self.state {
            State::Sha(algorithm, context) => {
                Checksum { algorithm, bytes: context.finish().as_ref().to_vec() }
            }
            State::Blake3(hasher) => Checksum {
                algorithm: Algorithm::Blake3,
                bytes: hasher.finalize().as_bytes().to_vec(),
            },
            State::Md5(context) => {
                Checksum { algorithm: Algorithm::Md5, bytes: context.finalize().0.to_vec() }
            }
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// `bytes` as hexadecimal digits.
fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
    }
    text
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        for piece in bytes.chunks(3) {
            hasher.update(piece);
        }
        hasher.finish().hex()
    }

    #[test]
    fn the_published_examples_come_out() {
        // FIPS 180-4's "abc", RFC 1321's, and the first of BLAKE3's test vectors.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(checksum(Algorithm::Sha256, b"abc"), sha256);
        assert_eq!(checksum(Algorithm::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        let blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(checksum(Algorithm::Blake3, b""), blake3);
        let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(checksum(Algorithm::Sha512, b"abc"), sha512);
    }

    #[test]
    fn what_is_shown_is_what_is_read() {
        for algorithm in Algorithm::ALL {
            let made = Hasher::new(algorithm).finish();
            assert_eq!(Checksum::parse(&made.to_string()).unwrap(), made);
            assert_eq!(Checksum::parse(&made.to_string().to_uppercase()).unwrap(), made);
            assert_eq!(made.bytes().len(), algorithm.length());
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        let digits = "0".repeat(64);
        for text in [
            digits.clone(),
            format!("sha1:{digits}"),
            format!("sha256:{digits}0"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{}g", &digits[1..]),
            format!("sha512:{digits}"),
            "sha256:".into(),
            String::new(),
            format!("sha256:{}", "é".repeat(32)),
        ] {
            let refused = Checksum::parse(&text).map(|it| it.to_string());
            assert_eq!(refused.unwrap_err().kind, Kind::InvalidChecksum, "{text:?}");
        }
    }

    #[test]
    fn digest_fields_give_the_algorithms_that_are_known() {
        // The field of RFC 9530, appendix B.1, with an algorithm nobody knows and a parameter.
        let field = "unixsum=:Z:, sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:;a=1";
        let found = Checksum::of_digest_field(field);
        let expected = "44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38";
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), format!("sha256:{expected}"));
        for broken in ["sha-256", "sha-256=abc", "sha-256=:abc", "sha-256=:!:", "sha-256=:aaaa:"] {
            assert!(Checksum::of_digest_field(broken).is_empty(), "{broken}");
        }
    }
}
