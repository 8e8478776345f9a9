//! What has become of a Job that is over, and whether anybody has looked.

use offloop_core::error::Error;
use offloop_core::watch::End;
use pyo3::exceptions::PyBaseException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTraceback;

use crate::errors;
use crate::outcome::Outcome;

/// The end of a Job.
pub(crate) enum Settled {
    /// It has a result.
    Value(Py<PyAny>),
    /// It has an exception; `read` once somebody has seen it.
    Raised { error: Py<PyBaseException>, traceback: Option<Py<PyTraceback>>, read: bool },
    /// It was cancelled; `lost` is what its function raised all the same.
    Cancelled { lost: Option<Py<PyBaseException>> },
}

/// A copy of the end of a Job, to be looked at without its lock.
pub(crate) enum Seen {
    Value(Py<PyAny>),
    Raised { error: Py<PyBaseException>, traceback: Option<Py<PyTraceback>> },
    Cancelled { lost: Option<Py<PyBaseException>> },
}

/// `error` with the traceback it came with: else it would grow with every await.
pub(crate) fn as_raised(
    py: Python<'_>,
    error: Py<PyBaseException>,
    traceback: Option<Py<PyTraceback>>,
) -> PyErr {
    let raised = PyErr::from_value(error.into_bound(py).into_any());
    raised.set_traceback(py, traceback.map(|traceback| traceback.into_bound(py)));
    raised
}

impl Settled {
    pub(crate) fn from_outcome(py: Python<'_>, outcome: Result<Outcome, Box<Error>>) -> Self {
        match outcome {
            Ok(outcome) => match outcome.into_python(py) {
                Ok(value) => Self::Value(value),
                Err(error) => Self::raised(py, &error),
            },
            Err(error) => Self::raised(py, &errors::exception(py, *error)),
        }
    }

    pub(crate) fn raised(py: Python<'_>, error: &PyErr) -> Self {
        let traceback = error.traceback(py).map(Bound::unbind);
        Self::Raised { error: error.value(py).clone().unbind(), traceback, read: false }
    }

    pub(crate) fn cancelled() -> Self {
        Self::Cancelled { lost: None }
    }

    /// The same end, for a Job whose cancellation was asked for in the meantime.
    pub(crate) fn into_cancelled(self) -> Self {
        match self {
            Self::Raised { error, .. } => Self::Cancelled { lost: Some(error) },
            Self::Value(_) | Self::Cancelled { .. } => Self::cancelled(),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    pub(crate) fn end(&self) -> End {
        match self {
            Self::Value(_) => End::Done,
            Self::Raised { .. } => End::Failed,
            Self::Cancelled { .. } => End::Cancelled,
        }
    }

    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Raised { read: false, .. })
    }

    /// Notes that somebody looks, and copies what there is to see.
    pub(crate) fn read(&mut self, py: Python<'_>) -> Seen {
        match self {
            Self::Value(value) => Seen::Value(value.clone_ref(py)),
            Self::Raised { error, traceback, read } => {
                *read = true;
                let traceback = traceback.as_ref().map(|traceback| traceback.clone_ref(py));
                Seen::Raised { error: error.clone_ref(py), traceback }
            }
            Self::Cancelled { lost } => {
                Seen::Cancelled { lost: lost.as_ref().map(|error| error.clone_ref(py)) }
            }
        }
    }

    /// The exception nobody has seen.
    pub(crate) fn unread(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        match self {
            Self::Raised { error, read: false, .. } => Some(error.clone_ref(py)),
            _ => None,
        }
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Value(value) => visit.call(value),
            Self::Raised { error, traceback, .. } => {
                visit.call(error)?;
                traceback.as_ref().map_or(Ok(()), |traceback| visit.call(traceback))
            }
            Self::Cancelled { lost } => lost.as_ref().map_or(Ok(()), |error| visit.call(error)),
        }
    }
}
