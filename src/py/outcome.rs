//! What an operation brings home, before and after it is a Python object.

use std::sync::Arc;

use bytes::Bytes;
use offloop_core::download::Saved;
use offloop_core::fetch::{Body, Response};
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::download;
use crate::event_loop::{Bridge, Parcel};
use crate::fetch::rooms::{self, Order};
use crate::fetch::{Again, PyResponse};
use crate::files::Finding;
use crate::offload::{self, Task, TimedOut};

/// Bodies above this are turned into `bytes` by a worker, because the loop's thread would be
/// busy copying (16 MiB: 5 to 10 ms); below it the trip costs more than the copy.
pub(crate) const LARGE: usize = 256 * 1024;

/// What an operation has produced. Plain Rust data, unless a Python thread made it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Only the fact that it is over.
    Nothing,
    /// A fetched response.
    Response(Box<Response>),
    /// A response whose body is still to come, and how to ask for it once more.
    Stream(Box<Response>, Box<Again>),
    /// A piece of a body; `None` after the last one.
    Piece(Option<Bytes>),
    /// A file that was downloaded.
    Saved(Box<Saved>),
    /// That room is wanted for a large body.
    Order(Box<Order>),
    /// A Python object, made by a worker.
    Object(Py<PyAny>),
    /// What an operation on files found.
    File(Box<Finding>),
    /// What a call returned or raised. The task of a thread comes along, so that function and
    /// arguments are released by the loop's thread.
    Called(Box<(PyResult<Py<PyAny>>, Option<Task>)>),
    /// That the time of a call was up.
    TimedOut(Box<TimedOut>),
}

/// Where an outcome stands when it reaches the loop's thread.
pub(crate) enum Landing {
    /// It can be handed out.
    Done(Outcome),
    /// Somebody goes on with it and sends it once more.
    SecondLeg,
}

impl Outcome {
    /// Sends a large body to a worker; everything else is done.
    pub(crate) fn land(self, py: Python<'_>, bridge: &Arc<Bridge>, parcel: &Parcel) -> Landing {
        match self {
            Self::Response(response) if is_large(&response) => {
                match offload::copy_body(py, response, bridge, parcel) {
                    Ok(()) => Landing::SecondLeg,
                    Err(response) => Landing::Done(Self::Response(response)),
                }
            }
            Self::Order(order) => {
                order.fill(py);
                Landing::SecondLeg
            }
            Self::File(finding) => finding.land(py, bridge, parcel),
            Self::TimedOut(timed_out) => {
                let error = timed_out.into_exception(py, bridge, &parcel.ticket);
                Landing::Done(Self::Called(Box::new((Err(error), None))))
            }
            other => Landing::Done(other),
        }
    }

    /// The Python object, or the exception.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            // A timeout became an exception when it landed.
            // An order is filled when it lands.
            Self::Nothing | Self::TimedOut(_) | Self::Order(_) => Ok(py.None()),
            Self::Response(mut response) => {
                if let Some(content) = rooms::vacated(&mut response) {
                    let response = PyResponse::with_content(response, content);
                    return Ok(Bound::new(py, response)?.into_any().unbind());
                }
                Ok(Bound::new(py, PyResponse::new(response))?.into_any().unbind())
            }
            Self::Stream(response, again) => {
                let response = PyResponse::repeatable(response, again);
                Ok(Bound::new(py, response)?.into_any().unbind())
            }
            Self::Piece(Some(piece)) => Ok(PyBytes::new(py, &piece).into_any().unbind()),
            Self::Piece(None) => Err(PyStopAsyncIteration::new_err(())),
            Self::Saved(saved) => download::saved(py, *saved),
            Self::File(finding) => finding.into_python(py),
            Self::Object(object) => Ok(object),
            Self::Called(called) => {
                let (result, task) = *called;
                drop(task);
                result
            }
        }
    }
}

fn is_large(response: &Response) -> bool {
    matches!(&response.body, Body::Whole(whole) if whole.len() > LARGE)
}
