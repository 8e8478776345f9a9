//! `relay`: a request that another HTTP library has built, sent exactly as it stands.
//!
//! Nothing of the client's own options is added: no headers, parameters, cookies or credentials.
//! No redirect is followed and no failure is tried again; that is the business of the library,
//! which also decodes the body (`Response.aiter_raw`). Runs in the loop's thread, with the GIL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Content, Follow, Request, Retry, Timeouts, parse_url};
use pyo3::prelude::*;

use super::client::{PyClient, streaming_job};
use super::headers;
use super::upload::PyUpload;
use crate::convert::Imported;
use crate::errors;
use crate::job::PyJob;

/// Seconds to connect, to read, to write and to wait for a connection; None is no limit.
type Seconds = (Option<f64>, Option<f64>, Option<f64>, Option<f64>);

/// The Job of the streamed response to one request. The body is `content`, or else what the
/// asynchronous iterator `source` yields, `length` bytes of it if that is known.
#[pyfunction]
#[pyo3(signature = (client, method, url, headers, content, source, length, seconds))]
#[expect(clippy::too_many_arguments, reason = "private; called from one place, by position")]
pub(crate) fn relay(
    py: Python<'_>,
    client: &PyClient,
    method: &str,
    url: &str,
    headers: &Bound<'_, PyAny>,
    content: Option<&[u8]>,
    source: Option<Bound<'_, PyAny>>,
    length: Option<u64>,
    seconds: Seconds,
) -> PyResult<PyJob> {
    static FEEDER: Imported = Imported::new("offloop._response", "feeder");
    let raise = |error: Error| errors::exception(py, error);
    let engine = client.engine(py)?;
    let mut url = parse_url(url).map_err(raise)?;
    // The library has made a header of them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
        let text = format!("{method:?} is not a request method");
        errors::exception(py, Error::new(Kind::InvalidHeader, text))
    })?;
    let lines = headers::from_python(headers)?;
    let (content, feeder) = match (content, source) {
        (None, Some(source)) => {
            let (upload, content) = fetch::Upload::new(length);
            let upload = Bound::new(py, PyUpload::new(upload))?;
            (content, Some(FEEDER.load(py)?.call1((upload, source))?.unbind()))
        }
        (Some(bytes), _) if !bytes.is_empty() => {
            (Content::Bytes(Bytes::copy_from_slice(bytes)), None)
        }
        _ => (Content::Empty, None),
    };
    let (connect, read, write, pool) = seconds;
    let request = Request {
        method,
        url: Arc::new(url),
        headers: Arc::new(lines),
        content,
        digest: None,
        timeouts: Arc::new(Timeouts {
            total: None,
            total_is_given: false,
            pool: limit(pool),
            connect: limit(connect),
            read: limit(read),
            write: limit(write),
            stall: None,
        }),
        max_body: None,
        follow: Follow::Never,
        retry: Arc::new(Retry::default()),
        verbatim: true,
    };
    let mut job = streaming_job(py, engine, request, None)?;
    job.feed_by(feeder);
    Ok(job)
}

/// What is negative has passed, and what is too long for a Duration never will.
fn limit(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?.max(0.0)).ok()
}
