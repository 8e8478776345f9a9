//! The body of a response as bytes, as text and as JSON. In the loop's thread, with the GIL.

use jiter::PythonParse;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::Body;
use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::PyResponse;
use crate::bytes::joined;
use crate::convert::lock;
use crate::errors;

impl PyResponse {
    pub(super) fn whole<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = lock(&self.made);
        if let Some(content) = &made.content {
            return Ok(content.bind(py).clone());
        }
        let read = made.read.as_ref().and_then(|read| lock(read).take());
        drop(made);
        let content = match (read, &self.response.body) {
            (Some(whole), _) => joined(py, whole.pieces())?,
            (None, Body::Whole(whole)) if self.stream.is_none() => joined(py, whole.pieces())?,
            (None, Body::Kept(_)) => {
                let text = "the body is in a file: see `Fetched.path` or `Saved.path`";
                return Err(errors::exception(py, Error::new(Kind::StreamMisused, text)));
            }
            (None, Body::Absent) => {
                let text = "the body has stayed with the worker that fetched it";
                return Err(errors::exception(py, Error::new(Kind::StreamMisused, text)));
            }
            _ => {
                let text = "the body has not been read: `await response.aread()` first";
                return Err(errors::exception(py, Error::new(Kind::StreamMisused, text)));
            }
        };
        lock(&self.made).content = Some(content.clone().unbind());
        Ok(content)
    }

    pub(super) fn charset(&self, py: Python<'_>) -> PyResult<String> {
        if let Some(encoding) = &lock(&self.made).encoding {
            return Ok(encoding.clone());
        }
        if let Some(named) = self.headers(py)?.get().charset()
            && is_text_encoding(py, &named)
        {
            return Ok(named);
        }
        let start = if self.stream.is_none() || lock(&self.made).content.is_some() {
            self.whole(py)?.as_bytes().iter().take(4).copied().collect()
        } else {
            Vec::new()
        };
        Ok(match start.as_slice() {
            [0xef, 0xbb, 0xbf, ..] => "utf-8-sig",
            [0xff, 0xfe, 0, 0] | [0, 0, 0xfe, 0xff] => "utf-32",
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "utf-16",
            _ => "utf-8",
        }
        .to_owned())
    }

    pub(super) fn decoded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let content = self.whole(py)?;
        let encoding = self.charset(py)?;
        let arguments = (encoding, intern!(py, "replace"));
        let text = content.call_method1(intern!(py, "decode"), arguments)?;
        Ok(text.cast_into()?)
    }

    pub(super) fn parsed<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let content = self.whole(py)?;
        if options.is_none()
            && let Ok(value) = PythonParse::default().python_parse(py, content.as_bytes())
        {
            return Ok(value);
        }
        let loads = py.import(intern!(py, "json"))?.getattr(intern!(py, "loads"))?;
        match loads.call((&content,), options) {
            Err(error) if error.is_instance_of::<PyUnicodeDecodeError>(py) => {
                loads.call((self.decoded(py)?,), options)
            }
            other => other,
        }
    }
}

fn is_text_encoding(py: Python<'_>, name: &str) -> bool {
    let codec = py.import(intern!(py, "codecs")).and_then(|codecs| {
        codecs.call_method1(intern!(py, "lookup"), (name,))?.getattr("_is_text_encoding")
    });
    codec.is_ok_and(|is_text| is_text.is_truthy().unwrap_or(false))
}
