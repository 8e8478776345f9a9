//! Python values to core's types, and the few Python functions the glue calls again and again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyDeltaAccess, PyFloat, PyInt};

/// Locks; no holder in this crate can leave its data half-written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Python function, imported once.
pub(crate) struct Imported {
    module: &'static str,
    name: &'static str,
    cell: PyOnceLock<Py<PyAny>>,
}

impl Imported {
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, cell: PyOnceLock::new() }
    }

    pub(crate) fn load<'py>(&'static self, py: Python<'py>) -> PyResult<&'py Bound<'py, PyAny>> {
        self.cell.import(py, self.module, self.name)
    }
}

/// The context variables that a call is to see: a copy of those where it was made.
///
/// Where there are none, nothing is kept, and an empty context is made when it is wanted: the
/// garbage collector looks at whatever waits, again and again (measured, decision 48).
pub(crate) struct Variables(Option<Py<PyAny>>);

impl Variables {
    /// `contextvars.copy_context()`.
    pub(crate) fn copy(py: Python<'_>) -> PyResult<Self> {
        static COPY: Imported = Imported::new("contextvars", "copy_context");
        let copy = COPY.load(py)?.call0()?;
        Ok(Self(if copy.len()? == 0 { None } else { Some(copy.unbind()) }))
    }

    /// Those of `context`, which is no copy.
    pub(crate) fn of(context: Py<PyAny>) -> Self {
        Self(Some(context))
    }

    /// The context to run in, once.
    pub(crate) fn into_context(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static EMPTY: Imported = Imported::new("contextvars", "Context");
        match self.0 {
            Some(context) => Ok(context),
            None => EMPTY.load(py)?.call0().map(Bound::unbind),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.as_ref().map_or(Ok(()), |context| visit.call(context))
    }
}

/// A duration given as `float` or `int` seconds, as `timedelta`, or as `None`: no limit.
pub(crate) fn timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    if value.is_none() {
        return Ok(None);
    }
    let seconds = if let Ok(delta) = value.cast::<PyDelta>() {
        f64::from(delta.get_days()) * 86_400.0
            + f64::from(delta.get_seconds())
            + f64::from(delta.get_microseconds()) / 1e6
    } else if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>() {
        value.extract::<f64>()?
    } else {
        let kind = value.get_type().name()?;
        let text = format!("timeout must be seconds, a timedelta or None, not {kind}");
        return Err(PyTypeError::new_err(text));
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if seconds > 0.0 => Ok(Some(limit)),
        _ => Err(PyValueError::new_err(format!("timeout must be positive, not {seconds}"))),
    }
}
