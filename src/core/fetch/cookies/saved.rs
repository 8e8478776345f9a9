//! A jar as a JSON text, and back, without trust in whoever wrote the text.
//!
//! JSON has no bytes: a cookie that is not UTF-8 is written with each byte as the character of
//! that number and is marked `latin1`. The order is that of creation, which decides in which
//! order cookies are sent.

use std::fmt::Write;

use jiter::JsonValue;

use super::cookie::{Cookie, capped, latin1};
use super::store::IN_ALL;
use super::{SameSite, domain};
use crate::error::{Error, Kind};

/// Bytes of a text that are read at most: more than a full jar of the largest cookies has.
pub(super) const LARGEST: usize = 40 << 20;

/// The only form there has been.
const VERSION: i64 = 1;

#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a cookie")]
struct Record {
    name: String,
    value: String,
    latin1: bool,
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    expires: Option<i64>,
}

pub(super) fn write(cookies: &[&Cookie]) -> String {
    let records: Vec<_> = cookies.iter().map(|cookie| Record::of(cookie).json()).collect();
    format!("{{\"version\":{VERSION},\"cookies\":[{}]}}", records.join(","))
}

/// The cookies of a text that may be kept, the oldest first.
pub(super) fn read(text: &str, now: i64) -> Result<Vec<Cookie>, Error> {
    if text.len() > LARGEST {
        return Err(refused("it has more than 40 MiB"));
    }
    // The parser's own words could quote the text, and with it secrets.
    let saved = JsonValue::parse(text.as_bytes(), false).map_err(|error| {
        let place = error.get_position(text.as_bytes());
        refused(&format!("line {} is not as saved", place.line))
    })?;
    let version = field(&saved, "version").and_then(number);
    let Some(JsonValue::Array(records)) = field(&saved, "cookies") else {
        return Err(refused("it has no list of cookies"));
    };
    if records.len() > IN_ALL {
        return Err(refused("it has more than 3000 cookies"));
    }
    if version != Some(VERSION) {
        return Err(refused("it was saved by another version"));
    }
    let records: Option<Vec<_>> = records.iter().map(Record::of_json).collect();
    let records = records.ok_or_else(|| refused("one of its cookies is not as saved"))?;
    Ok(records.into_iter().filter_map(|record| record.cookie(now)).collect())
}

fn field<'a, 'j>(object: &'a JsonValue<'j>, name: &str) -> Option<&'a JsonValue<'j>> {
    match object {
        JsonValue::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|it| &it.1),
        _ => None,
    }
}

fn number(value: &JsonValue<'_>) -> Option<i64> {
    match value {
        JsonValue::Int(number) => Some(*number),
        _ => None,
    }
}

/// `text` as JSON has it (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

impl Record {
    fn of(cookie: &Cookie) -> Self {
        let view = cookie.view();
        let (name, value) = (std::str::from_utf8(&cookie.name), std::str::from_utf8(&cookie.value));
        let (name, value, latin1) = match (name, value) {
            (Ok(_), Ok(_)) => (view.name, view.value, false),
            _ => (latin1(&cookie.name), latin1(&cookie.value), true),
        };
        Self {
            name,
            value,
            latin1,
            domain: view.domain,
            host_only: view.host_only,
            path: view.path,
            secure: view.secure,
            http_only: view.http_only,
            same_site: view.same_site,
            expires: view.expires,
        }
    }

    fn json(&self) -> String {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let latin1 = if self.latin1 { "\"latin1\":true," } else { "" };
        format!(
            "{{\"name\":{},\"value\":{},{latin1}\"domain\":{},\"host_only\":{},\"path\":{},\
             \"secure\":{},\"http_only\":{},\"same_site\":{},\"expires\":{}}}",
            quoted(&self.name),
            quoted(&self.value),
            quoted(&self.domain),
            self.host_only,
            quoted(&self.path),
            self.secure,
            self.http_only,
            or_null(self.same_site.map(|it| quoted(it.name()))),
            or_null(self.expires.map(|at| at.to_string())),
        )
    }

    /// None for a value that is no record.
    fn of_json(value: &JsonValue<'_>) -> Option<Self> {
        let text = |name: &str| match field(value, name)? {
            JsonValue::Str(text) => Some(text.to_string()),
            _ => None,
        };
        let flag = |name: &str| match field(value, name)? {
            JsonValue::Bool(flag) => Some(*flag),
            _ => None,
        };
        let same_site = match field(value, "same_site")? {
            JsonValue::Null => None,
            JsonValue::Str(name) => Some(SameSite::named(name)?),
            _ => return None,
        };
        let expires = match field(value, "expires")? {
            JsonValue::Null => None,
            at => Some(number(at)?),
        };
        Some(Self {
            name: text("name")?,
            value: text("value")?,
            latin1: field(value, "latin1").is_some_and(|it| matches!(it, JsonValue::Bool(true))),
            domain: text("domain")?,
            host_only: flag("host_only")?,
            path: text("path")?,
            secure: flag("secure")?,
            http_only: flag("http_only")?,
            same_site,
            expires,
        })
    }

    fn cookie(self, now: i64) -> Option<Cookie> {
        let bytes = |text: String| {
            if self.latin1 {
                text.chars().map(|it| u8::try_from(it).ok()).collect()
            } else {
                Some(text.into_bytes().into_boxed_slice())
            }
        };
        let cookie = Cookie {
            name: bytes(self.name)?,
            value: bytes(self.value)?,
            domain: domain::canonical(&self.domain).filter(|domain| *domain == self.domain)?,
            host_only: self.host_only,
            path: self.path,
            secure: self.secure,
            http_only: self.http_only,
            same_site: self.same_site,
            expires: self.expires.map(|at| capped(at, now)),
            created: 0,
            used: 0,
        };
        cookie.check().ok()?;
        Some(cookie)
    }
}

fn refused(why: &str) -> Error {
    Error::new(Kind::InvalidHeader, format!("these saved cookies cannot be read: {why}"))
}
