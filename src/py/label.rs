//! What a Job is called in its repr, in warnings and in asyncio's own messages.

use std::path::Path;
use std::sync::Arc;

use http::Method;
use offloop_core::fetch::{Url, redacted};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

/// The name of a Job's work; made into text only when somebody asks.
pub(crate) enum Label {
    /// A request: method and URL, shown without its secrets.
    Request(Method, Arc<Url>),
    /// A call of this function.
    Call(Py<PyAny>),
    /// A verb and the file it is about.
    Path(&'static str, Arc<Path>),
    /// Something that is always called the same.
    Text(&'static str),
}

impl Label {
    pub(crate) fn text(&self, py: Python<'_>) -> String {
        match self {
            Self::Request(method, url) => format!("{method} {}", redacted(url)),
            Self::Call(function) => qualified_name(function.bind(py)),
            Self::Path(verb, path) => format!("{verb} {}", path.display()),
            Self::Text(text) => (*text).to_owned(),
        }
    }

    /// Where such work runs when it is over, as far as that can be said.
    pub(crate) fn place(&self) -> Option<&'static str> {
        match self {
            Self::Request(..) | Self::Text(_) => Some("tokio"),
            Self::Path(..) => Some("thread:files"),
            Self::Call(_) => None,
        }
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Call(function) => visit.call(function),
            Self::Request(..) | Self::Path(..) | Self::Text(_) => Ok(()),
        }
    }
}

/// `module.qualname` of a function, or the name of an object's type.
pub(crate) fn qualified_name(function: &Bound<'_, PyAny>) -> String {
    let py = function.py();
    let name = function.getattr(intern!(py, "__qualname__")).and_then(|name| name.extract());
    name.unwrap_or_else(|_| {
        function.get_type().name().map_or_else(|_| "call".to_owned(), |name| name.to_string())
    })
}
