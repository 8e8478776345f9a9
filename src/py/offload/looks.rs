//! Looks after long calls: while calls of a loop run in threads, the loop has a Python function
//! called now and then, `offloop.pools._hogs.look`, which finds out who burns CPU under the GIL.
//! Here is what it needs of the workers, and the switch by which a call is short of all this: one
//! flag is all that a call on its way looks at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Seconds to the next look that are not made fewer for a new call.
const SOON: f64 = 0.1;

/// So long a thread gets to come to rest. Arbitrary: a thread switch takes a tenth of it.
const SETTLES: Duration = Duration::from_micros(150);

/// One loop's looks. Written by the loop's thread alone.
#[derive(Default)]
pub(crate) struct Looks {
    /// A look is scheduled, and will come soon.
    due: AtomicBool,
    /// How many have been scheduled: the latest one is the one that counts.
    scheduled: AtomicU64,
}

/// Has the loop look soon, unless it will anyway.
pub(super) fn begin(py: Python<'_>, bridge: &Arc<Bridge>) -> PyResult<()> {
    let due = &bridge.looks.due;
    if due.load(Ordering::Relaxed) || due.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    schedule(py, bridge, PERIOD)
}

/// Has the loop look in so many seconds, and not when it would have.
fn schedule(py: Python<'_>, bridge: &Arc<Bridge>, seconds: f64) -> PyResult<()> {
    static LOOK: Imported = Imported::new("offloop.pools._hogs", "look");
    let Some(event_loop) = bridge.event_loop(py) else {
        return Ok(());
    };
    let number = bridge.looks.scheduled.fetch_add(1, Ordering::Relaxed) + 1;
    let looks = Bound::new(py, PyLooks { bridge: Arc::downgrade(bridge), number })?;
    let arguments = (seconds, LOOK.load(py)?, looks);
    event_loop.call_method1(intern!(py, "call_later"), arguments).map(drop)
}

/// The looks of one loop, in the hands of `look`.
#[pyclass(name = "Looks", module = "offloop._offloop", frozen)]
pub(crate) struct PyLooks {
    bridge: Weak<Bridge>,
    /// Which of the loop's looks this is.
    number: u64,
}

#[pymethods]
impl PyLooks {
    /// Whether the loop will look at another time instead, or has closed.
    #[getter]
    fn outdated(&self) -> bool {
        let bridge = self.bridge.upgrade();
        bridge.is_none_or(|it| it.looks.scheduled.load(Ordering::Relaxed) != self.number)
    }

    /// Has the loop look again in so many seconds, or sooner when a call comes meanwhile.
    fn again(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let Some(bridge) = self.bridge.upgrade() else {
            return Ok(());
        };
        bridge.looks.due.store(seconds <= SOON, Ordering::Relaxed);
        schedule(py, &bridge, seconds)
    }

    /// No more looks, until another call comes.
    fn over(&self) {
        if let Some(bridge) = self.bridge.upgrade() {
            bridge.looks.due.store(false, Ordering::Relaxed);
        }
    }
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
