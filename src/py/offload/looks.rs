//! Looks after long calls: while calls of a loop run in threads, the loop has a Python function
//! called now and then, `offloop.pools._hogs.look`, which finds out who burns CPU under the GIL.
//! Here is what it needs of the workers, and the switch by which a call is short of all this: one
//! flag is all that a call on its way looks at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::state::pools;
use super::worker::Long;
use crate::convert::Imported;
use crate::event_loop::Bridge;

/// Seconds until the first look.
const PERIOD: f64 = 0.025;

/// So long a thread gets to come to rest. Arbitrary: a thread switch takes a tenth of it.
const SETTLES: Duration = Duration::from_micros(150);

/// What timers of a thread may be late by, in nanoseconds, if somebody else's call is long: see
/// `be_on_time`.
#[cfg(target_os = "linux")]
const PATIENCE: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(999_999);

/// One loop's looks. Written by the loop's thread alone.
#[derive(Default)]
pub(crate) struct Looks {
    /// A look is scheduled.
    due: AtomicBool,
    /// The loop's thread is patient: see `be_on_time`.
    patient: AtomicBool,
}

impl Looks {
    /// The loop closes: its thread becomes what it was.
    pub(crate) fn close(&self) {
        if self.patient.swap(false, Ordering::Relaxed) {
            be_on_time(true);
        }
    }
}

/// Has the loop look soon, unless it will anyway.
pub(super) fn begin(py: Python<'_>, bridge: &Arc<Bridge>) -> PyResult<()> {
    schedule(py, bridge, PERIOD)
}

fn schedule(py: Python<'_>, bridge: &Arc<Bridge>, seconds: f64) -> PyResult<()> {
    static LOOK: Imported = Imported::new("offloop.pools._hogs", "look");
    let due = &bridge.looks.due;
    if due.load(Ordering::Relaxed) || due.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let Some(event_loop) = bridge.event_loop(py) else {
        return Ok(());
    };
    let looks = Bound::new(py, PyLooks { bridge: Arc::downgrade(bridge) })?;
    let arguments = (seconds, LOOK.load(py)?, looks);
    event_loop.call_method1(intern!(py, "call_later"), arguments).map(drop)
}

/// The looks of one loop, in the hands of `look`.
#[pyclass(name = "Looks", module = "offloop._offloop", frozen)]
pub(crate) struct PyLooks {
    bridge: Weak<Bridge>,
}

#[pymethods]
impl PyLooks {
    /// Has the loop look again in so many seconds.
    fn again(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<()> {
        let bridge = slf.get().bridge.upgrade();
        if let Some(bridge) = bridge {
            bridge.looks.due.store(false, Ordering::Relaxed);
            schedule(slf.py(), &bridge, seconds)?;
        }
        Ok(())
    }

    /// No more looks, until another call comes.
    fn over(&self) {
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.looks.due.store(false, Ordering::Relaxed);
        }
    }

    /// From now on this thread waits for the GIL without asking again and again, or as usual.
    fn be_patient(&self, patient: bool) {
        if let Some(bridge) = self.bridge.upgrade()
            && bridge.looks.patient.swap(patient, Ordering::Relaxed) != patient
        {
            be_on_time(!patient);
        }
    }
}

/// Has timers of this thread end on time, or up to a millisecond late (Linux).
///
/// Who waits for the GIL waits with a time limit, the switch interval, and queues up anew at the
/// end of the line when it is over. With a short interval and many threads the loop would never
/// come to the head of it; one that is late keeps its place.
#[pyfunction]
pub(crate) fn be_on_time(on_time: bool) {
    #[cfg(target_os = "linux")]
    {
        let slack = if on_time { None } else { Some(PATIENCE) };
        let _ = rustix::thread::set_current_timer_slack(slack); // old kernels: as it was
    }
    #[cfg(not(target_os = "linux"))]
    let _ = on_time;
}

/// A call that has been running for long: native thread id, mark, function, seconds, whether its
/// thread could run now, and how often that has slept. Thread and mark together tell calls apart.
type Seen = (u64, u128, Py<PyAny>, f64, bool, u64);

/// The calls that worker threads have been running for `seconds` at least.
///
/// The caller holds the GIL and keeps it: a thread that could run all the same does not want it.
#[pyfunction]
pub(crate) fn long_calls(py: Python<'_>, seconds: f64) -> PyResult<Vec<Seen>> {
    let least = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let pools = pools();
    let desks = pools.iter().filter(|pool| pool.place().is_none()).flat_map(|pool| pool.desks());
    let long = desks.filter_map(|desk| desk.long_call(py, least));
    let long = long.map(|(thread, mark, function, ran): Long| {
        let (runs, sleeps) = status(thread);
        (thread, mark, function, ran, runs, sleeps)
    });
    Ok(long.collect())
}

/// Whether the system would run the thread, or does, and how often it has gone to sleep; false and
/// 0 where that cannot be told.
///
/// Who has just lost the GIL runs on for some microseconds, until it waits.
fn status(thread: u64) -> (bool, u64) {
    let path = format!("/proc/self/task/{thread}/status");
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let runs = field("State:").is_some_and(|state| state.trim_start().starts_with('R'));
        if !runs || began.elapsed() > SETTLES {
            let sleeps = field("voluntary_ctxt_switches:").and_then(|it| it.trim().parse().ok());
            return (runs, sleeps.unwrap_or(0));
        }
    }
}
