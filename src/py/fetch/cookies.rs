//! `Cookies`: the jar of a client, for those who look into it.

use std::path::PathBuf;

use offloop_core::fetch::{Jar, SameSite};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::target::plain;
use crate::errors;

/// A cookie jar (RFC 6265bis, with the public-suffix list), shared by whoever holds it.
#[pyclass(name = "Cookies", module = "offloop", frozen, weakref)]
pub(crate) struct PyCookies {
    jar: Jar,
}

impl PyCookies {
    pub(super) fn new(jar: Jar) -> Self {
        Self { jar }
    }

    pub(super) fn jar(&self) -> &Jar {
        &self.jar
    }

    fn find(&self, name: &str, domain: Option<&str>, path: Option<&str>) -> Option<String> {
        let cookies = self.jar.list();
        let mut fitting = cookies.into_iter().filter(|cookie| {
            cookie.name == name
                && domain.is_none_or(|domain| cookie.domain.eq_ignore_ascii_case(domain))
                && path.is_none_or(|path| cookie.path == path)
        });
        fitting.next().map(|cookie| cookie.value)
    }
}

#[pymethods]
impl PyCookies {
    #[new]
    fn empty() -> Self {
        Self { jar: Jar::new() }
    }

    /// The value of a cookie, or `default`.
    #[pyo3(signature = (name, default=None, *, domain=None, path=None))]
    fn get(
        &self,
        name: &str,
        default: Option<String>,
        domain: Option<&str>,
        path: Option<&str>,
    ) -> Option<String> {
        self.find(name, domain, path).or(default)
    }

    /// Puts a cookie in, for `domain` alone; `expires` in seconds since 1970, None: never.
    #[pyo3(
        signature = (name, value, *, domain, path=None, secure=false, expires=None),
        text_signature = "($self, name, value, *, domain, path='/', secure=False, expires=None)"
    )]
    fn set(
        &self,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyString>,
        domain: &Bound<'_, PyString>,
        path: Option<&Bound<'_, PyString>>,
        secure: bool,
        expires: Option<i64>,
    ) -> PyResult<()> {
        fn text<'a>(given: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
            plain("a cookie", given)
        }
        let py = name.py();
        let path = path.map_or(Ok("/"), text)?;
        let set = self.jar.set(text(name)?, text(value)?, text(domain)?, path, secure, expires);
        set.map_err(|error| errors::exception(py, error))
    }

    /// Takes cookies of this name out; returns how many there were.
    #[pyo3(signature = (name, *, domain=None, path=None))]
    fn delete(&self, name: &str, domain: Option<&str>, path: Option<&str>) -> usize {
        self.jar.delete(name, domain, path)
    }

    /// Takes all cookies out.
    fn clear(&self) {
        self.jar.clear();
    }

    /// Writes all cookies to a file, readable by its owner alone.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let text = self.jar.to_json();
        py.import("offloop.fetch")?.call_method1("write_private", (path, text)).map(drop)
    }

    /// Adds the cookies of a file that `save` has written.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let text = std::fs::read_to_string(path)?;
        self.jar.load(&text).map_err(|error| errors::exception(py, error))
    }

    fn __getitem__(&self, name: &str) -> PyResult<String> {
        self.find(name, None, None).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    fn __contains__(&self, name: &str) -> bool {
        self.find(name, None, None).is_some()
    }

    fn __len__(&self) -> usize {
        self.jar.list().len()
    }

    /// Each cookie as a dict: `name`, `value`, `domain`, `host_only`, `path`, `secure`,
    /// `http_only`, `same_site`, `expires` (seconds since 1970, or None).
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all = PyList::empty(py);
        for cookie in self.jar.list() {
            let fields = PyDict::new(py);
            fields.set_item("name", cookie.name)?;
            fields.set_item("value", cookie.value)?;
            fields.set_item("domain", cookie.domain)?;
            fields.set_item("host_only", cookie.host_only)?;
            fields.set_item("path", cookie.path)?;
            fields.set_item("secure", cookie.secure)?;
            fields.set_item("http_only", cookie.http_only)?;
            fields.set_item("same_site", cookie.same_site.map(SameSite::name))?;
            fields.set_item("expires", cookie.expires)?;
            all.append(fields)?;
        }
        Ok(all.try_iter()?.into_any())
    }

    fn __repr__(&self) -> String {
        format!("<Cookies {}>", self.jar.list().len())
    }

    /// For pickle: the cookies go along.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (String,))> {
        let class = slf.get_type();
        Ok((class.getattr("_rebuild")?.unbind(), (slf.get().jar.to_json(),)))
    }

    /// For pickle.
    #[staticmethod]
    fn _rebuild(py: Python<'_>, text: &str) -> PyResult<Self> {
        let jar = Jar::new();
        jar.load(text).map_err(|error| errors::exception(py, error))?;
        Ok(Self { jar })
    }
}
