//! `Request`: what was asked, as responses and errors show it.

use std::sync::Arc;

use http::Method;
use offloop_core::fetch::{Asked, parse_url, redacted};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

use super::headers::{self, PyHeaders};
use super::options;
use super::target::written;
use crate::errors;
use crate::label::Label;

/// What goes into a Request to make the same one: method, URL, header lines.
type Parts<'py> = (String, String, Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>);

/// A request: its method, URL and headers.
#[pyclass(name = "Request", module = "offloop", frozen, weakref)]
pub(crate) struct PyRequest {
    asked: Asked,
}

impl PyRequest {
    pub(crate) fn new(asked: Asked) -> Self {
        Self { asked }
    }

    /// What its Job is called.
    pub(crate) fn label(&self) -> Label {
        Label::Request(self.asked.method.clone(), Arc::clone(&self.asked.url))
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }
}

#[pymethods]
impl PyRequest {
    #[new]
    #[pyo3(signature = (method, url, *, headers=None))]
    fn make(
        py: Python<'_>,
        method: &Bound<'_, PyString>,
        url: &Bound<'_, PyString>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let url = parse_url(written(url)?).map_err(|error| errors::exception(py, error))?;
        let headers = headers.map(headers::from_python).transpose()?.unwrap_or_default();
        let method = options::method_of(method)?;
        Ok(Self { asked: Asked { method, url: Arc::new(url), headers: Arc::new(headers) } })
    }

    /// The method, for instance "GET".
    #[getter]
    fn method(&self) -> &str {
        self.asked.method.as_str()
    }

    /// The whole URL, query included.
    #[getter]
    fn url(&self) -> &str {
        self.asked.url.as_str()
    }

    /// The headers as they were asked for; those of the connection itself are not among them.
    #[getter]
    fn headers(&self) -> PyHeaders {
        PyHeaders::new((*self.asked.headers).clone())
    }

    fn __repr__(&self) -> String {
        let method: &Method = &self.asked.method;
        format!("<Request {method} {}>", redacted(&self.asked.url))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let (own, other) = (&self.asked, &other.get().asked);
            own.method == other.method && own.url == other.url && own.headers == other.headers
        })
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (self.asked.method.as_str(), self.asked.url.as_str()).hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Parts<'py>)> {
        let class = PyType::new::<Self>(py);
        let headers = PyHeaders::new((*self.asked.headers).clone()).lines(py);
        let parts = (self.method().to_owned(), self.url().to_owned(), headers);
        Ok((class.getattr("_rebuild")?, parts))
    }

    /// For pickle.
    #[staticmethod]
    fn _rebuild(
        py: Python<'_>,
        method: &Bound<'_, PyString>,
        url: &Bound<'_, PyString>,
        headers: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        Self::make(py, method, url, Some(headers))
    }
}
