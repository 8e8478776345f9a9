//! `ByteStream`: the pieces of a streamed body, as an async iterator.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use offloop_core::fetch::ReadAhead;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::lock;
use crate::errors;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// The most that one step of the iteration gives, in bytes.
const PIECE: usize = 256 * 1024;

/// How long pieces that are there already may follow one another before others have the loop, who
/// would starve where a body comes faster than it is used; as long as a turn of the bridge's.
const TURN: Duration = Duration::from_millis(1);

/// The pieces of a body as they come. Each step is a Job; what is there already takes no trip.
#[pyclass(name = "ByteStream", module = "offloop._offloop", frozen)]
pub(crate) struct PyByteStream {
    source: Source,
    /// Since when pieces have been there without a trip.
    ready_since: Mutex<Option<Instant>>,
}

enum Source {
    One(Mutex<Option<Py<PyBytes>>>),
    Many(Arc<ReadAhead>),
}

impl PyByteStream {
    /// A body that has been read already.
    pub(super) fn of_one(content: Py<PyBytes>) -> Self {
        Self { source: Source::One(Mutex::new(Some(content))), ready_since: Mutex::default() }
    }

    /// A body on its way.
    pub(super) fn of_many(stream: Arc<ReadAhead>) -> Self {
        Self { source: Source::Many(stream), ready_since: Mutex::default() }
    }

    /// Whether the loop has gone without a turn for long enough.
    fn gives_way(&self) -> bool {
        let mut since = lock(&self.ready_since);
        if since.get_or_insert_with(Instant::now).elapsed() < TURN {
            return false;
        }
        *since = None;
        true
    }
}

#[pymethods]
impl PyByteStream {
    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<PyJob> {
        let label = Label::Text("ByteStream.__anext__");
        let stream = match &self.source {
            Source::One(content) => {
                let content = lock(content).take();
                return match content.filter(|content| !content.as_bytes(py).is_empty()) {
                    Some(content) => PyJob::over(py, label, content.into_any()),
                    None => Err(PyStopAsyncIteration::new_err(())),
                };
            }
            Source::Many(stream) => stream,
        };
        let ready = if self.gives_way() { None } else { stream.try_next(PIECE) };
        match ready {
            Some(Ok(Some(piece))) => {
                PyJob::over(py, label, PyBytes::new(py, &piece).into_any().unbind())
            }
            Some(Ok(None)) => Err(PyStopAsyncIteration::new_err(())),
            Some(Err(error)) => Err(errors::exception(py, error)),
            None => {
                *lock(&self.ready_since) = None;
                let stream = Arc::clone(stream);
                let operation = Box::pin(async move {
                    Ok(Outcome::Piece(stream.next(PIECE).await.map_err(Box::new)?))
                });
                PyJob::new(py, label, Work::Operation(operation))
            }
        }
    }

    /// Closes the connection of a body that has not been read to its end.
    fn aclose(&self, py: Python<'_>) -> PyResult<PyJob> {
        if let Source::Many(stream) = &self.source {
            stream.close();
        }
        PyJob::over(py, Label::Text("ByteStream.aclose"), py.None())
    }
}
