//! Fork and exit, called from the hooks in `offloop._lifecycle`.

use std::time::Duration;

use offloop_core::files::halt::wait_for_changes;
use offloop_core::runtime;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::{files, offload};

/// In a forked child: from now on every use fails with `ForkedProcessError`, if the parent had
/// threads of offloop's at work.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    runtime::after_fork_in_child(offload::has_workers() || files::has_threads());
}

/// At exit: refuses further calls and gives running ones `grace` seconds. Returns what still
/// runs: `[(function, thread, seconds, abandoned)]`.
#[pyfunction]
pub(crate) fn close_pool(py: Python<'_>, grace: f64) -> PyResult<Vec<offload::Stuck>> {
    if runtime::check_alive().is_err() {
        return Ok(Vec::new());
    }
    let grace = Duration::try_from_secs_f64(grace)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let stuck = offload::close(py, grace);
    // What is half-written would stay so.
    let _ = py.detach(|| wait_for_changes(grace));
    Ok(stuck)
}

/// Stops the calling thread for good, without the GIL: see `offloop._lifecycle.entering`.
#[pyfunction]
pub(crate) fn park(py: Python<'_>) {
    py.detach(|| {
        loop {
            std::thread::park();
        }
    });
}
