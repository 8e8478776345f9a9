//! THE table: which Python exception each [`Kind`] becomes. A new kind does not compile without
//! a row here.

use offloop_core::error::{self as core, Details, Error, Figure, Kind};
use offloop_core::fetch::{Asked, Response};
use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::convert::Imported;
use crate::fetch::{PyRequest, PyResponse};

/// The class in `offloop.exceptions`.
fn class_name(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidUrl => "InvalidURL",
        Kind::InvalidHeader => "InvalidHeader",
        Kind::Connect => "ConnectError",
        Kind::Dns => "DNSError",
        Kind::Tls => "TLSError",
        Kind::Proxy => "ProxyError",
        Kind::BlockedAddress => "BlockedAddress",
        Kind::PoolTimeout => "PoolTimeout",
        Kind::ConnectTimeout => "ConnectTimeout",
        Kind::ReadTimeout => "ReadTimeout",
        Kind::WriteTimeout => "WriteTimeout",
        Kind::TotalTimeout => "TotalTimeout",
        Kind::Stalled => "Stalled",
        Kind::Protocol => "ProtocolError",
        Kind::TruncatedBody => "TruncatedBody",
        Kind::HeadersTooLarge => "HeadersTooLarge",
        Kind::Decode => "DecodeError",
        Kind::BodyTooLarge => "BodyTooLarge",
        Kind::TooManyRedirects => "TooManyRedirects",
        Kind::InvalidRedirect => "InvalidRedirect",
        Kind::InsecureRedirect => "InsecureRedirect",
        Kind::UnreplayableBody => "UnreplayableBody",
        Kind::UploadFailed | Kind::File => "FetchError",
        Kind::StreamMisused => "LifecycleError",
        Kind::PoolFull => "PoolFull",
        Kind::WouldDeadlock => "WouldDeadlock",
        Kind::Initializer => "OffloadError",
        Kind::Closed => "Closed",
        Kind::Forked => "ForkedProcessError",
        Kind::Os => "OSError",
        Kind::Status => "StatusError",
        Kind::ChecksumMismatch => "ChecksumMismatch",
        Kind::RangeMismatch => "RangeMismatch",
        Kind::UnsafeFilename => "UnsafeFilename",
        Kind::DownloadInProgress => "DownloadInProgress",
        Kind::InvalidChecksum => "InvalidChecksum",
        Kind::Resources => "ResourceExhausted",
        Kind::Memory => "MemoryError",
        Kind::Internal => "InternalError",
    }
}

/// The exception for `error`, with its fields, its errno and what caused it.
pub(crate) fn exception(py: Python<'_>, error: Error) -> PyErr {
    build(py, error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, mut error: Error) -> PyResult<PyErr> {
    if error.kind == Kind::Os {
        return os_error(py, error);
    }
    if error.kind == Kind::Memory {
        return Ok(PyMemoryError::new_err(error.message));
    }
    let class = py.import(intern!(py, "offloop.exceptions"))?.getattr(class_name(error.kind))?;
    let fields = PyDict::new(py);
    if let Some(url) = &error.url {
        fields.set_item(intern!(py, "url"), url)?;
    }
    if let Some(phase) = error.phase {
        fields.set_item(intern!(py, "phase"), phase.name())?;
    }
    let details = error.details.take();
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
    if let Some(details) = details {
        detail(&exception, &value, *details)?;
    }
    Ok(exception)
}

/// The builtin exception that `open` would raise, with errno and filename.
fn os_error(py: Python<'_>, mut error: Error) -> PyResult<PyErr> {
    let Some(errno) = error.errno else { return Ok(PyOSError::new_err(error.message)) };
    let text = py.import(intern!(py, "os"))?.call_method1(intern!(py, "strerror"), (errno,))?;
    let path = error.details.take().and_then(|details| details.path);
    let path = path.map(std::path::PathBuf::into_os_string);
    Ok(PyOSError::new_err((errno, text.unbind(), path)))
}

/// What core keeps for the glue without knowing it.
type Whatever = dyn std::any::Any + Send + Sync;

/// Attributes beyond those every failure has.
fn detail(exception: &PyErr, value: &Bound<'_, PyAny>, details: Details) -> PyResult<()> {
    let py = value.py();
    for (name, figure) in details.figures {
        match figure {
            Figure::Count(count) => value.setattr(name, count)?,
            Figure::Seconds(seconds) => value.setattr(name, seconds)?,
        }
    }
    if !details.addresses.is_empty() {
        value.setattr(intern!(py, "addresses"), details.addresses)?;
    }
    if !details.attempts.is_empty() {
        value.setattr(intern!(py, "attempts"), attempts(py, &details.attempts)?)?;
    }
    if !details.history.is_empty() {
        value.setattr(intern!(py, "history"), details.history)?;
    }
    if let Some(Ok(asked)) = details.subject.map(<Box<Whatever>>::downcast::<Asked>) {
        value.setattr(intern!(py, "request"), Bound::new(py, PyRequest::new(*asked))?)?;
    }
    if let Some(Ok(response)) = details.response.map(<Box<Whatever>>::downcast::<Response>) {
        value.setattr(intern!(py, "response"), Bound::new(py, PyResponse::new(response))?)?;
    }
    if let Some(path) = details.path {
        value.setattr(intern!(py, "path"), path)?;
    }
    for (name, word) in details.words {
        value.setattr(name, word)?;
    }
    if let Some(Ok(cause)) = details.payload.map(<Box<Whatever>>::downcast::<Py<PyAny>>) {
        exception.set_cause(py, Some(PyErr::from_value(cause.into_bound(py))));
    }
    Ok(())
}

/// Tries as a list of `offloop.Attempt`.
pub(crate) fn attempts<'py>(
    py: Python<'py>,
    attempts: &[core::Attempt],
) -> PyResult<Bound<'py, PyList>> {
    let shown = attempts.iter().map(|it| attempt(py, it)).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, shown)
}

/// One try as an `offloop.Attempt`.
pub(crate) fn attempt<'py>(
    py: Python<'py>,
    attempt: &core::Attempt,
) -> PyResult<Bound<'py, PyAny>> {
    static ATTEMPT: Imported = Imported::new("offloop.options", "Attempt");
    let fields = PyDict::new(py);
    fields.set_item("url", &attempt.url)?;
    fields.set_item("status", attempt.status)?;
    let error = attempt.error.as_ref();
    let error = error.map(|(kind, text)| format!("{}: {text}", class_name(*kind)));
    fields.set_item("error", error)?;
    fields.set_item("reused", attempt.reused)?;
    fields.set_item("took", attempt.took.as_secs_f64())?;
    ATTEMPT.load(py)?.call((), Some(&fields))
}
