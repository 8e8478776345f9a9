//! What is said of a Job that nobody awaited, or whose exception nobody saw, when it is dropped.

use offloop_core::runtime;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::Imported;
use crate::event_loop::Bridge;
use crate::job::PyJob;
use crate::progress::{Manner, Phase};
use crate::settled::Settled;

impl Drop for PyJob {
    /// Dropping is cancelling: runs wherever the last reference went, with the GIL held.
    fn drop(&mut self) {
        let Some(state) = self.state.get_mut().ok() else {
            return;
        };
        match std::mem::replace(&mut state.phase, Phase::Changing) {
            Phase::New(work) => {
                let _ = Python::try_attach(|py| self.warn_never_awaited(py));
                drop(work);
            }
            Phase::Pending(pending) => {
                if let Some(outcome) = pending.ticket.collect() {
                    let _ = Python::try_attach(|py| {
                        let settled = Settled::from_outcome(py, outcome);
                        self.report_unread(py, &settled, Some(&pending.bridge));
                    });
                } else if runtime::check_alive().is_err() {
                    // A forked child: what is under way is the parent's.
                } else if let Manner::Stoppable(stop) = &pending.manner {
                    stop.ask(); // it ends in its own time, and nobody is told
                } else if pending.stop() {
                    let _ = Python::try_attach(|py| {
                        pending.manner.ask_to_stop(py, &pending.bridge, "cancel");
                    });
                    pending.bridge.call_off(pending.slot);
                }
            }
            Phase::Over(settled, bridge) => {
                if settled.is_unread() {
                    let _ = Python::try_attach(|py| {
                        self.report_unread(py, &settled, bridge.as_deref());
                    });
                }
            }
            Phase::Changing => {}
        }
    }
}

impl PyJob {
    fn warn_never_awaited(&self, py: Python<'_>) {
        static TELL: Imported = Imported::new("offloop._bridge", "tell_forgotten");
        let pending = PyErr::take(py);
        let label = self.label.text(py);
        let place = self.made_at.as_ref().map(|at| format!("\nJob created at {at}"));
        let text = format!("Job {label:?} was never awaited{}", place.unwrap_or_default());
        let told =
            TELL.load(py).and_then(|tell| tell.call1((label, self.made_at.as_deref(), &text)));
        if let Err(error) = told {
            error.write_unraisable(py, None);
        }
        if let Ok(text) = std::ffi::CString::new(text) {
            let category = py.get_type::<PyRuntimeWarning>();
            if let Err(error) = PyErr::warn(py, &category, &text, 1) {
                error.write_unraisable(py, None);
            }
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    }

    fn report_unread(&self, py: Python<'_>, settled: &Settled, bridge: Option<&Bridge>) {
        let Some(exception) = settled.unread(py) else {
            return;
        };
        let pending = PyErr::take(py);
        let context = PyDict::new(py);
        let text = format!("Job exception was never retrieved\njob: <Job {}>", self.label.text(py));
        let place = self.made_at.as_ref().map(|at| format!("\nJob created at {at}"));
        let reported = context
            .set_item("message", text + &place.unwrap_or_default())
            .and_then(|()| context.set_item("exception", exception))
            .and_then(|()| {
                static REPORT: Imported = Imported::new("offloop._bridge", "report");
                let event_loop = bridge.and_then(|bridge| bridge.event_loop(py));
                REPORT.load(py)?.call1((event_loop, context)).map(drop)
            });
        if let Err(error) = reported {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    }
}

/// asyncio's debug mode sets this depth for coroutines; `OFFLOOP_DEBUG=1` asks for it alone.
pub(crate) fn is_debug(py: Python<'_>) -> PyResult<bool> {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    static DEPTH: Imported = Imported::new("sys", "get_coroutine_origin_tracking_depth");
    if *ASKED.get_or_init(|| std::env::var_os("OFFLOOP_DEBUG").is_some_and(|it| it == "1")) {
        return Ok(true);
    }
    DEPTH.load(py)?.call0()?.is_truthy()
}

/// `file:line` of the code that makes a Job.
pub(crate) fn caller(py: Python<'_>) -> PyResult<Box<str>> {
    static CALLER: Imported = Imported::new("offloop._bridge", "caller");
    CALLER.load(py)?.call0()?.extract::<String>().map(Into::into)
}
