//! `Batch`: many requests at once, fed and read by `offloop.batch`.
//!
//! Runs on the loop's thread with the GIL. Nothing here waits: `room`, `ready` and `beginning` are
//! Jobs, of which there is one for many requests. With `by_owner`, Python makes a Job of each
//! request when its turn has come, because functions of the user's are to be called before and
//! after, or because it is a download.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use offloop_core::download::Folder;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Asked, BatchOptions, Ended, Item, Request, Sites, Turn};
use offloop_core::runtime;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::client::PyClient;
use super::fetched::PyFetched;
use super::headers::replace;
use super::options;
use super::request::PyRequest;
use super::response::PyResponse;
use crate::convert::lock;
use crate::errors;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

/// Requests on their way; made and driven by `offloop.batch.FetchAll`.
#[pyclass(name = "Batch", module = "offloop._offloop", frozen, weakref)]
pub(crate) struct PyBatch {
    batch: fetch::Batch,
    client: Py<PyClient>,
    options: Option<Py<PyDict>>,
    /// What all requests have in common that differ in nothing but their URL.
    template: Option<Request>,
    /// Where the URLs led that have come so far.
    sites: Mutex<Sites>,
    /// How many items have come so far.
    index: AtomicU64,
    /// What is no request, as it was given, and why; by index, until it is taken.
    refused: Mutex<HashMap<u64, (Py<PyAny>, PyErr)>>,
    /// What Python sends itself; by index, until it is taken.
    sent: Mutex<HashMap<u64, Sent>>,
    by_owner: bool,
    /// For no longer than this a host that refuses is left alone; None if that is not heeded.
    max_wait: Option<Duration>,
}

/// The index of a request, and what was given for it.
type Begun = (u64, Py<PyAny>);

/// A request that Python sends itself.
struct Sent {
    /// As it was given.
    given: Py<PyAny>,
    /// From the moment when its turn has come, until it is over.
    turn: Option<Arc<Turn>>,
    result: Option<Py<PyAny>>,
    error: Option<Py<PyAny>>,
}

#[pymethods]
impl PyBatch {
    #[new]
    #[pyo3(signature = (client, options, *, limit, per_host, adaptive, rate, ordered, dedupe, save_to, rate_first=false, ahead=None, by_owner=false))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "called by one function, with names"
    )]
    fn new(
        client: &Bound<'_, PyClient>,
        options: &Bound<'_, PyDict>,
        limit: Option<usize>,
        per_host: Option<usize>,
        adaptive: bool,
        rate: Option<f64>,
        ordered: bool,
        dedupe: bool,
        save_to: Option<PathBuf>,
        rate_first: bool,
        ahead: Option<usize>,
        by_owner: bool,
    ) -> PyResult<Self> {
        let (py, own) = (client.py(), client.get());
        let options = (!options.is_empty()).then_some(options);
        let some_url = PyString::new(py, "http://template.invalid/");
        let (engine, request, feeder, bounded) =
            own.prepare(Method::GET, some_url.as_any(), options)?;
        if feeder.is_some() {
            let text = "many requests cannot share a body that can be read only once";
            return Err(PyTypeError::new_err(text));
        }
        let has_params = options.map_or(Ok(false), |options| options.contains("params"))?;
        let plain = own.is_plain() && !has_params;
        let given = own.limits();
        let standard = fetch::Limits::default();
        let of = |number: Option<usize>, otherwise: usize, most: [Option<usize>; 2]| {
            let most = most.into_iter().flatten().min();
            number.or(most).unwrap_or(otherwise).min(most.unwrap_or(usize::MAX))
        };
        let all = given.map_or([None; 2], |it| [Some(it.connections), it.requests]);
        let each = given.map_or([None; 2], |it| [Some(it.per_host), it.per_host_requests]);
        let most = request.max_body.filter(|_| bounded);
        let keeper =
            save_to.map(|path| Arc::new(Folder::new(&path, most)) as Arc<dyn fetch::Keeper>);
        let rates = [rate, given.and_then(|it| it.rate)];
        let options_of_batch = BatchOptions {
            limit: of(limit, standard.connections, all),
            per_host: of(per_host, if adaptive { usize::MAX } else { standard.per_host }, each),
            adaptive,
            rate: rates.into_iter().flatten().min_by(f64::total_cmp),
            rate_first,
            ahead,
            by_owner,
            ordered,
            dedupe,
            exempt: given.is_none(),
        };
        let heeded = request.retry.respect_retry_after && (adaptive || request.retry.attempts > 0);
        let max_wait = heeded.then_some(request.retry.max_wait);
        let batch = fetch::Batch::new(engine, &options_of_batch, keeper);
        Ok(Self {
            batch: batch.map_err(|error| errors::exception(py, error))?,
            client: client.clone().unbind(),
            options: options.map(|options| options.clone().unbind()),
            template: plain.then_some(request),
            sites: Mutex::default(),
            index: AtomicU64::new(0),
            refused: Mutex::default(),
            sent: Mutex::default(),
            by_owner,
            max_wait,
        })
    }

    /// How many more requests are wanted now; None when none will be any more.
    fn wanted(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        alive(py)?;
        Ok(self.batch.wanted())
    }

    /// The Job that ends when more are wanted, or nobody wants any more.
    fn room(&self, py: Python<'_>) -> PyResult<PyJob> {
        let room = self.batch.room();
        job(py, "fetch_all: waiting for room", room)
    }

    /// Takes URLs and Requests in.
    fn feed(&self, py: Python<'_>, given: &Bound<'_, PyList>) -> PyResult<()> {
        alive(py)?;
        let mut items = Vec::with_capacity(given.len());
        // Taken out: no lock is held while Python runs.
        let mut sites = std::mem::take(&mut *lock(&self.sites));
        for each in given {
            let index = self.index.fetch_add(1, Ordering::Relaxed);
            let request = match self.request(py, &each, &mut sites) {
                Ok(request) => {
                    if self.by_owner {
                        let given = each.unbind();
                        let sent = Sent { given, turn: None, result: None, error: None };
                        lock(&self.sent).insert(index, sent);
                    }
                    Ok(request)
                }
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    lock(&self.refused).insert(index, (each.unbind(), error));
                    Err(Box::new(Error::new(Kind::InvalidUrl, "this is no request")))
                }
                Err(error) => return Err(error),
            };
            items.push(Item { index, request });
        }
        *lock(&self.sites) = sites;
        self.batch.feed(items);
        Ok(())
    }

    /// No more will come.
    fn end(&self) {
        if runtime::check_alive().is_ok() {
            self.batch.end();
        }
    }

    /// Up to `most` of the requests whose turn has come, each with its index, as they were given;
    /// an empty list while there are none, None when there will be none any more.
    fn begun(&self, py: Python<'_>, most: usize) -> PyResult<Option<Vec<Begun>>> {
        alive(py)?;
        let Some(turns) = self.batch.begun(most) else { return Ok(None) };
        let mut sent = lock(&self.sent);
        let mut begun = Vec::with_capacity(turns.len());
        for turn in turns {
            let index = turn.index();
            if let Some(it) = sent.get_mut(&index) {
                it.turn = Some(turn);
                begun.push((index, it.given.clone_ref(py)));
            }
        }
        Ok(Some(begun))
    }

    /// The Job that ends when some request's turn has come, or none's will any more.
    fn beginning(&self, py: Python<'_>) -> PyResult<PyJob> {
        let beginning = self.batch.beginning();
        job(py, "fetch_all: waiting for a turn", beginning)
    }

    /// The Job of a request whose turn has come.
    #[pyo3(signature = (index, method, url, **options))]
    fn send(
        &self,
        index: u64,
        method: &Bound<'_, PyString>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyJob> {
        let py = url.py();
        let turn = self.turn(py, index)?;
        let client = self.client.get();
        let method = options::method_of(method)?;
        let (engine, request, feeder, _) = client.prepare(method, url, options)?;
        let label = Label::Request(request.method.clone(), Arc::clone(&request.url));
        let operation = Box::pin(async move {
            let response = turn.fetch(engine, request).await?;
            Ok(Outcome::Response(response))
        });
        let mut job = PyJob::new(py, label, Work::Operation(operation))?;
        job.feed_by(feeder);
        Ok(job)
    }

    /// What became of a request that Python has sent; so many bytes were `received`.
    fn finish(
        &self,
        py: Python<'_>,
        index: u64,
        result: Option<Py<PyAny>>,
        error: Option<Py<PyAny>>,
        received: u64,
    ) -> PyResult<()> {
        let failed = error.is_some();
        let (busy, wait) = error.as_ref().map_or((false, None), |it| refusal(it.bind(py)));
        let turn = {
            let mut sent = lock(&self.sent);
            let Some(it) = sent.get_mut(&index) else { return Ok(()) };
            (it.result, it.error) = (result, error);
            it.turn.take()
        };
        if let Some(turn) = turn {
            let wait = wait.filter(|wait| self.max_wait.is_some_and(|most| *wait <= most));
            turn.finish(Ended { failed, bytes: received, busy, wait });
        }
        alive(py)
    }

    /// Up to `most` results; an empty list while there are none, None after the last.
    fn take(&self, py: Python<'_>, most: usize) -> PyResult<Option<Vec<PyFetched>>> {
        alive(py)?;
        let Some(taken) = self.batch.take(most) else { return Ok(None) };
        taken.into_iter().map(|it| self.fetched(py, it)).collect::<PyResult<_>>().map(Some)
    }

    /// The Job that ends when there are results, or will be none.
    fn ready(&self, py: Python<'_>) -> PyResult<PyJob> {
        let ready = self.batch.ready();
        job(py, "fetch_all: waiting for results", ready)
    }

    /// Stops everything.
    fn close(&self) {
        self.batch.close();
    }

    /// What has been done so far: counts and bytes, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        alive(py)?;
        let (progress, shown) = (self.batch.progress(), PyDict::new(py));
        shown.set_item("pulled", progress.pulled)?;
        shown.set_item("finished", progress.finished)?;
        shown.set_item("failed", progress.failed)?;
        shown.set_item("bytes", progress.bytes)?;
        shown.set_item("in_flight", progress.in_flight)?;
        shown.set_item("duplicates", progress.duplicates)?;
        Ok(shown)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client)?;
        self.options.as_ref().map_or(Ok(()), |options| visit.call(options))
    }
}

impl PyBatch {
    /// The turn of a request that Python sends.
    pub(crate) fn turn(&self, py: Python<'_>, index: u64) -> PyResult<Arc<Turn>> {
        let turn = lock(&self.sent).get(&index).and_then(|it| it.turn.clone());
        turn.ok_or_else(|| {
            let text = "it is not this request's turn";
            errors::exception(py, Error::new(Kind::Internal, text))
        })
    }

    /// What is to be sent for a URL or a Request.
    fn request(
        &self,
        py: Python<'_>,
        given: &Bound<'_, PyAny>,
        sites: &mut Sites,
    ) -> PyResult<Request> {
        let client = self.client.get();
        let options = self.options.as_ref().map(|options| options.bind(py));
        if let Ok(own) = given.cast::<PyRequest>() {
            let Asked { method, url, headers } = own.get().asked().clone();
            let text = PyString::new(py, url.as_str());
            let (_, mut request, _, _) = client.prepare(method, text.as_any(), options)?;
            replace(Arc::make_mut(&mut request.headers), (*headers).clone());
            return Ok(request);
        }
        if let Some(template) = &self.template {
            let url = client.url_by(given, |text| sites.parse(text))?;
            if url.username().is_empty() && url.password().is_none() {
                return Ok(Request { url: Arc::new(url), ..template.clone() });
            }
        }
        let (_, request, _, _) = client.prepare(Method::GET, given, options)?;
        Ok(request)
    }

    fn fetched(&self, py: Python<'_>, fetched: fetch::Fetched) -> PyResult<PyFetched> {
        let fetch::Fetched { index, asked, outcome } = fetched;
        let raised = |error: PyErr| Some(error.into_value(py).into_any());
        let refused = lock(&self.refused).remove(&index);
        let sent = if self.by_owner { lock(&self.sent).remove(&index) } else { None };
        let (given, result, error) = match (outcome, refused, sent) {
            (fetch::Outcome::Response(response), ..) => {
                (None, Some(Py::new(py, PyResponse::new(response))?.into_any()), None)
            }
            (_, Some((given, error)), _) => (Some(given), None, raised(error)),
            (_, _, Some(Sent { given, result, error, .. }))
                if result.is_some() || error.is_some() =>
            {
                (Some(given), result, error)
            }
            (fetch::Outcome::Error(error), _, sent) => {
                let error = errors::exception(py, *error);
                (sent.map(|sent| sent.given), None, raised(error))
            }
            (fetch::Outcome::Elsewhere { .. }, ..) => {
                let text = "a bug in offloop, please report it: a request was lost";
                let error = errors::exception(py, Error::new(Kind::Internal, text));
                (None, None, raised(error))
            }
        };
        Ok(PyFetched::new(index, asked, given, result, error))
    }
}

fn job(
    py: Python<'_>,
    label: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> PyResult<PyJob> {
    alive(py)?;
    let operation = Box::pin(async move {
        work.await;
        Ok(Outcome::Nothing)
    });
    PyJob::new(py, Label::Text(label), Work::Operation(operation))
}

fn alive(py: Python<'_>) -> PyResult<()> {
    runtime::check_alive().map_err(|error| errors::exception(py, error))
}

/// Whether an error is a server's that has too much to do, and for how long it asks to be left alone.
fn refusal(error: &Bound<'_, PyAny>) -> (bool, Option<Duration>) {
    let response = error.getattr(intern!(error.py(), "response"));
    let response = response.ok().and_then(|it| it.cast_into::<PyResponse>().ok());
    response.map_or((false, None), |it| it.get().refusal(error.py()))
}
