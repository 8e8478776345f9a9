//! `Headers`: the headers of a message, case-insensitive, several values to a name.

use http::{HeaderMap, HeaderName, HeaderValue};
use offloop_core::fetch::header;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMapping, PyString};

use super::target::plain;
use crate::errors;

/// Values that no repr shows.
const SECRET: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "private-token"];

/// Headers of a response: a read-only mapping with case-insensitive names.
#[pyclass(name = "Headers", module = "offloop", frozen, mapping)]
pub(crate) struct PyHeaders {
    map: HeaderMap,
}

impl PyHeaders {
    pub(crate) fn new(map: HeaderMap) -> Self {
        Self { map }
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// `(name, value)` for each header line, as bytes.
    pub(super) fn lines<'py>(
        &self,
        py: Python<'py>,
    ) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            (PyBytes::new(py, name.as_str().as_bytes()), PyBytes::new(py, value.as_bytes()))
        };
        self.map.iter().map(line).collect()
    }

    fn joined(&self, name: &str) -> Option<String> {
        let mut values = self.map.get_all(name).iter().map(text).peekable();
        values.peek()?;
        Some(values.collect::<Vec<_>>().join(", "))
    }

    /// The charset parameter of Content-Type (RFC 9110 §8.3.1).
    pub(crate) fn charset(&self) -> Option<String> {
        let content_type = self.map.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
        let mut parameters = content_type.split(';').skip(1).filter_map(|it| it.split_once('='));
        let (_, value) =
            parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
        Some(value.trim().trim_matches('"').to_owned())
    }

    fn names(&self) -> Vec<&str> {
        self.map.keys().map(HeaderName::as_str).collect()
    }
}

#[pymethods]
impl PyHeaders {
    /// The values of `name`, joined by a comma and a space (RFC 9110 §5.3).
    fn __getitem__(&self, name: &str) -> PyResult<String> {
        self.joined(name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    /// As `[name]`, with a default.
    #[pyo3(signature = (name, default=None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        match self.joined(name) {
            Some(value) => Some(PyString::new(py, &value).into_any()),
            None => default,
        }
    }

    /// All values of `name`, one by one.
    fn get_list(&self, name: &str) -> Vec<String> {
        self.map.get_all(name).iter().map(text).collect()
    }

    /// The names, in lower case, each once.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.names())
    }

    /// The values, in the order of `keys()`.
    fn values(&self) -> Vec<String> {
        self.names().into_iter().filter_map(|name| self.joined(name)).collect()
    }

    /// `(name, value)` with repeated headers joined.
    fn items(&self) -> Vec<(String, String)> {
        let names = self.names().into_iter();
        names.filter_map(|name| Some((name.to_owned(), self.joined(name)?))).collect()
    }

    /// `(name, value)` for each header line.
    fn multi_items(&self) -> Vec<(String, String)> {
        self.map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
    }

    /// `(name, value)` for each header line, as bytes.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        self.lines(py)
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<&str>().is_ok_and(|name| self.map.contains_key(name))
    }

    fn __len__(&self) -> usize {
        self.map.keys_len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.try_iter()?.into_any())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        match other.cast::<Self>() {
            Ok(other) => self.map == other.get().map,
            Err(_) => from_python(other).is_ok_and(|map| map == self.map),
        }
    }

    fn __repr__(&self) -> String {
        let shown = self.map.iter().map(|(name, value)| {
            let secret = SECRET.contains(&name.as_str());
            (name.as_str().to_owned(), if secret { "[secret]".to_owned() } else { text(value) })
        });
        format!("Headers({:?})", shown.collect::<Vec<_>>())
    }
}

/// Headers of `newer` take the place of those of the same name.
pub(crate) fn replace(map: &mut HeaderMap, newer: HeaderMap) {
    let mut latest = None;
    for (name, value) in newer {
        match name {
            Some(name) => {
                map.insert(name.clone(), value);
                latest = Some(name);
            }
            None => {
                if let Some(name) = &latest {
                    map.append(name.clone(), value);
                }
            }
        }
    }
}

/// A header value as text: latin-1, which every byte has.
fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

/// Headers as users give them: a mapping, `Headers`, or pairs; names and values `str` or `bytes`.
pub(crate) fn from_python(given: &Bound<'_, PyAny>) -> PyResult<HeaderMap> {
    if let Ok(headers) = given.cast::<PyHeaders>() {
        return Ok(headers.get().map.clone());
    }
    let py = given.py();
    let pairs = match given.cast::<PyMapping>() {
        Ok(mapping) => mapping.call_method0(intern!(py, "items"))?,
        Err(_) => given.clone(),
    };
    let mut map = HeaderMap::new();
    for pair in pairs.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
        let (name, value) = header(&octets(&name)?, &octets(&value)?)
            .map_err(|error| errors::exception(py, error))?;
        map.append(name, value);
    }
    Ok(map)
}

fn octets(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(plain("a header", text)?.as_bytes().to_vec());
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("header names and values must be str or bytes, not {kind}")))
}
