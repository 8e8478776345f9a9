//! Responses on their way between processes: plain objects that pickle knows, and back again.
//!
//! The body stays behind: bytes in the memory of a worker are of no use here, and a file is named.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Version};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Body, Head, Kept, Timings, parse_url};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::headers::{self, PyHeaders};
use super::options;
use super::response::PyResponse;
use crate::errors;

type Lines<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;
/// Method, URL and header lines of a request.
pub(super) type Asked<'py> = (String, String, Lines<'py>);
/// Status, reason, version and header lines of a response, and what it answers.
type PackedHead<'py> = (u16, Option<Vec<u8>>, u8, Lines<'py>, Asked<'py>);
/// The head, those of redirects, tries, times, bytes on the wire, and path and size of the file.
pub(super) type Answer<'py> = (
    PackedHead<'py>,
    Vec<PackedHead<'py>>,
    Bound<'py, PyList>,
    [f64; 8],
    (u64, bool),
    Option<(PathBuf, u64)>,
);

pub(super) fn asked<'py>(py: Python<'py>, asked: &fetch::Asked) -> Asked<'py> {
    let lines = lines(py, &asked.headers);
    (asked.method.as_str().to_owned(), asked.url.as_str().to_owned(), lines)
}

pub(super) fn to_asked(py: Python<'_>, asked: Asked<'_>) -> PyResult<fetch::Asked> {
    let (method, url, lines) = asked;
    let url = parse_url(&url).map_err(|error| errors::exception(py, error))?;
    let method = options::method(py, &method)?;
    Ok(fetch::Asked { method, url: Arc::new(url), headers: Arc::new(map(py, lines)?) })
}

pub(super) fn head<'py>(py: Python<'py>, head: &Head, map: &http::HeaderMap) -> PackedHead<'py> {
    let version = match head.version {
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        _ => 11,
    };
    let reason = head.reason.as_ref().map(|reason| reason.to_vec());
    (head.status.as_u16(), reason, version, lines(py, map), asked(py, &head.asked))
}

fn to_head(py: Python<'_>, packed: PackedHead<'_>) -> PyResult<Head> {
    let (status, reason, version, lines, asked) = packed;
    let status = StatusCode::from_u16(status);
    let wrong = |_| errors::exception(py, Error::new(Kind::Protocol, "this is no status"));
    Ok(Head {
        status: status.map_err(wrong)?,
        reason: reason.map(Arc::from),
        version: match version {
            10 => Version::HTTP_10,
            20 => Version::HTTP_2,
            _ => Version::HTTP_11,
        },
        headers: map(py, lines)?,
        sent: None,
        asked: to_asked(py, asked)?,
    })
}

pub(super) fn times(timings: &Timings) -> [f64; 8] {
    [
        timings.queued,
        timings.dns,
        timings.connect,
        timings.tls,
        timings.first_byte,
        timings.body,
        timings.decode,
        timings.elapsed,
    ]
    .map(|it| it.as_secs_f64())
}

impl PyResponse {
    /// All of it but the body.
    pub(super) fn unpack(py: Python<'_>, answer: Answer<'_>) -> PyResult<Self> {
        let (head, history, attempts, times, (received, reused), kept) = answer;
        let [queued, dns, connect, tls, first_byte, body, decode, elapsed] =
            times.map(|it| Duration::try_from_secs_f64(it).unwrap_or_default());
        let ended = std::time::Instant::now();
        let timings =
            Timings { queued, dns, connect, tls, first_byte, body, decode, elapsed, ended };
        let response = fetch::Response {
            head: to_head(py, head)?,
            body: kept.map_or(Body::Absent, |(path, bytes)| Body::Kept(Kept { path, bytes })),
            history: history.into_iter().map(|it| to_head(py, it)).collect::<PyResult<_>>()?,
            attempts: Vec::new(),
            timings,
            received,
            reused,
        };
        Ok(Self::with_attempts(Box::new(response), attempts.unbind()))
    }
}

fn lines<'py>(py: Python<'py>, map: &http::HeaderMap) -> Lines<'py> {
    PyHeaders::new(map.clone()).lines(py)
}

fn map(py: Python<'_>, lines: Lines<'_>) -> PyResult<http::HeaderMap> {
    headers::from_python(PyList::new(py, lines)?.as_any())
}
