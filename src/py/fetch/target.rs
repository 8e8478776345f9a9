//! Where a request goes, and what its URL carries: parameters, `user:pass@`, cookies given by hand.
//! Runs in the caller's thread with the GIL.

use http::HeaderValue;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Url, no_text, redacted};
use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyMapping, PyString};

use crate::errors;

/// Whether a URL begins with a scheme and a host, and does not only mention one.
pub(super) fn is_absolute(text: &str) -> bool {
    let scheme = text.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.ends_with(':') && text.get(scheme.len()..).is_some_and(|rest| rest.starts_with("//"))
}

/// A URL as text; one with lone surrogates is none, as no bytes stand for them.
pub(super) fn written<'a>(given: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    let otherwise = || no_text(&given.to_string_lossy());
    given.to_str().map_err(|error| unless_surrogate(given.py(), error, otherwise))
}

/// A text that is to stand in the head of a request; `what` names it.
pub(super) fn plain<'a>(what: &str, given: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    given.to_str().map_err(|error| {
        let text = format!("{what} contains a lone surrogate");
        unless_surrogate(given.py(), error, || Error::new(Kind::InvalidHeader, text))
    })
}

/// `error`, unless a lone surrogate is its cause: then it is what `otherwise` makes.
pub(super) fn unless_surrogate(
    py: Python<'_>,
    error: PyErr,
    otherwise: impl FnOnce() -> Error,
) -> PyErr {
    if error.is_instance_of::<PyUnicodeEncodeError>(py) {
        return errors::exception(py, otherwise());
    }
    error
}

/// `user:pass@` leaves the URL and becomes basic auth (RFC 7617), once.
pub(super) fn take_user_info(url: &mut Url) -> Option<(String, String)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let plain =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = (plain(url.username()), plain(url.password().unwrap_or_default()));
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(pair)
}

/// Adds parameters to the query; on failure `url` is of no use any more.
pub(super) fn append_params(url: &mut Url, params: &Bound<'_, PyAny>) -> PyResult<()> {
    let asked = redacted(url);
    append(url, params).map_err(|error| {
        unless_surrogate(params.py(), error, || {
            let text = format!("invalid URL {asked:?}: its params contain a lone surrogate");
            Error::new(Kind::InvalidUrl, text).at(asked)
        })
    })
}

fn append(url: &mut Url, params: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(text) = params.cast::<PyString>() {
        let text = text.extract::<&str>()?;
        let joined = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{text}"),
            _ => text.to_owned(),
        };
        url.set_query(Some(&joined));
        return Ok(());
    }
    let mut query = url.query_pairs_mut();
    for pair in pairs(params)?.try_iter()? {
        let (name, value): (String, Bound<'_, PyAny>) = pair?.extract()?;
        let several = value.is_instance_of::<pyo3::types::PyList>()
            || value.is_instance_of::<pyo3::types::PyTuple>();
        if several {
            for value in value.try_iter()? {
                query.append_pair(&name, &shown(&value?)?);
            }
        } else {
            query.append_pair(&name, &shown(&value)?);
        }
    }
    Ok(())
}

/// A parameter as text: "true", "false", and nothing for None, as forms have them.
fn shown(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is_none() {
        return Ok(String::new());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().to_string());
    }
    Ok(value.str()?.to_str()?.to_owned())
}

/// `name=value; …` of a mapping or of pairs, behind what is there already.
pub(super) fn cookie_header(
    given: &Bound<'_, PyAny>,
    before: Option<&HeaderValue>,
) -> PyResult<HeaderValue> {
    let py = given.py();
    let mut line = before.map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    for pair in pairs(given)?.try_iter()? {
        let pair: PyResult<(String, String)> = pair?.extract();
        let (name, value) = pair.map_err(|error| {
            let text = "a cookie contains a lone surrogate";
            unless_surrogate(py, error, || Error::new(Kind::InvalidHeader, text))
        })?;
        let bad = |text: &str| text.bytes().any(|byte| byte < b' ' || byte == b';' || byte == 0x7f);
        if name.is_empty() || name.contains('=') || bad(&name) || bad(&value) {
            let text = format!("the cookie {name:?} has characters that no cookie has");
            return Err(errors::exception(py, Error::new(Kind::InvalidHeader, text)));
        }
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(format!("{name}={value}").as_bytes());
    }
    let (_, mut value) =
        fetch::header(b"cookie", &line).map_err(|error| errors::exception(py, error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn pairs<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match given.cast::<PyMapping>() {
        Ok(mapping) => mapping.call_method0(intern!(given.py(), "items")),
        Err(_) => Ok(given.clone()),
    }
}
