//! THE table: which Python exception each [`Kind`] becomes. A new kind does not compile without
//! a row here.

use offloop_core::error::{Error, Kind};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The class in `offloop.exceptions`.
fn class_name(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidUrl => "InvalidURL",
        Kind::InvalidHeader => "InvalidHeader",
        Kind::Connect => "ConnectError",
        Kind::Dns => "DNSError",
        Kind::Tls => "TLSError",
        Kind::ConnectTimeout => "ConnectTimeout",
        Kind::TotalTimeout => "TotalTimeout",
        Kind::Protocol => "ProtocolError",
        Kind::TruncatedBody => "TruncatedBody",
        Kind::BodyTooLarge => "BodyTooLarge",
        Kind::TooManyRedirects => "TooManyRedirects",
        Kind::InvalidRedirect => "InvalidRedirect",
        Kind::InsecureRedirect => "InsecureRedirect",
        Kind::PoolFull => "PoolFull",
        Kind::Closed => "Closed",
        Kind::Forked => "ForkedProcessError",
        Kind::Resources => "ResourceExhausted",
        Kind::Internal => "InternalError",
    }
}

/// The exception for `error`, with its fields, its errno and the system's own error as cause.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let class = py.import(intern!(py, "offloop.exceptions"))?.getattr(class_name(error.kind))?;
    let fields = PyDict::new(py);
    if let Some(url) = &error.url {
        fields.set_item(intern!(py, "url"), url)?;
    }
    if let Some(phase) = error.phase {
        fields.set_item(intern!(py, "phase"), phase.name())?;
    }
    let value = class.call((error.message.as_str(),), Some(&fields))?;
    let exception = PyErr::from_value(value.clone());
    if let Some(errno) = error.errno {
        let text = py.import(intern!(py, "os"))?.call_method1(intern!(py, "strerror"), (errno,))?;
        let system: PyErr = PyOSError::new_err((errno, text.unbind()));
        if value.is_instance_of::<PyOSError>() {
            value.setattr(intern!(py, "errno"), errno)?;
        }
        exception.set_cause(py, Some(system));
    }
    Ok(exception)
}
