//! Names of files that somebody else has chosen: the URL, or the server.
//!
//! A name from a URL is taken as it is or refused. A name that a server sends is used only when
//! the caller asks for it, and is made harmless first, as browsers do. What passes is one
//! component of a path on every system: it names a file in the folder and nothing else.

use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Kind};

/// The longest name that Linux, macOS and Windows all take, in bytes.
const LONGEST: usize = 255;

/// The last segment of the path of `url`, decoded.
///
/// # Errors
/// `UnsafeFilename`.
pub(super) fn of_url(url: &Url) -> Result<String, Error> {
    let segment = url.path_segments().and_then(|mut it| it.next_back()).unwrap_or_default();
    let Ok(name) = percent_decode_str(segment).decode_utf8() else {
        return Err(unsafe_name(segment, "it is not UTF-8"));
    };
    match fault(&name) {
        None => Ok(name.into_owned()),
        Some(why) => Err(unsafe_name(&name, why)),
    }
}

/// The name that a server gives in `Content-Disposition` (RFC 6266), made harmless; `None` when it
/// gives none, or nothing is left of it.
pub(super) fn of_headers(headers: &HeaderMap) -> Option<String> {
    let field = headers.get(CONTENT_DISPOSITION)?;
    // Browsers take bytes beyond ASCII for UTF-8, and so do most servers.
    let field = String::from_utf8_lossy(field.as_bytes()).into_owned();
    let parameters = parameters(&field);
    let find = |name: &str| parameters.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
    let extended = find("filename*").and_then(|(_, value)| extended_value(value));
    let plain = || find("filename").map(|(_, value)| value.clone());
    harmless(&extended.or_else(plain)?)
}

/// Why `name` names no file that one would want in a folder, if so.
fn fault(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it names a folder"),
        _ if name.contains(is_separator) => Some("it has a separator"),
        _ if name.contains(is_invisible) => Some("it has a character that cannot be seen"),
        _ if name.starts_with('.') => Some("it begins with a dot"),
        _ if name.ends_with(['.', ' ']) => Some("it ends in a dot or a space"),
        _ if is_device(stem) => Some("it names a device"),
        _ if name.len() > LONGEST => Some("it is longer than 255 bytes"),
        _ => None,
    }
}

/// `name` with `-suffix` before its ending, in no more bytes than a name may have.
pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
    let dot = name.rfind('.').filter(|&dot| name.len() - dot <= 16).unwrap_or(name.len());
    let (stem, ending) = name.split_at(dot);
    let room = LONGEST.saturating_sub(suffix.len() + ending.len() + 1);
    let mut end = room.min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{suffix}{ending}", stem.get(..end).unwrap_or_default())
}

fn unsafe_name(name: &str, why: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(Kind::UnsafeFilename, format!("{shown:?} is no safe name for a file: {why}"))
}

/// Separators of any system; and on Windows what else it does not allow or understands otherwise.
fn is_separator(letter: char) -> bool {
    matches!(letter, '/' | '\\')
        || (cfg!(windows) && matches!(letter, ':' | '<' | '>' | '"' | '|' | '?' | '*'))
}

/// Controls, and what changes the direction or the place of what is seen: `gpj.exe` that reads
/// `exe.jpg`.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Names that Windows takes for devices, whatever their ending.
fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let mut number = number.unwrap_or_default().chars();
    let digit = number.next().is_some_and(|it| it.is_ascii_digit() || "¹²³".contains(it));
    digit && number.next().is_none()
}

/// `name` without its path and all that `fault` finds in it.
fn harmless(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean = |letter| if is_separator(letter) || is_invisible(letter) { '_' } else { letter };
    let cleaned: String = last.chars().map(clean).collect();
    let mut name = cleaned.trim().trim_start_matches('.').trim_end_matches(['.', ' ']).to_owned();
    if fault(&name) == Some("it names a device") {
        name.insert(0, '_');
    }
    let name = shortened(&name, LONGEST);
    (fault(&name).is_none() && name.chars().any(|it| it != '_')).then_some(name)
}

/// `name` with its ending, in at most `most` bytes.
fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|&dot| name.len() - dot <= 16);
    let (stem, ending) = name.split_at(dot.unwrap_or(name.len()));
    let room = most.saturating_sub(ending.len());
    let mut end = room.min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", stem.get(..end).unwrap_or_default())
}

/// The parameters behind the type of a disposition: tokens, and strings in quotes.
fn parameters(field: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = field.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                value.split_once(';').map_or((value.into(), ""), |(it, rest)| (it.into(), rest))
            }
        };
        found.push((name.trim_matches([' ', ';', '\t']).to_owned(), value.trim().to_owned()));
        rest = behind;
    }
    found
}

/// A string up to its closing quote, and what stands behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

/// `UTF-8'en'na%C3%AFve` (RFC 8187); other charsets are as good as no name.
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    Some(percent_decode_str(encoded).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<String, Kind> {
        of_url(&Url::parse(url).unwrap()).map_err(|error| error.kind)
    }

    fn sent(disposition: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        let value = http::HeaderValue::from_bytes(disposition.as_bytes()).unwrap();
        headers.insert(CONTENT_DISPOSITION, value);
        of_headers(&headers)
    }

    #[test]
    fn the_last_segment_of_the_url_is_the_name() {
        assert_eq!(of("http://x/a/b%20c.iso?v=1#d").unwrap(), "b c.iso");
        assert_eq!(of("http://x/%C3%A9t%C3%A9.txt").unwrap(), "été.txt");
    }

    #[test]
    fn a_segment_that_is_no_name_is_refused() {
        for path in [
            "",
            "a/",
            "%2e%2e%2fetc%2fpasswd",
            "..%2f",
            "%2e%2E%5cx",
            "a%2fb",
            "a%5Cb",
            "%00",
            "a%0ab",
            "%7f",
            "%c2%85",
            ".bashrc",
            "%2ebashrc",
            "con",
            "NUL.txt",
            "com1",
            "LPT9.a.b",
            "aux%20.c",
            "COM%C2%B9",
            "%e2%80%aeexe.jpg",
            "a%e2%80%8b",
            "%ff",
            "a.",
            "a%20",
            "CONIN$",
        ] {
            let refused = of(&format!("http://x/{path}"));
            assert_eq!(refused, Err(Kind::UnsafeFilename), "{path}");
        }
        assert!(of(&format!("http://x/{}", "n".repeat(255))).is_ok());
        assert!(of(&format!("http://x/{}", "n".repeat(256))).is_err());
    }

    #[test]
    fn names_of_servers_are_made_harmless() {
        for (disposition, expected) in [
            ("attachment; filename=a.txt", "a.txt"),
            ("attachment; filename=\"a b.txt\"", "a b.txt"),
            ("attachment; filename=\"a\\\"b.txt\"; size=3", "a\"b.txt"),
            ("attachment; filename=b.txt; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
            ("attachment; filename*=latin1''x.txt; filename=c.txt", "c.txt"),
            ("attachment; filename=\"../../etc/passwd\"", "passwd"),
            ("attachment; filename=\"..\\..\\boot.ini\"", "boot.ini"),
            ("attachment; filename=\".bashrc\"", "bashrc"),
            ("attachment; filename=\"nul.txt\"", "_nul.txt"),
            ("attachment; filename*=UTF-8''%2e%2e%2fx", "x"),
            ("attachment; filename*=UTF-8''a%00b", "a_b"),
            ("attachment; filename*=UTF-8''a%e2%80%aegpj.exe", "a_gpj.exe"),
        ] {
            assert_eq!(sent(disposition).as_deref(), Some(expected), "{disposition}");
        }
        for nothing in [
            "attachment",
            "inline; filename=",
            "x; filename=\"..\"",
            "x; filename=\"/\"",
            "x; filename=\"a/..\"",
            "x; filename*=UTF-8''%ff",
            "x; filename=\"...",
        ] {
            assert_eq!(sent(nothing), None, "{nothing}");
        }
        let long = sent(&format!("x; filename=\"{}.tar.gz\"", "ü".repeat(300))).unwrap();
        assert!(long.len() <= LONGEST && long.ends_with("ü.gz"), "{long}");
    }
}
