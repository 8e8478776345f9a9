//! `Response`: what a fetch gives. A buffered one has everything; a streamed one is read on.
//!
//! `surface` is what Python sees of it, `content` its body as bytes, text and JSON. All of it runs in
//! the loop's thread, with the GIL.

mod content;
mod surface;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use offloop_core::fetch::{self, Body, Head, ReadAhead, Whole};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::byte_stream::PyByteStream;
use super::headers::PyHeaders;
use super::packed;
use crate::convert::{Imported, lock};
use crate::errors;

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
        Self::new(Box::new(fetch::Response {
            head,
            body: Body::Whole(Whole::default()),
            history: Vec::new(),
            attempts: Vec::new(),
            timings: fetch::Timings::default(),
            received: 0,
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
            (None, None) => PyByteStream::of_one(self.whole(py)?.unbind()),
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
