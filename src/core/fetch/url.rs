//! URLs: strict on the way in, redacted on the way out.
//!
//! WHATWG's parser repairs what it reads (backslashes, tabs, `0x7f.1`), so that the host a
//! person checked is not the host that is dialled. Everything it would repair is refused here.

use ::url::{Host, Url};

use crate::error::{Error, Kind};

/// Characters of a host as it is written: RFC 1035 allows 253, UTF-8 makes up to four of one.
const LONGEST_HOST: usize = 4 * 253;

/// Parses an absolute http or https URL that means exactly what it says.
///
/// # Errors
/// `InvalidUrl`.
pub fn parse(text: &str) -> Result<Url, Error> {
    if let Some(bad) = text.bytes().find(|&byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
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

    #[test]
    fn neither_errors_nor_redacted_urls_show_secrets() {
        let error = parse("http://user:hunter2@exa mple/?token=hunter2").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
        let url = parse("http://user:hunter2@example.org/x?token=hunter2#hunter2").unwrap();
        assert_eq!(redacted(&url), "http://example.org/x");
    }
}
