//! `Fetched`: what became of one request of many. Runs on the loop's thread with the GIL.

use std::path::PathBuf;

use offloop_core::fetch::{Asked, redacted};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::packed;
use super::request::PyRequest;
use super::response::PyResponse;

/// Index, what was asked, what was answered, and the error.
type Packed<'py> =
    (u64, Option<packed::Asked<'py>>, Option<packed::Answer<'py>>, Option<Bound<'py, PyAny>>);

/// What became of one request of many.
#[pyclass(name = "Fetched", module = "offloop", frozen, weakref)]
pub(crate) struct PyFetched {
    index: u64,
    asked: Option<Asked>,
    /// What was given in place of a request.
    given: Option<Py<PyAny>>,
    /// A Response; of a download what was saved.
    result: Option<Py<PyAny>>,
    error: Option<Py<PyAny>>,
}

impl PyFetched {
    pub(super) fn new(
        index: u64,
        asked: Option<Asked>,
        given: Option<Py<PyAny>>,
        result: Option<Py<PyAny>>,
        error: Option<Py<PyAny>>,
    ) -> Self {
        Self { index, asked, given, result, error }
    }

    fn answer<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyResponse>> {
        self.result.as_ref()?.bind(py).cast::<PyResponse>().ok().cloned()
    }
}

#[pymethods]
impl PyFetched {
    /// Where the request stood in the source, from 0.
    #[getter]
    fn index(&self) -> u64 {
        self.index
    }

    /// The URL that was asked for; of what is no URL, its text.
    #[getter]
    fn url<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match (&self.asked, &self.given) {
            (Some(asked), _) => Ok(PyString::new(py, asked.url.as_str())),
            (None, Some(given)) => given.bind(py).str(),
            (None, None) => Ok(PyString::new(py, "")),
        }
    }

    /// The request as it was made first; None if it could not be made.
    #[getter]
    fn request(&self) -> Option<PyRequest> {
        self.asked.clone().map(PyRequest::new)
    }

    /// The response, whatever its status; None if there is an error.
    #[getter]
    fn response<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyResponse>> {
        self.answer(py)
    }

    /// What there is instead of a response: what a download has saved.
    #[getter]
    fn _result(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.result.as_ref().map(|result| result.clone_ref(py))
    }

    /// What was given in place of a request, if that was kept.
    #[getter]
    fn _given(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.given.as_ref().map(|given| given.clone_ref(py))
    }

    /// The file with the body, a `pathlib.Path`; None without `save_to`, and for a response that
    /// is no success.
    #[getter]
    fn path(&self, py: Python<'_>) -> Option<PathBuf> {
        self.answer(py)?.get().kept().map(|kept| kept.path.clone())
    }

    /// Why there is no response, or None.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.error.as_ref().map(|error| error.clone_ref(py))
    }

    /// Plain objects that say all of it but the body, for another process; see `_unpack`.
    fn _pack<'py>(&self, py: Python<'py>) -> PyResult<Packed<'py>> {
        let asked = self.asked.as_ref().map(|asked| packed::asked(py, asked));
        let answer = self.answer(py).map(|it| it.get().pack(py)).transpose()?;
        let error = self.error.as_ref().map(|error| error.bind(py).clone());
        Ok((self.index, asked, answer, error))
    }

    /// What `_pack` has packed, at another index.
    #[staticmethod]
    fn _unpack(
        py: Python<'_>,
        index: u64,
        asked: Option<packed::Asked<'_>>,
        answer: Option<packed::Answer<'_>>,
        error: Option<Py<PyAny>>,
        given: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let asked = asked.map(|asked| packed::to_asked(py, asked)).transpose()?;
        let answer = answer.map(|answer| PyResponse::unpack(py, answer)).transpose()?;
        let result = answer.map(|it| Py::new(py, it)).transpose()?.map(Py::into_any);
        Ok(Self::new(index, asked, given, result, error))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = self.asked.as_ref().map(|asked| redacted(&asked.url));
        let shown = shown.unwrap_or_else(|| "(no URL)".to_owned());
        let outcome = match (self.answer(py), &self.error) {
            (Some(response), _) => response.getattr(intern!(py, "status_code"))?,
            (None, Some(error)) => error.bind(py).get_type().name()?.into_any(),
            (None, None) => py.None().into_bound(py),
        };
        Ok(format!("<Fetched {} {shown} {outcome}>", self.index))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in self.given.iter().chain(&self.error).chain(&self.result) {
            visit.call(object)?;
        }
        Ok(())
    }
}
