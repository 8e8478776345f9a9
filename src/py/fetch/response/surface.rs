//! What Python sees of a response. In the loop's thread, with the GIL.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use offloop_core::fetch::{redacted, set_by};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::PyResponse;
use crate::convert::{Imported, lock};
use crate::errors;
use crate::fetch::byte_stream::PyByteStream;
use crate::fetch::client;
use crate::fetch::headers::{self, PyHeaders};
use crate::fetch::options::seconds;
use crate::fetch::request::PyRequest;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

#[pymethods]
impl PyResponse {
    /// The status code, for instance 200.
    #[getter]
    pub(super) fn status_code(&self) -> u16 {
        self.head().status.as_u16()
    }

    /// The same as `status_code`.
    #[getter]
    fn status(&self) -> u16 {
        self.head().status.as_u16()
    }

    /// The reason phrase the server sent, or the usual one, for instance "Not Found".
    #[getter]
    fn reason_phrase(&self) -> String {
        match &self.head().reason {
            Some(sent) => sent.iter().copied().map(char::from).collect(),
            None => self.head().status.canonical_reason().unwrap_or_default().to_owned(),
        }
    }

    /// "HTTP/1.1", "HTTP/1.0" or "HTTP/2".
    #[getter]
    fn http_version(&self) -> &'static str {
        match self.head().version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    /// The URL that was dialled last, redirects followed.
    #[getter]
    fn url(&self) -> &str {
        self.head().asked.url.as_str()
    }

    /// The request this answers: the last one, redirects followed.
    #[getter]
    fn request(&self) -> PyRequest {
        PyRequest::new(self.head().asked.clone())
    }

    /// The headers.
    #[getter]
    pub(super) fn headers(&self, py: Python<'_>) -> PyResult<Py<PyHeaders>> {
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

    /// The header lines as they were sent, where that is known: of `relay`.
    fn _as_sent<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let Some(sent) = &self.head().sent else { return Ok(self.headers(py)?.get().lines(py)) };
        let line =
            |(name, value): &(Bytes, Bytes)| (PyBytes::new(py, name), PyBytes::new(py, value));
        Ok(sent.lines.iter().map(line).collect())
    }

    /// Address and port of the other end of the connection, where that is known: of `relay`.
    fn _peer(&self) -> Option<(String, u16)> {
        let peer = self.head().sent.as_ref()?.peer?;
        Some((peer.ip().to_string(), peer.port()))
    }

    /// The cookies that this response sets, by name.
    #[getter]
    fn cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let set = self.map(py, |map| set_by(&self.head().asked.url, map))?;
        let cookies = PyDict::new(py);
        for (name, value) in set {
            cookies.set_item(name, value)?;
        }
        Ok(cookies)
    }

    /// The responses that redirected here, without their bodies.
    #[getter]
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.response.history.iter().cloned().map(Self::of_history))
    }

    /// What each try got, the last one included.
    #[getter]
    pub(super) fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        if let Some(attempts) = &lock(&self.made).attempts {
            return Ok(attempts.bind(py).clone());
        }
        let attempts = errors::attempts(py, &self.response.attempts)?;
        let before: Duration = self.response.attempts.iter().map(|attempt| attempt.took).sum();
        let last = offloop_core::error::Attempt {
            url: redacted(&self.head().asked.url),
            status: Some(self.status_code()),
            error: None,
            reused: self.response.reused,
            took: self.response.timings.elapsed.saturating_sub(before),
        };
        attempts.append(errors::attempt(py, &last)?)?;
        Ok(attempts)
    }

    /// Where the time went, in seconds: `queued`, `dns`, `connect`, `tls`, `first_byte`, `body`,
    /// `decode`, `bridge`.
    #[getter]
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (timings, all) = (&self.response.timings, PyDict::new(py));
        for (name, duration) in [
            ("queued", timings.queued),
            ("dns", timings.dns),
            ("connect", timings.connect),
            ("tls", timings.tls),
            ("first_byte", timings.first_byte),
            ("body", timings.body),
            ("decode", timings.decode),
            ("bridge", self.bridge),
        ] {
            all.set_item(name, seconds(py, duration))?;
        }
        Ok(all)
    }

    /// Bytes of the body that came over the wire, so far if it is a stream.
    #[getter]
    fn num_bytes_downloaded(&self) -> u64 {
        self.stream.as_ref().map_or(self.response.received, |stream| stream.received())
    }

    /// The body. Raises `LifecycleError` for a stream that has not been read.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.whole(py)
    }

    /// The charset of `text`: the one the server names if Python knows it, else that of a byte
    /// order mark, else UTF-8.
    #[getter]
    fn encoding(&self, py: Python<'_>) -> PyResult<String> {
        self.charset(py)
    }

    #[setter]
    fn set_encoding(&self, encoding: String) {
        lock(&self.made).encoding = Some(encoding);
    }

    /// The body as text; what does not decode becomes U+FFFD.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.decoded(py)
    }

    /// The body as JSON; integers are exact. What `json.loads` would refuse is refused with the
    /// same exception.
    #[pyo3(signature = (**options))]
    fn json<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.parsed(py, options)
    }

    /// From the start of the request to the last byte of the body; of a stream, to its head.
    #[getter]
    fn elapsed(&self) -> Duration {
        self.response.timings.elapsed
    }

    /// Status 1xx.
    #[getter]
    fn is_informational(&self) -> bool {
        self.head().status.is_informational()
    }

    /// Status 2xx.
    #[getter]
    fn is_success(&self) -> bool {
        self.head().status.is_success()
    }

    /// Status 3xx.
    #[getter]
    fn is_redirect(&self) -> bool {
        self.head().status.is_redirection()
    }

    /// A redirect that says where to.
    #[getter]
    fn has_redirect_location(&self, py: Python<'_>) -> PyResult<bool> {
        let moved = matches!(self.status_code(), 301 | 302 | 303 | 307 | 308);
        Ok(moved && self.map(py, |map| map.contains_key(http::header::LOCATION))?)
    }

    /// Status 4xx.
    #[getter]
    fn is_client_error(&self) -> bool {
        self.head().status.is_client_error()
    }

    /// Status 5xx.
    #[getter]
    fn is_server_error(&self) -> bool {
        self.head().status.is_server_error()
    }

    /// Status 4xx or 5xx.
    #[getter]
    fn is_error(&self) -> bool {
        self.is_client_error() || self.is_server_error()
    }

    /// Raises `StatusError` for 4xx and 5xx; returns the response otherwise.
    fn raise_for_status<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        if !this.is_error() {
            return Ok(slf.clone());
        }
        let shown = redacted(&this.head().asked.url);
        let text = format!("{} {} for {shown}", this.status_code(), this.reason_phrase());
        let class = py.import(intern!(py, "offloop.exceptions"))?.getattr("StatusError")?;
        let fields = PyDict::new(py);
        fields.set_item("url", shown)?;
        fields.set_item("response", slf)?;
        fields.set_item("request", Bound::new(py, this.request())?)?;
        Err(PyErr::from_value(class.call((text,), Some(&fields))?))
    }

    /// The body in pieces as they come, decoded: an async iterator of bytes.
    #[pyo3(signature = (chunk_bytes=None))]
    fn aiter_bytes<'py>(
        &self,
        py: Python<'py>,
        chunk_bytes: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static RECHUNK: Imported = Imported::new("offloop.streams", "rechunk");
        let chunks = self.chunks(py, false)?;
        match chunk_bytes {
            Some(size) => self.generator(py, &RECHUNK, (chunks, size)),
            None => Ok(chunks.into_any()),
        }
    }

    /// The body in pieces as they come, in the coding of the wire.
    fn aiter_raw<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteStream>> {
        self.chunks(py, true)
    }

    /// The body as text, piece by piece.
    fn aiter_text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static TEXT: Imported = Imported::new("offloop.streams", "text");
        let encoding = self.charset(py)?;
        self.generator(py, &TEXT, (self.chunks(py, false)?, encoding))
    }

    /// The body line by line, without the ends of lines.
    fn aiter_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static LINES: Imported = Imported::new("offloop.streams", "lines");
        let encoding = self.charset(py)?;
        self.generator(py, &LINES, (self.chunks(py, false)?, encoding, self.most()))
    }

    /// The body as JSON values, one to a line.
    fn aiter_jsonl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static JSONL: Imported = Imported::new("offloop.streams", "jsonl");
        self.generator(py, &JSONL, (self.chunks(py, false)?, self.most()))
    }

    /// The body as server-sent events; with `reconnect`, goes on where the stream broke off.
    #[pyo3(signature = (*, reconnect=false))]
    fn aiter_sse<'py>(slf: &Bound<'py, Self>, reconnect: bool) -> PyResult<Bound<'py, PyAny>> {
        static SSE: Imported = Imported::new("offloop.streams", "sse");
        static RECONNECTING: Imported = Imported::new("offloop._response", "resuming_sse");
        let (py, this) = (slf.py(), slf.get());
        if reconnect {
            return this.generator(py, &RECONNECTING, (slf, this.most()));
        }
        this.generator(py, &SSE, (this.chunks(py, false)?, this.most()))
    }

    /// Reads the rest of the body; afterwards `content`, `text` and `json()` work.
    fn aread<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static READ: Imported = Imported::new("offloop._response", "read");
        slf.get().generator(slf.py(), &READ, (slf,))
    }

    /// The Job of `aread`: brings the body, which `content` then takes.
    fn _read(&self, py: Python<'_>) -> PyResult<Option<PyJob>> {
        if self.stream.is_none() || lock(&self.made).content.is_some() {
            return Ok(None);
        }
        let Some(stream) = self.stream.clone() else { return Ok(None) };
        stream.begin(false).map_err(|error| errors::exception(py, error))?;
        let place = Arc::new(Mutex::new(None));
        lock(&self.made).read = Some(Arc::clone(&place));
        let shown = redacted(&self.head().asked.url);
        let most = self.most();
        let operation = Box::pin(async move {
            let whole = stream.collect(most).await.map_err(|error| Box::new(error.at(shown)))?;
            *lock(&place) = Some(whole);
            Ok(Outcome::Nothing)
        });
        let job = PyJob::new(py, Label::Text("Response.aread"), Work::Operation(operation))?;
        Ok(Some(job))
    }

    /// The Job of the same request once more, with these headers on top.
    fn _again(&self, py: Python<'_>, given: &Bound<'_, PyAny>) -> PyResult<Option<PyJob>> {
        let Some(again) = &self.again else { return Ok(None) };
        let (engine, mut request) = (again.engine.clone(), again.request.clone());
        let map = Arc::make_mut(&mut request.headers);
        headers::replace(map, headers::from_python(given)?);
        client::streaming_job(py, engine, request, again.max_body).map(Some)
    }

    /// Closes the connection of a stream that has not been read to its end.
    fn close(&self) {
        if let Some(stream) = &self.stream {
            stream.close();
        }
    }

    /// As `close`, for those who are used to await it.
    fn aclose(&self, py: Python<'_>) -> PyResult<PyJob> {
        self.close();
        PyJob::over(py, Label::Text("Response.aclose"), py.None())
    }

    /// Whether nothing more can be read from the connection.
    #[getter]
    fn is_closed(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.has_ended())
    }

    /// Whether reading of the stream has begun.
    #[getter]
    fn is_stream_consumed(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.has_begun())
    }

    fn __repr__(&self) -> String {
        format!("<Response [{} {}]>", self.status_code(), self.reason_phrase())
    }
}
