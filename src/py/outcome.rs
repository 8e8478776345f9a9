//! What an operation brings home, before and after it is a Python object.

use offloop_core::fetch::Response;
use pyo3::prelude::*;

use crate::event_loop::{Bridge, Parcel};
use crate::offload::{self, Task};
use crate::response::PyResponse;

/// Bodies above this are turned into `bytes` by a worker, because the loop's thread would be
/// busy copying (16 MiB: 5 to 10 ms); below it the trip costs more than the copy.
const LARGE: usize = 256 * 1024;

/// What an operation has produced. Plain Rust data, unless a Python thread made it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Only the fact that it is over.
    Nothing,
    /// A fetched response.
    Response(Box<Response>),
    /// A Python object, made by a worker.
    Object(Py<PyAny>),
    /// What a call returned or raised. The task comes along, so that function and arguments are
    /// released by the loop's thread.
    Called(Box<(PyResult<Py<PyAny>>, Task)>),
}

/// Where an outcome stands when it reaches the loop's thread.
pub(crate) enum Landing {
    /// It can be handed out.
    Done(Outcome),
    /// A worker finishes it and sends it once more.
    SecondLeg,
}

impl Outcome {
    /// Sends a large body to a worker; everything else is done.
    pub(crate) fn land(self, py: Python<'_>, bridge: &Bridge, parcel: &Parcel) -> Landing {
        match self {
            Self::Response(response) if response.body.len() > LARGE => {
                match offload::copy_body(py, response, bridge, parcel) {
                    Ok(()) => Landing::SecondLeg,
                    Err(response) => Landing::Done(Self::Response(response)),
                }
            }
            other => Landing::Done(other),
        }
    }

    /// The Python object, or the exception.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Nothing => Ok(py.None()),
            Self::Response(response) => {
                Ok(Bound::new(py, PyResponse::new(*response))?.into_any().unbind())
            }
            Self::Object(object) => Ok(object),
            Self::Called(called) => {
                let (result, task) = *called;
                drop(task);
                result
            }
        }
    }
}
