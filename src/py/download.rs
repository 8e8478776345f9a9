//! Downloads for Python: makes an order of what it is given, and a Job of the order.
//!
//! What becomes of it is decided in core. `Meter` is what Python reads while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use http::header::{IF_RANGE, RANGE};
use offloop_core::checksum::{Algorithm, Checksum};
use offloop_core::download::{Meter, Order, Saved, Step, Stop, Target, Wanted, download};
use offloop_core::error::Error;
use offloop_core::fetch::{self, Body, Kept};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert::Imported;
use crate::errors;
use crate::fetch::{PyBatch, PyResponse};
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// Counters of one download under way.
#[pyclass(name = "Meter", module = "offloop._offloop", frozen)]
pub(crate) struct PyMeter {
    meter: Arc<Meter>,
}

#[pymethods]
impl PyMeter {
    /// Bytes in the file, how many there will be, how many were there before, and the phase.
    fn read(&self) -> (u64, Option<u64>, u64, &'static str) {
        let reading = self.meter.read();
        let phase = match reading.step {
            Step::Connecting => "connecting",
            Step::Downloading => "downloading",
            Step::Finishing => "finishing",
        };
        (reading.bytes, reading.total, reading.resumed, phase)
    }

    /// The response that a file of `size` bytes at `path` began with, for hooks; None if
    /// nothing was missing of the file. Its body lasts until now.
    fn response(&self, path: PathBuf, size: u64) -> Option<PyResponse> {
        let reading = self.meter.read();
        let received = size.saturating_sub(reading.resumed);
        let mut answer = self.meter.answer()?;
        let (timings, now) = (&mut answer.timings, Instant::now());
        timings.body = now.saturating_duration_since(timings.ended);
        timings.elapsed += timings.body;
        timings.ended = now;
        answer.body = Body::Kept(Kept { path, bytes: size });
        Some(PyResponse::new(Box::new(fetch::Response { received, ..answer })))
    }
}

/// The Job of one download, and its counters.
pub(crate) fn job(
    py: Python<'_>,
    engine: fetch::Client,
    request: fetch::Request,
    given: &Bound<'_, PyDict>,
) -> PyResult<(PyJob, PyMeter)> {
    if request.headers.contains_key(RANGE) || request.headers.contains_key(IF_RANGE) {
        let text = "a download asks for ranges by itself: leave out Range and If-Range";
        return Err(PyValueError::new_err(text));
    }
    let label = Label::Request(request.method.clone(), Arc::clone(&request.url));
    let order = order(py, request, given)?;
    let (meter, stop) = (Arc::new(Meter::default()), Arc::new(Stop::default()));
    let (counters, asked) = (Arc::clone(&meter), Arc::clone(&stop));
    let operation = Box::pin(async move {
        let saved = download(engine, order, meter, asked).await?;
        Ok(saved.map_or(Outcome::Nothing, |saved| Outcome::Saved(Box::new(saved))))
    });
    let job = PyJob::new(py, label, Work::Stoppable(operation, stop))?;
    Ok((job, PyMeter { meter: counters }))
}

fn order(py: Python<'_>, request: fetch::Request, given: &Bound<'_, PyDict>) -> PyResult<Order> {
    let field = |name: &str| given.as_any().get_item(name);
    let path: Option<PathBuf> = field("path")?.extract()?;
    let target = match path {
        Some(path) => Target::Path { path, server_name: field("server_name")?.extract()? },
        None => Target::Temporary(field("temporary")?.extract()?),
    };
    let turn: Option<(Bound<'_, PyBatch>, u64)> = field("turn")?.extract()?;
    let turn = turn.map(|(batch, index)| batch.get().turn(py, index)).transpose()?;
    let checksum: Option<Bound<'_, PyString>> = field("checksum")?.extract()?;
    let checksum = checksum.map(|text| wanted(&text.to_string_lossy())).transpose();
    Ok(Order {
        request,
        target,
        resume: field("resume")?.extract()?,
        overwrite: field("overwrite")?.extract()?,
        checksum: checksum.map_err(|error| errors::exception(py, error))?,
        connections: field("connections")?.extract()?,
        min_part: field("min_part")?.extract()?,
        max_bytes: field("max_bytes")?.extract()?,
        durable: field("durable")?.extract()?,
        turn,
    })
}

/// "sha256:HEX" is to be that, "sha256" to be told.
fn wanted(text: &str) -> Result<Wanted, Error> {
    if text.contains(':') {
        Checksum::parse(text).map(Wanted::Exactly)
    } else {
        Algorithm::parse(text).map(Wanted::Told)
    }
}

/// What a download gave, as an `offloop.Saved`.
pub(crate) fn saved(py: Python<'_>, saved: Saved) -> PyResult<Py<PyAny>> {
    static SAVED: Imported = Imported::new("offloop.options", "Saved");
    let checksum = saved.checksum.map(|it| it.to_string());
    let seconds = saved.took.as_secs_f64();
    let fields = (saved.path, saved.bytes, checksum, saved.resumed_from, seconds);
    Ok(SAVED.load(py)?.call1(fields)?.unbind())
}
