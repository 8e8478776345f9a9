//! `Response`: what a fetch gives. Everything is there already; nothing has to be awaited.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version};
use jiter::PythonParse;
use offloop_core::fetch::{Response, Url, redacted};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::convert::lock;
use crate::headers::PyHeaders;

/// A response with its whole body.
#[pyclass(name = "Response", module = "offloop", frozen, weakref)]
pub(crate) struct PyResponse {
    status: StatusCode,
    version: Version,
    url: Arc<Url>,
    elapsed: Duration,
    body: Bytes,
    /// The parts that become Python objects when they are first asked for. Not in a
    /// `PyOnceLock`: filling one lets go of the GIL, which a busy thread then keeps for 5 ms.
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// Moved into `headers` when that is made.
    map: http::HeaderMap,
    headers: Option<Py<PyHeaders>>,
    content: Option<Py<PyBytes>>,
}

impl PyResponse {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            status: response.status,
            version: response.version,
            url: response.url,
            elapsed: response.elapsed,
            body: response.body,
            made: Mutex::new(Made { map: response.headers, ..Made::default() }),
        }
    }

    /// A response whose body has been copied already; Rust's copy is let go.
    pub(crate) fn with_content(mut response: Response, content: Py<PyBytes>) -> Self {
        response.body = Bytes::new();
        let made = Self::new(response);
        lock(&made.made).content = Some(content);
        made
    }
}

#[pymethods]
impl PyResponse {
    /// The status code, for instance 200.
    #[getter]
    fn status_code(&self) -> u16 {
        self.status.as_u16()
    }

    /// The same as `status_code`.
    #[getter]
    fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The reason phrase that belongs to the status code, for instance "Not Found".
    #[getter]
    fn reason_phrase(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or_default()
    }

    /// "HTTP/1.1" or "HTTP/1.0".
    #[getter]
    fn http_version(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
    }

    /// The URL that was dialled last, redirects followed.
    #[getter]
    fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The headers.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyHeaders>> {
        let mut made = lock(&self.made);
        if let Some(headers) = &made.headers {
            return Ok(headers.clone_ref(py));
        }
        let map = std::mem::take(&mut made.map);
        drop(made);
        let headers = Py::new(py, PyHeaders::new(map))?;
        lock(&self.made).headers = Some(headers.clone_ref(py));
        Ok(headers)
    }

    /// The body.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        if let Some(content) = &lock(&self.made).content {
            return content.bind(py).clone();
        }
        let content = PyBytes::new(py, &self.body);
        lock(&self.made).content = Some(content.clone().unbind());
        content
    }

    /// The charset of `text`: the one the server names if Python knows it, else UTF-8.
    #[getter]
    fn encoding(&self, py: Python<'_>) -> PyResult<String> {
        let named = self.headers(py)?.get().charset();
        let known = named.filter(|name| {
            let codec = py.import(intern!(py, "codecs")).and_then(|codecs| {
                codecs.call_method1(intern!(py, "lookup"), (name,))?.getattr("_is_text_encoding")
            });
            codec.is_ok_and(|is_text| is_text.is_truthy().unwrap_or(false))
        });
        Ok(known.unwrap_or_else(|| "utf-8".to_owned()))
    }

    /// The body as text; what does not decode becomes U+FFFD.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let encoding = self.encoding(py)?;
        let arguments = (encoding, intern!(py, "replace"));
        let text = self.content(py).call_method1(intern!(py, "decode"), arguments)?;
        Ok(text.cast_into()?)
    }

    /// The body as JSON. What `json.loads` would refuse is refused with the same exception.
    #[pyo3(signature = (**options))]
    fn json<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let content = self.content(py);
        if options.is_none()
            && let Ok(value) = PythonParse::default().python_parse(py, content.as_bytes())
        {
            return Ok(value);
        }
        py.import(intern!(py, "json"))?.call_method(intern!(py, "loads"), (content,), options)
    }

    /// From the start of the request to the last byte of the body.
    #[getter]
    fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Status 1xx.
    #[getter]
    fn is_informational(&self) -> bool {
        self.status.is_informational()
    }

    /// Status 2xx.
    #[getter]
    fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Status 3xx.
    #[getter]
    fn is_redirect(&self) -> bool {
        self.status.is_redirection()
    }

    /// Status 4xx.
    #[getter]
    fn is_client_error(&self) -> bool {
        self.status.is_client_error()
    }

    /// Status 5xx.
    #[getter]
    fn is_server_error(&self) -> bool {
        self.status.is_server_error()
    }

    /// Status 4xx or 5xx.
    #[getter]
    fn is_error(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    /// Raises `StatusError` for 4xx and 5xx; returns the response otherwise.
    fn raise_for_status<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        if !this.is_error() {
            return Ok(slf.clone());
        }
        let shown = redacted(&this.url);
        let text = format!("{} {} for {shown}", this.status_code(), this.reason_phrase());
        let class = py.import(intern!(py, "offloop.exceptions"))?.getattr("StatusError")?;
        let fields = PyDict::new(py);
        fields.set_item("url", shown)?;
        fields.set_item("response", slf)?;
        Err(PyErr::from_value(class.call((text,), Some(&fields))?))
    }

    fn __repr__(&self) -> String {
        format!("<Response [{} {}]>", self.status_code(), self.reason_phrase())
    }
}
