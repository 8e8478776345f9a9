//! `Client`: checks what it is asked for and makes a Job of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Options, Request, Url, parse_url};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::convert::{lock, timeout};
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;
use crate::{errors, headers};

const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("offloop/", env!("CARGO_PKG_VERSION")));
/// For everything together, redirects and body included.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest body that is accepted, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The engine of `offloop.Client`: connections are kept and shared by all requests.
#[pyclass(name = "Client", module = "offloop._offloop", frozen, weakref, subclass)]
pub(crate) struct PyClient {
    engine: Mutex<Option<fetch::Client>>,
    base_url: Option<Url>,
    headers: Arc<HeaderMap>,
    limits: RequestLimits,
}

/// How far a request may go; a request's own options take the client's place.
#[derive(Clone, Copy)]
struct RequestLimits {
    timeout: Option<Duration>,
    max_body: Option<usize>,
    follow_redirects: bool,
}

/// An option that may be left out, where None has a meaning of its own.
enum Setting<'py> {
    Unset,
    Given(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Setting<'py> {
    type Error = std::convert::Infallible;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self::Given(value.to_owned()))
    }
}

impl Setting<'_> {
    fn timeout(self, otherwise: Option<Duration>) -> PyResult<Option<Duration>> {
        match self {
            Self::Unset => Ok(otherwise),
            Self::Given(value) => timeout(&value),
        }
    }

    fn max_body(self, otherwise: Option<usize>) -> PyResult<Option<usize>> {
        match self {
            Self::Unset => Ok(otherwise),
            Self::Given(value) => value.extract(),
        }
    }
}

#[pymethods]
impl PyClient {
    #[new]
    #[pyo3(signature = (*, base_url=None, headers=None, timeout=Setting::Unset,
                        follow_redirects=true, max_redirects=10, max_body=Setting::Unset))]
    fn new(
        py: Python<'_>,
        base_url: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
        timeout: Setting<'_>,
        follow_redirects: bool,
        max_redirects: usize,
        max_body: Setting<'_>,
    ) -> PyResult<Self> {
        let raise = |error: Error| errors::exception(py, &error);
        let mut common = HeaderMap::new();
        common.insert(ACCEPT, HeaderValue::from_static("*/*"));
        common.insert(USER_AGENT, USER_AGENT_VALUE);
        if let Some(given) = headers {
            replace(&mut common, headers::from_python(given)?);
        }
        let options = Options { max_redirects, ..Options::default() };
        Ok(Self {
            engine: Mutex::new(Some(fetch::Client::new(options))),
            base_url: base_url.map(parse_url).transpose().map_err(raise)?,
            headers: Arc::new(common),
            limits: RequestLimits {
                timeout: timeout.timeout(Some(TOTAL_TIMEOUT))?,
                max_body: max_body.max_body(Some(MAX_BODY))?,
                follow_redirects,
            },
        })
    }

    /// The Job of one GET request.
    #[pyo3(signature = (url, *, params=None, headers=None, timeout=Setting::Unset,
                        follow_redirects=None, max_body=Setting::Unset))]
    #[expect(clippy::too_many_arguments, reason = "keyword options of the public signature")]
    fn get(
        &self,
        py: Python<'_>,
        url: &Bound<'_, PyAny>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timeout: Setting<'_>,
        follow_redirects: Option<bool>,
        max_body: Setting<'_>,
    ) -> PyResult<PyJob> {
        let limits = self.limits(timeout, follow_redirects, max_body)?;
        self.job(py, Method::GET, url, params, headers, None, limits)
    }

    /// The Job of one request.
    #[pyo3(signature = (method, url, *, params=None, headers=None, content=None,
                        timeout=Setting::Unset, follow_redirects=None, max_body=Setting::Unset))]
    #[expect(clippy::too_many_arguments, reason = "keyword options of the public signature")]
    fn request(
        &self,
        py: Python<'_>,
        method: &str,
        url: &Bound<'_, PyAny>,
        params: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        content: Option<&Bound<'_, PyAny>>,
        timeout: Setting<'_>,
        follow_redirects: Option<bool>,
        max_body: Setting<'_>,
    ) -> PyResult<PyJob> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| {
            let text = format!("{method:?} is not a request method");
            errors::exception(py, &Error::new(Kind::InvalidHeader, text))
        })?;
        let limits = self.limits(timeout, follow_redirects, max_body)?;
        self.job(py, method, url, params, headers, content, limits)
    }

    /// Lets all idle connections go and refuses further requests; those under way go on.
    fn close(&self) {
        let engine = lock(&self.engine).take();
        drop(engine);
    }

    /// Whether `close` has been called.
    #[getter]
    fn is_closed(&self) -> bool {
        lock(&self.engine).is_none()
    }
}

impl PyClient {
    fn limits(
        &self,
        timeout: Setting<'_>,
        follow_redirects: Option<bool>,
        max_body: Setting<'_>,
    ) -> PyResult<RequestLimits> {
        Ok(RequestLimits {
            timeout: timeout.timeout(self.limits.timeout)?,
            max_body: max_body.max_body(self.limits.max_body)?,
            follow_redirects: follow_redirects.unwrap_or(self.limits.follow_redirects),
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn job(
        &self,
        py: Python<'_>,
        method: Method,
        url: &Bound<'_, PyAny>,
        params: Option<&Bound<'_, PyAny>>,
        given_headers: Option<&Bound<'_, PyAny>>,
        content: Option<&Bound<'_, PyAny>>,
        limits: RequestLimits,
    ) -> PyResult<PyJob> {
        let raise = |error: Error| errors::exception(py, &error);
        let engine = lock(&self.engine).clone();
        let engine =
            engine.ok_or_else(|| raise(Error::new(Kind::Closed, "the client has been closed")))?;
        let mut url = self.url(url)?;
        if let Some(params) = params {
            append_params(&mut url, params)?;
        }
        let mut all = Arc::clone(&self.headers);
        if let Some(given) = given_headers {
            replace(Arc::make_mut(&mut all), headers::from_python(given)?);
        }
        if let Some(basic) = take_user_info(&mut url) {
            Arc::make_mut(&mut all).entry(AUTHORIZATION).or_insert(basic);
        }
        let body = content.map(body).transpose()?;
        let url = Arc::new(url);
        let label = Label::Request(method.clone(), Arc::clone(&url));
        let request = Request {
            method,
            url,
            headers: all,
            body,
            timeout: limits.timeout,
            max_body: limits.max_body,
            follow_redirects: limits.follow_redirects,
        };
        let operation = Box::pin(async move {
            let response = engine.fetch(request).await?;
            Ok(Outcome::Response(Box::new(response)))
        });
        PyJob::new(py, label, Work::Operation(operation))
    }

    /// `given` as an absolute URL; a path goes behind `base_url`.
    fn url(&self, given: &Bound<'_, PyAny>) -> PyResult<Url> {
        let Ok(text) = given.cast::<PyString>() else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!("url must be str, not {kind}")));
        };
        let text = text.extract::<&str>()?;
        let parsed = match &self.base_url {
            Some(base) if !text.contains("://") => {
                let base = base.as_str().trim_end_matches('/');
                parse_url(&format!("{base}/{}", text.trim_start_matches('/')))
            }
            _ => parse_url(text),
        };
        parsed.map_err(|error| errors::exception(given.py(), &error))
    }
}

/// Headers of `newer` take the place of those of the same name.
fn replace(map: &mut HeaderMap, newer: HeaderMap) {
    let mut latest = None;
    for (name, value) in newer {
        match name {
            Some(name) => {
                map.insert(name.clone(), value);
                latest = Some(name);
            }
            None => {
                if let Some(name) = &latest {
                    map.append(name.clone(), value);
                }
            }
        }
    }
}

fn append_params(url: &mut Url, params: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = params.py();
    let pairs = match params.cast::<PyMapping>() {
        Ok(mapping) => mapping.call_method0(intern!(py, "items"))?,
        Err(_) => params.clone(),
    };
    let mut query = url.query_pairs_mut();
    for pair in pairs.try_iter()? {
        let (name, value): (String, Bound<'_, PyAny>) = pair?.extract()?;
        query.append_pair(&name, &value.str()?.to_string_lossy());
    }
    Ok(())
}

/// `user:pass@` leaves the URL and becomes basic auth (RFC 7617), once.
fn take_user_info(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut credentials = plain(url.username());
    credentials.push(b':');
    credentials.extend(plain(url.password().unwrap_or_default()));
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn body(content: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = content.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    if let Ok(text) = content.cast::<PyString>() {
        return Ok(Bytes::copy_from_slice(text.extract::<&str>()?.as_bytes()));
    }
    let kind = content.get_type().name()?;
    Err(PyTypeError::new_err(format!("content must be bytes or str, not {kind}")))
}
