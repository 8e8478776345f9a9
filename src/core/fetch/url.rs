//! URLs: strict on the way in, redacted on the way out.
//!
//! WHATWG's parser repairs what it reads (backslashes, tabs, `0x7f.1`), so that the host a
//! person checked is not the host that is dialled. Everything it would repair is refused here.

use std::collections::HashMap;
use std::hash::BuildHasher;

use ::url::{Host, Url};

use crate::error::{Error, Kind};

/// Characters of a host as it is written: RFC 1035 allows 253, UTF-8 makes up to four of one.
const LONGEST_HOST: usize = 4 * 253;

/// Parses an absolute http or https URL that means exactly what it says.
///
/// # Errors
/// `InvalidUrl`.
pub fn parse(text: &str) -> Result<Url, Error> {
    if let Some(bad) = text.bytes().find(is_refused) {
        return Err(invalid(text, &format!("it contains {:?}", char::from(bad))));
    }
    let Some(rest) = after_scheme(text) else {
        return Err(invalid(text, "it has to begin with http:// or https://"));
    };
    let host = written_host(rest);
    if host.is_empty() {
        return Err(invalid(text, "it names no host"));
    }
    if host.contains('%') {
        return Err(invalid(text, "its host is percent-encoded"));
    }
    if host.len() > LONGEST_HOST {
        return Err(invalid(text, "its host is longer than any name may be"));
    }
    if host.starts_with('.') || host.contains("..") {
        return Err(invalid(text, "its host has an empty label"));
    }
    let url = Url::parse(text).map_err(|error| invalid(text, &error.to_string()))?;
    if let Some(Host::Domain(dialled)) = url.host()
        && !host.is_ascii()
        && idna::domain_to_unicode(dialled).0 != host.to_lowercase()
    {
        // Full-width letters, invisible characters, other dots: it looks like another host.
        return Err(invalid(text, &format!("its host is a disguise of {dialled}")));
    }
    if let Some(Host::Ipv4(address)) = url.host()
        && host.parse() != Ok(address)
    {
        return Err(invalid(text, &format!("its host is a disguise of {address}")));
    }
    Ok(url)
}

/// The failure of a text that is no URL because no bytes stand for it; `text` has replacement
/// characters where it has none.
#[must_use]
pub fn no_text(text: &str) -> Error {
    invalid(text, "it contains a lone surrogate")
}

/// Sites that came up before, of which a URL's path and query alone have to be read: of many URLs
/// most name few servers, and their names cost the most to check.
#[derive(Debug, Default)]
pub struct Sites {
    /// The root of each, by scheme and authority as they were written.
    known: HashMap<Box<str>, Url>,
    /// Hashes of sites seen once, each at its place: one that never comes again is not worth more.
    seen: Vec<u64>,
}

/// Sites whose roots are kept; arbitrary.
const SITES: usize = 256;

impl Sites {
    /// As [`parse`], and with the same outcome.
    ///
    /// # Errors
    /// `InvalidUrl`.
    pub fn parse(&mut self, text: &str) -> Result<Url, Error> {
        let Some((site, rest)) = site_of(text) else { return parse(text) };
        if let Some(root) = self.known.get(site)
            && is_path(rest)
            && let Ok(url) = root.join(rest)
        {
            return Ok(url);
        }
        let url = parse(text)?;
        self.learn(site, &url);
        Ok(url)
    }

    fn learn(&mut self, site: &str, url: &Url) {
        let hash = self.known.hasher().hash_one(site);
        self.seen.resize(SITES, 0);
        let place = usize::try_from(hash % SITES as u64).unwrap_or_default();
        let Some(seen) = self.seen.get_mut(place) else { return };
        if std::mem::replace(seen, hash) != hash || self.known.contains_key(site) {
            return;
        }
        if self.known.len() >= SITES {
            self.known.clear();
        }
        if let Ok(root) = url.join("/") {
            self.known.insert(site.into(), root);
        }
    }
}

/// Scheme and authority, and what follows them; `None` for what is better looked at as a whole.
fn site_of(text: &str) -> Option<(&str, &str)> {
    let begin = if text.starts_with("http://") { 7 } else { 8 };
    if begin == 8 && !text.starts_with("https://") {
        return None;
    }
    let authority = text.as_bytes().get(begin..)?;
    let length = authority.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'@'))?;
    // User info may have any of these in it.
    (authority.get(length) == Some(&b'/')).then(|| text.split_at(begin + length))
}

/// Whether it can be nothing but a path with a query and a fragment, without anything that
/// [`parse`] refuses.
fn is_path(rest: &str) -> bool {
    // Two slashes would be an authority of their own.
    !rest.starts_with("//") && !rest.as_bytes().iter().any(is_refused)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "called by iterators over bytes")]
fn is_refused(byte: &u8) -> bool {
    *byte <= b' ' || *byte == 0x7f || *byte == b'\\'
}

/// The URL as errors, logs and reprs show it: without user info, query and fragment.
#[must_use]
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

fn written_host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    if address.starts_with('[') {
        return address;
    }
    address.split_once(':').map_or(address, |(host, _)| host)
}

fn invalid(text: &str, why: &str) -> Error {
    let shown = shown(text);
    Error::new(Kind::InvalidUrl, format!("invalid URL {shown:?}: {why}")).at(shown)
}

/// What may be shown of a text that is no URL: it may hold secrets where a URL has them.
fn shown(text: &str) -> String {
    let head = text.split(['?', '#']).next().unwrap_or_default();
    let head = match (head.find("://"), head.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (scheme, rest) = (head.get(..scheme + 3), head.get(at + 1..));
            format!("{}{}", scheme.unwrap_or_default(), rest.unwrap_or_default())
        }
        _ => head.to_owned(),
    };
    head.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use ::url::Position;

    use super::*;

    #[test]
    fn ordinary_urls_pass_unchanged() {
        for text in [
            "http://127.0.0.1/",
            "https://example.org:8443/a/b?c=d#e",
            "HTTP://example.org/",
            "http://[::1]:80/x",
            "http://user:pass@example.org/",
            "http://bücher.example/",
            "http://example.org./",
            "http://faß.ExAmPlE/",
            "http://BÜCHER.example/",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn whatever_would_be_repaired_is_refused() {
        for text in [
            "",
            "example.org",
            "ftp://example.org/",
            "file:///etc/passwd",
            "http:example.org",
            "http:///example.org",
            "http://",
            "http://a b/",
            "http://ex\tample.org/",
            "http://example.org/\n",
            " http://example.org/",
            "http:\\\\example.org\\",
            "http://example.org\\@evil.example/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://%65xample.org/",
            "http://a..b/",
            "http://.example.org/",
            "http://example.org:99999/",
            "http://[::1/",
            "http://user@/",
            "http://Ｇｏ.example/",
            "http://go\u{200b}od.example/",
            "http://www。example.org/",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.kind, Kind::InvalidUrl);
        }
    }

    /// As much of a text as decides, in pieces that mean something to a parser.
    const PIECES: [&str; 36] = [
        "http://",
        "https://",
        "HTTP://",
        "/",
        "//",
        "?",
        "#",
        "@",
        ":",
        ":80",
        ":8080",
        ".",
        "..",
        "/../",
        "/./",
        "%2e",
        "%2E%2e",
        "%",
        "%zz",
        "\\",
        "\t",
        " ",
        "a",
        "b.c",
        "example.org",
        "EXAMPLE.org",
        "127.0.0.1",
        "0x7f.1",
        "[::1]",
        "bücher.example",
        "ü",
        "\u{200b}",
        "'",
        "\"<>",
        ";|{}^`",
        "user:pass@",
    ];

    #[test]
    fn a_site_that_is_known_changes_no_outcome() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let starts = [
            "http://example.org",
            "HTTPS://EXAMPLE.org:443",
            "http://127.0.0.1:8080",
            "http://[::1]:80",
            "http://bücher.example",
            "http://user:pass@example.org",
            "http://example.org.",
        ];
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let (mut sites, start) = (Sites::default(), starts[random(starts.len())]);
            for _ in 0..2 {
                let _ = sites.parse(&format!("{start}/"));
            }
            for _ in 0..6 {
                let mut text = if random(8) == 0 { String::new() } else { start.to_owned() };
                if random(4) > 0 {
                    text.push('/');
                }
                for _ in 0..random(7) {
                    text.push_str(PIECES[random(PIECES.len())]);
                }
                let split = site_of(&text);
                taken += usize::from(
                    split.is_some_and(|(it, rest)| sites.known.contains_key(it) && is_path(rest)),
                );
                match (sites.parse(&text), parse(&text)) {
                    (Ok(ours), Ok(full)) => {
                        assert_eq!(ours, full, "{text:?}");
                        assert_eq!(format!("{ours:?}"), format!("{full:?}"), "{text:?}");
                        assert_eq!(ours[..Position::BeforePath], full[..Position::BeforePath]);
                        assert_eq!(ours[Position::BeforePath..], full[Position::BeforePath..]);
                    }
                    (Err(ours), Err(full)) => {
                        refused += 1;
                        assert_eq!(ours.message, full.message, "{text:?}");
                    }
                    (ours, full) => panic!("{text:?}: {ours:?} is not {full:?}"),
                }
            }
        }
        assert!(taken > 5_000 && refused > 5_000, "{taken} {refused}");
    }

    #[test]
    fn neither_errors_nor_redacted_urls_show_secrets() {
        let error = parse("http://user:hunter2@exa mple/?token=hunter2").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
        let url = parse("http://user:hunter2@example.org/x?token=hunter2#hunter2").unwrap();
        assert_eq!(redacted(&url), "http://example.org/x");
    }
}
