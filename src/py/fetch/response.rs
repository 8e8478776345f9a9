//! `Response`: what a fetch gives. A buffered one has everything; a streamed one is read on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use jiter::PythonParse;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Body, Head, ReadAhead, Whole, redacted, set_by};
use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::byte_stream::PyByteStream;
use super::headers::{self, PyHeaders};
use super::options::seconds;
use super::packed;
use super::request::PyRequest;
use crate::bytes::joined;
use crate::convert::{Imported, lock};
use crate::errors;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// How to send the request of a stream once more.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) engine: fetch::Client,
    pub(crate) request: fetch::Request,
    /// The most bytes that may be gathered of a stream: of all of it, or of one line.
    pub(crate) max_body: Option<u64>,
}

/// A response: buffered, with its whole body, or streamed.
#[pyclass(name = "Response", module = "offloop", frozen, weakref)]
pub(crate) struct PyResponse {
    response: Box<fetch::Response>,
    /// The body of a stream, which its readers share.
    stream: Option<Arc<ReadAhead>>,
    /// From the end of the fetch to the awaiter.
    bridge: Duration,
    /// Sends the request once more, for event streams that reconnect.
    again: Option<Box<Again>>,
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
    encoding: Option<String>,
    /// What each try got, of a response that another process had.
    attempts: Option<Py<PyList>>,
    /// What `aread` has read; the loop's thread makes `content` of it.
    read: Option<Arc<Mutex<Option<Whole>>>>,
}

impl PyResponse {
    pub(crate) fn new(mut response: Box<fetch::Response>) -> Self {
        let bridge = response.timings.ended.elapsed();
        let map = std::mem::take(&mut response.head.headers);
        let body = std::mem::replace(&mut response.body, Body::Whole(Whole::default()));
        let stream = match body {
            Body::Streaming(stream) => Some(Arc::new(stream)),
            body @ (Body::Whole(_) | Body::Placed(_) | Body::Kept(_) | Body::Absent) => {
                response.body = body;
                None
            }
        };
        let made = Mutex::new(Made { map, ..Made::default() });
        Self { response, stream, bridge, again: None, made }
    }

    /// A streamed response that can be asked for once more.
    pub(crate) fn repeatable(response: Box<fetch::Response>, again: Box<Again>) -> Self {
        Self { again: Some(again), ..Self::new(response) }
    }

    /// A response whose body has been copied already; Rust's copy is let go.
    pub(crate) fn with_content(mut response: Box<fetch::Response>, content: Py<PyBytes>) -> Self {
        response.body = Body::Whole(Whole::default());
        let made = Self::new(response);
        lock(&made.made).content = Some(content);
        made
    }

    /// A response that another process had, without its body.
    pub(super) fn with_attempts(response: Box<fetch::Response>, attempts: Py<PyList>) -> Self {
        let made = Self::new(response);
        lock(&made.made).attempts = Some(attempts);
        made
    }

    /// All of it but the body, for another process.
    pub(super) fn pack<'py>(&self, py: Python<'py>) -> PyResult<packed::Answer<'py>> {
        let own = &self.response;
        let head = self.map(py, |map| packed::head(py, &own.head, map))?;
        let history = own.history.iter().map(|it| packed::head(py, it, &it.headers)).collect();
        let kept = self.kept().map(|kept| (kept.path.clone(), kept.bytes));
        let times = packed::times(&own.timings);
        Ok((head, history, self.attempts(py)?, times, (own.received, own.reused), kept))
    }

    /// Whether the server has too much to do, and for how long it asks to be left alone.
    pub(super) fn refusal(&self, py: Python<'_>) -> (bool, Option<Duration>) {
        let busy = matches!(self.status_code(), 429 | 503);
        let now = std::time::SystemTime::now();
        let wait = self.map(py, |map| fetch::retry_after(map, now)).ok().flatten();
        (busy, wait.filter(|_| busy))
    }

    /// One of the responses on the way, of which only the head was kept.
    fn of_history(head: Head) -> Self {
        Self::of_head(head, Body::Whole(Whole::default()), 0)
    }

    /// The response of a download, whose body is in a file.
    pub(crate) fn of_kept(head: Head, kept: fetch::Kept, received: u64) -> Self {
        Self::of_head(head, Body::Kept(kept), received)
    }

    fn of_head(head: Head, body: Body, received: u64) -> Self {
        Self::new(Box::new(fetch::Response {
            head,
            body,
            history: Vec::new(),
            attempts: Vec::new(),
            timings: fetch::Timings::default(),
            received,
            reused: false,
        }))
    }

    /// The file in which the body is, if that is so.
    pub(super) fn kept(&self) -> Option<&fetch::Kept> {
        match &self.response.body {
            Body::Kept(kept) => Some(kept),
            _ => None,
        }
    }

    fn head(&self) -> &Head {
        &self.response.head
    }

    fn chunks<'py>(&self, py: Python<'py>, raw: bool) -> PyResult<Bound<'py, PyByteStream>> {
        let content = lock(&self.made).content.as_ref().map(|content| content.clone_ref(py));
        let stream = match (&self.stream, content) {
            (_, Some(content)) => PyByteStream::of_one(content),
            (Some(stream), None) => {
                stream.begin(raw).map_err(|error| errors::exception(py, error))?;
                PyByteStream::of_many(Arc::clone(stream))
            }
            (None, None) => PyByteStream::of_one(self.content(py)?.unbind()),
        };
        Bound::new(py, stream)
    }

    /// The most bytes that may be gathered of a stream.
    fn most(&self) -> Option<u64> {
        self.again.as_ref().and_then(|again| again.max_body)
    }

    fn map<R>(&self, py: Python<'_>, look: impl FnOnce(&http::HeaderMap) -> R) -> PyResult<R> {
        Ok(look(self.headers(py)?.get().map()))
    }

    fn generator<'py>(
        &self,
        py: Python<'py>,
        function: &'static Imported,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = self;
        function.load(py)?.call1(arguments)
    }
}

#[pymethods]
impl PyResponse {
    /// The status code, for instance 200.
    #[getter]
    fn status_code(&self) -> u16 {
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
    fn attempts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
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

    /// The charset of `text`: the one the server names if Python knows it, else that of a byte
    /// order mark, else UTF-8.
    #[getter]
    fn encoding(&self, py: Python<'_>) -> PyResult<String> {
        if let Some(encoding) = &lock(&self.made).encoding {
            return Ok(encoding.clone());
        }
        if let Some(named) = self.headers(py)?.get().charset()
            && is_text_encoding(py, &named)
        {
            return Ok(named);
        }
        let start = if self.stream.is_none() || lock(&self.made).content.is_some() {
            self.content(py)?.as_bytes().iter().take(4).copied().collect()
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

    #[setter]
    fn set_encoding(&self, encoding: String) {
        lock(&self.made).encoding = Some(encoding);
    }

    /// The body as text; what does not decode becomes U+FFFD.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let content = self.content(py)?;
        let encoding = self.encoding(py)?;
        let arguments = (encoding, intern!(py, "replace"));
        let text = content.call_method1(intern!(py, "decode"), arguments)?;
        Ok(text.cast_into()?)
    }

    /// The body as JSON; integers are exact. What `json.loads` would refuse is refused with the
    /// same exception.
    #[pyo3(signature = (**options))]
    fn json<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let content = self.content(py)?;
        if options.is_none()
            && let Ok(value) = PythonParse::default().python_parse(py, content.as_bytes())
        {
            return Ok(value);
        }
        let loads = py.import(intern!(py, "json"))?.getattr(intern!(py, "loads"))?;
        match loads.call((&content,), options) {
            Err(error) if error.is_instance_of::<PyUnicodeDecodeError>(py) => {
                loads.call((self.text(py)?,), options)
            }
            other => other,
        }
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
        let encoding = self.encoding(py)?;
        self.generator(py, &TEXT, (self.chunks(py, false)?, encoding))
    }

    /// The body line by line, without the ends of lines.
    fn aiter_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static LINES: Imported = Imported::new("offloop.streams", "lines");
        let encoding = self.encoding(py)?;
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
        super::client::streaming_job(py, engine, request, again.max_body).map(Some)
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

fn is_text_encoding(py: Python<'_>, name: &str) -> bool {
    let codec = py.import(intern!(py, "codecs")).and_then(|codecs| {
        codecs.call_method1(intern!(py, "lookup"), (name,))?.getattr("_is_text_encoding")
    });
    codec.is_ok_and(|is_text| is_text.is_truthy().unwrap_or(false))
}
