//! The watchdog as Python's side of it (`offloop._watch`) sees it: a watcher whose events it waits
//! for without the GIL, and what it needs to have stacks written. The decisions are core's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offloop_core::watch::{
    self, Asked, Beat, Book, Cause, Dumps, End, Frame, Look, Prod, Report, Settings, Stack, Stall,
    Target, Watcher,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::lock;
use crate::event_loop;
use crate::record::{Record, Title};

/// Those who ask one loop whether it comes round.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    /// Whether there are any; what a loop that is not watched pays is this load. Relaxed: a beat
    /// that is missed is asked for again.
    any: AtomicBool,
    beats: Mutex<Vec<Arc<Beat>>>,
}

impl Beats {
    /// The loop has come round.
    pub(crate) fn answer(&self) {
        if self.any.load(Ordering::Relaxed) {
            for beat in lock(&self.beats).iter() {
                beat.answer();
            }
        }
    }

    fn add(&self, beat: &Arc<Beat>) {
        lock(&self.beats).push(Arc::clone(beat));
        self.any.store(true, Ordering::Relaxed);
    }

    fn remove(&self, beat: &Arc<Beat>) {
        let mut beats = lock(&self.beats);
        beats.retain(|known| !Arc::ptr_eq(known, beat));
        self.any.store(!beats.is_empty(), Ordering::Relaxed);
    }
}

/// A frame as Python sees it: file, line, function.
type FrameTuple = (String, u32, String);

/// Where faulthandler writes stacks to; one for the process, never let go of.
#[pyclass(name = "Dumps", module = "offloop._offloop", frozen)]
pub(crate) struct PyDumps(Arc<Dumps>);

#[pymethods]
impl PyDumps {
    #[new]
    fn new(signal: i32) -> PyResult<Self> {
        Ok(Self(Arc::new(Dumps::new(signal)?)))
    }

    /// The descriptor to write to; None where stacks cannot be had this way.
    #[getter]
    fn descriptor(&self) -> Option<i32> {
        self.0.descriptor()
    }
}

/// A pipe that makes the kernel signal one thread, once Python has told it whom.
#[pyclass(name = "Prod", module = "offloop._offloop", frozen)]
pub(crate) struct PyProd(Mutex<Option<Prod>>);

#[pymethods]
impl PyProd {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(Mutex::new(Some(Prod::new()?))))
    }

    /// The descriptor to set the owner of.
    #[getter]
    fn descriptor(&self) -> Option<i32> {
        lock(&self.0).as_ref().and_then(Prod::descriptor)
    }
}

/// A stall as core has found it. Times are nanoseconds of `watch_clock`.
#[pyclass(name = "StallRecord", module = "offloop._offloop", frozen)]
pub(crate) struct PyStall(Stall);

#[pymethods]
impl PyStall {
    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }

    /// The key of the loop.
    #[getter]
    fn key(&self) -> u64 {
        self.0.key
    }

    #[getter]
    fn began(&self) -> u64 {
        self.0.began
    }

    /// When its line was first known.
    #[getter]
    fn named(&self) -> Option<u64> {
        self.0.named
    }

    #[getter]
    fn detected(&self) -> u64 {
        self.0.detected
    }

    #[getter]
    fn ended(&self) -> Option<u64> {
        self.0.ended
    }

    #[getter]
    fn lasted(&self) -> u64 {
        self.0.lasted
    }

    /// `"system_call"`, `"python"`, `"native"` …
    #[getter]
    fn cause(&self) -> &'static str {
        self.0.cause.name()
    }

    /// The system call, where that is the cause.
    #[getter]
    fn system_call(&self) -> Option<&'static str> {
        match self.0.cause {
            Cause::SystemCall(name) => name,
            _ => None,
        }
    }

    /// Whether native code keeps the GIL, where native code is the cause.
    #[getter]
    fn holds_gil(&self) -> bool {
        matches!(self.0.cause, Cause::Native(true))
    }

    /// The system's number of the thread that keeps the GIL, where that is the cause.
    #[getter]
    fn culprit(&self) -> Option<u32> {
        match self.0.cause {
            Cause::Gil(thread) => thread,
            _ => None,
        }
    }

    /// Stacks that were seen, newest frame first, the most frequent stack first.
    #[getter]
    fn stacks(&self) -> Vec<Vec<FrameTuple>> {
        self.0.stacks.iter().map(|stack| stack.iter().map(as_tuple).collect()).collect()
    }

    /// Which frame of the first stack is to blame.
    #[getter]
    fn blamed(&self) -> Option<usize> {
        self.0.blamed
    }

    /// About how many bytes it takes.
    #[getter]
    fn weight(&self) -> usize {
        let frames = self.0.stacks.iter().flat_map(|stack| stack.iter());
        let each = frames
            .map(|frame| size_of::<Frame>() + frame.file.capacity() + frame.function.capacity());
        size_of::<Stall>() + each.sum::<usize>()
    }

    /// A debugger had stopped the process.
    #[getter]
    fn traced(&self) -> bool {
        self.0.traced
    }
}

fn as_tuple(frame: &Frame) -> FrameTuple {
    (frame.file.clone(), frame.line, frame.function.clone())
}

fn as_stack(frames: Vec<FrameTuple>) -> Stack {
    let frames = frames.into_iter().map(|(file, line, function)| Frame { file, line, function });
    frames.collect()
}

/// What the watcher has for Python: `("look", key, number)`, or `("detected" | "ended",
/// record)`.
#[derive(IntoPyObject)]
enum Event {
    Look((&'static str, u64, u64)),
    Stall((&'static str, Py<PyStall>)),
}

/// A loop under watch, and where its beat is registered.
struct Watched {
    key: u64,
    beat: Arc<Beat>,
    bridge: Arc<event_loop::Bridge>,
}

/// A running watch: core's thread, and the loops it watches.
#[pyclass(name = "Watcher", module = "offloop._offloop", frozen)]
pub(crate) struct PyWatcher {
    watcher: Watcher,
    record: Record,
    watched: Mutex<Vec<Watched>>,
}

#[pymethods]
impl PyWatcher {
    /// Starts the thread. `libraries` are folders whose files are not the user's own; `aloud`
    /// has it write to stderr at once.
    #[new]
    #[pyo3(signature = (threshold, libraries, dumps, *, aloud))]
    fn new(
        threshold: f64,
        libraries: Vec<String>,
        dumps: Option<&Bound<'_, PyDumps>>,
        aloud: bool,
    ) -> PyResult<Self> {
        let threshold = Duration::try_from_secs_f64(threshold).ok().filter(|it| !it.is_zero());
        let Some(threshold) = threshold else {
            return Err(PyValueError::new_err("threshold must be a positive number of seconds"));
        };
        let settings = Settings {
            threshold: u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX),
            dumps: dumps.map(|dumps| Arc::clone(&dumps.get().0)),
            libraries,
            aloud,
        };
        let watcher = Watcher::start(settings)?;
        Ok(Self { watcher, record: Record::open(), watched: Mutex::default() })
    }

    /// Watches the loop that runs in this thread, under the name `key`. `thread` is the system's
    /// number of this thread, `poller` the descriptor of the loop's epoll; `sampled` says whether
    /// the system may be asked what the thread does.
    #[pyo3(signature = (key, thread, poller, prod, *, sampled))]
    fn add(
        &self,
        py: Python<'_>,
        key: u64,
        thread: u32,
        poller: Option<i32>,
        prod: Option<&Bound<'_, PyProd>>,
        sampled: bool,
    ) -> PyResult<()> {
        let Some(bridge) = event_loop::current(py)? else {
            return Err(PyRuntimeError::new_err("no running event loop"));
        };
        let beat = Arc::new(Beat::default());
        bridge.beats.add(&beat);
        let door = Arc::clone(&bridge.door);
        let target =
            Target::new(key, thread, Arc::clone(&beat), Box::new(move || door.queue.ring()))
                .polling(poller)
                .prodded_by(prod.and_then(|prod| lock(&prod.get().0).take()))
                .sampled(sampled);
        lock(&self.watched).push(Watched { key, beat, bridge });
        py.detach(|| self.watcher.add(target));
        Ok(())
    }

    /// Watches this loop no longer; called in its own thread, which shows that it came round.
    fn remove(&self, py: Python<'_>, key: u64) {
        let mut watched = lock(&self.watched);
        let index = watched.iter().position(|it| it.key == key);
        let removed = index.map(|index| watched.swap_remove(index));
        drop(watched);
        if let Some(Watched { beat, bridge, .. }) = removed {
            bridge.beats.remove(&beat);
            beat.answer();
            py.detach(|| self.watcher.remove(key));
        }
    }

    /// Waits, without the GIL, for something to do, for at most `limit` seconds.
    fn next(&self, py: Python<'_>, limit: f64) -> PyResult<Option<Event>> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or(Duration::from_secs(1));
        let asked = py.detach(|| self.watcher.next(limit));
        self.watcher.has_lock();
        Ok(match asked {
            None => None,
            Some(Asked::Look { key, number }) => Some(Event::Look(("look", key, number))),
            Some(Asked::Detected(stall)) => {
                Some(Event::Stall(("detected", Py::new(py, PyStall(*stall))?)))
            }
            Some(Asked::Ended(stall)) => {
                Some(Event::Stall(("ended", Py::new(py, PyStall(*stall))?)))
            }
        })
    }

    /// What was seen at a look: which callback runs, how many are due, and where it stands.
    /// False, and not counted, when the loop has come round since.
    fn add_look(
        &self,
        key: u64,
        number: u64,
        identity: u64,
        ready: Option<u64>,
        stack: Vec<FrameTuple>,
    ) -> bool {
        let open = lock(&self.watched).iter().any(|it| it.key == key && it.beat.is_open());
        if open {
            let look = Look { at: watch::now(), identity, ready, stack: Some(as_stack(stack)) };
            self.watcher.add_look(number, look);
        }
        open
    }

    /// This stall is being told of: there is no need to say it without Python.
    fn heard(&self, py: Python<'_>, number: u64) {
        py.detach(|| self.watcher.heard(number));
    }

    /// Whether this stall goes on.
    fn is_open(&self, py: Python<'_>, number: u64) -> bool {
        py.detach(|| self.watcher.is_open(number))
    }

    /// Waits, for at most `limit` seconds, until what was seen of removed loops is told; gives
    /// how many stalls were found so far.
    fn settle(&self, py: Python<'_>, limit: f64) -> u64 {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or(Duration::from_secs(1));
        py.detach(|| self.watcher.settle(limit))
    }

    /// Whether the watch has ended and every event was fetched.
    #[getter]
    fn is_over(&self) -> bool {
        self.watcher.is_over()
    }

    /// Ends the watch; its last events can still be fetched.
    fn stop(&self, py: Python<'_>) {
        let watched = std::mem::take(&mut *lock(&self.watched));
        for Watched { beat, bridge, .. } in &watched {
            bridge.beats.remove(beat);
        }
        self.record.close();
        py.detach(|| self.watcher.stop());
    }

    /// What was kept, as plain values.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (report, book) = py.detach(|| (self.watcher.report(), self.record.read()));
        let dict = as_dict(py, report)?;
        if let Some(book) = book {
            add_jobs(&dict, &book)?;
        }
        Ok(dict)
    }
}

fn as_dict(py: Python<'_>, report: Report) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    let totals = report.totals;
    dict.set_item("watched", totals.watched)?;
    dict.set_item("busy", totals.busy)?;
    dict.set_item("questions", totals.questions)?;
    dict.set_item("stalls_found", totals.stalls)?;
    dict.set_item("paused", totals.paused)?;
    dict.set_item("lag", report.lag.buckets.to_vec())?;
    dict.set_item("longest_lag", report.lag.longest)?;
    let pauses: Vec<_> = report.pauses.iter().map(|pause| (pause.ended, pause.lasted)).collect();
    dict.set_item("pauses", pauses)?;
    let loops: Vec<_> = report
        .loops
        .into_iter()
        .map(|(key, it)| (key, it.busy.began, it.watched, it.busy.width, it.busy.busy))
        .collect();
    dict.set_item("loops", loops)?;
    Ok(dict)
}

/// Lanes as `(name, count, failed, cancelled, beginning, width, under way)`, Jobs as `(lane, title,
/// started, taken up, done, landed, end, worker)`.
fn add_jobs(dict: &Bound<'_, PyDict>, book: &Book<Title>) -> PyResult<()> {
    let lanes: Vec<_> = book
        .lanes
        .iter()
        .map(|lane| {
            let (began, width) = (lane.under_way.began, lane.under_way.width);
            let busy = lane.under_way.busy.clone();
            (&*lane.name, lane.count, lane.failed, lane.cancelled, began, width, busy)
        })
        .collect();
    dict.set_item("lanes", lanes)?;
    let jobs: Vec<_> = book
        .spans
        .iter()
        .map(|span| {
            let end = match span.end {
                End::Done => "done",
                End::Failed => "failed",
                End::Cancelled => "cancelled",
            };
            let times = (span.started, span.began, span.done, span.landed);
            (span.lane, span.label.text(), times.0, times.1, times.2, times.3, end, span.worker)
        })
        .collect();
    dict.set_item("jobs", jobs)
}

/// For `gc.callbacks`: takes the time of collections.
#[pyfunction]
pub(crate) fn note_garbage(phase: &str, info: &Bound<'_, PyAny>) {
    let _ = info; // which generation, and what was found
    if phase == "start" {
        watch::garbage_collection_began();
    } else {
        watch::garbage_collection_ended();
    }
}

/// Nanoseconds on the clock of all records.
#[pyfunction]
pub(crate) fn watch_clock() -> u64 {
    watch::now()
}
