//! Options as users write them, to what core takes: numbers, tuples, and the dataclasses of
//! `offloop.options`.

use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use http::HeaderValue;
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{Credentials, Follow, Limits, Retry, Timeouts};
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString, PyTuple};

use super::given::extract;
use super::target::plain;
use crate::convert::{Imported, timeout};
use crate::errors;

/// The options of one request, unread; `None` where one was left out.
#[derive(Default)]
pub(super) struct RequestOptions<'py> {
    pub(super) params: Option<Bound<'py, PyAny>>,
    pub(super) headers: Option<Bound<'py, PyAny>>,
    pub(super) cookies: Option<Bound<'py, PyAny>>,
    pub(super) content: Option<Bound<'py, PyAny>>,
    pub(super) data: Option<Bound<'py, PyAny>>,
    pub(super) files: Option<Bound<'py, PyAny>>,
    pub(super) json: Option<Bound<'py, PyAny>>,
    pub(super) auth: Option<Bound<'py, PyAny>>,
    pub(super) timeout: Option<Bound<'py, PyAny>>,
    pub(super) follow_redirects: Option<Bound<'py, PyAny>>,
    pub(super) retries: Option<Bound<'py, PyAny>>,
    pub(super) max_body: Option<Bound<'py, PyAny>>,
}

impl<'py> RequestOptions<'py> {
    pub(super) fn read(given: Option<&Bound<'py, PyDict>>) -> PyResult<Self> {
        let mut options = Self::default();
        let Some(given) = given else { return Ok(options) };
        for (name, value) in given {
            let name = name.cast::<PyString>()?;
            let place = match name.extract::<&str>()? {
                "params" => &mut options.params,
                "headers" => &mut options.headers,
                "cookies" => &mut options.cookies,
                "content" => &mut options.content,
                "data" => &mut options.data,
                "files" => &mut options.files,
                "json" => &mut options.json,
                "auth" => &mut options.auth,
                "timeout" => &mut options.timeout,
                "follow_redirects" => &mut options.follow_redirects,
                "retries" => &mut options.retries,
                "max_body" => &mut options.max_body,
                other => {
                    let text = format!("a request has no option {other:?}");
                    return Err(PyTypeError::new_err(text));
                }
            };
            *place = Some(value);
        }
        Ok(options)
    }
}

/// How far a request may go; a request's own options take the client's place.
#[derive(Clone)]
pub(super) struct Bounds {
    pub(super) timeouts: Arc<Timeouts>,
    pub(super) max_body: Option<u64>,
    pub(super) follow: Follow,
    pub(super) retry: Arc<Retry>,
}

impl Bounds {
    pub(super) fn with(&self, options: &RequestOptions<'_>) -> PyResult<Self> {
        let mut bounds = self.clone();
        if let Some(given) = &options.timeout {
            bounds.timeouts = Arc::new(timeouts(given, &self.timeouts)?);
        }
        if let Some(given) = &options.max_body {
            bounds.max_body = extract("max_body", given)?;
        }
        if let Some(given) = options.follow_redirects.as_ref().filter(|it| !it.is_none()) {
            bounds.follow = if given.extract()? { Follow::All } else { Follow::Never };
        }
        if let Some(given) = options.retries.as_ref().filter(|it| !it.is_none()) {
            bounds.retry = Arc::new(retry(given)?);
        }
        Ok(bounds)
    }
}

/// Seconds or a timedelta in total, None, or an `offloop.Timeout`; a total alone leaves the
/// phases as they are `otherwise`.
pub(super) fn timeouts(given: &Bound<'_, PyAny>, otherwise: &Timeouts) -> PyResult<Timeouts> {
    static TIMEOUT: Imported = Imported::new("offloop.options", "Timeout");
    let py = given.py();
    if !given.is_instance(TIMEOUT.load(py)?)? {
        let total = timeout(given)?;
        return Ok(Timeouts { total, total_is_given: true, ..otherwise.clone() });
    }
    let field = |name: &str| timeout(&given.getattr(name)?);
    let stall = given.getattr(intern!(py, "stall"))?;
    let stall = if stall.is_none() {
        None
    } else {
        let (rate, window): (u64, Bound<'_, PyAny>) = stall.extract()?;
        timeout(&window)?.map(|window| (rate, window))
    };
    let (total, standard) = (field("total")?, Timeouts::default());
    Ok(Timeouts {
        total_is_given: total.is_some() && total != standard.total,
        total,
        pool: field("pool")?,
        connect: field("connect")?,
        read: field("read")?,
        write: field("write")?,
        stall,
    })
}

/// A number of extra tries, or an `offloop.Retry`.
pub(super) fn retry(given: &Bound<'_, PyAny>) -> PyResult<Retry> {
    static RETRY: Imported = Imported::new("offloop.options", "Retry");
    if given.is_instance_of::<PyInt>() {
        let attempts: Option<u32> = given.extract().ok();
        let attempts = attempts.ok_or_else(|| {
            PyValueError::new_err(format!("retries must be 0 or more, not {given}"))
        })?;
        return Ok(Retry { attempts, ..Retry::default() });
    }
    if !given.is_instance(RETRY.load(given.py())?)? {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!("retries must be int or Retry, not {kind}")));
    }
    let seconds = |name: &str| -> PyResult<Duration> {
        let value: f64 = given.getattr(name)?.extract()?;
        Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(error.to_string()))
    };
    let methods: Option<Vec<String>> = given.getattr("methods")?.extract()?;
    let methods = methods.map(|methods| {
        let parsed = methods.iter().map(|name| method(given.py(), name));
        parsed.collect::<PyResult<Vec<_>>>()
    });
    Ok(Retry {
        attempts: given.getattr("attempts")?.extract()?,
        statuses: given.getattr("statuses")?.extract()?,
        methods: methods.transpose()?,
        backoff: seconds("backoff")?,
        respect_retry_after: given.getattr("respect_retry_after")?.extract()?,
        max_wait: seconds("max_wait")?,
        budget: given.getattr("budget")?.extract()?,
    })
}

/// The first attribute that is read of an option: without it, the option is of a wrong type.
pub(super) fn first<'py>(
    given: &Bound<'py, PyAny>,
    name: &str,
    wanted: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let Ok(found) = given.getattr(name) else {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{wanted}, not {kind}")));
    };
    Ok(found)
}

/// An `offloop.Limits`.
pub(super) fn limits(given: &Bound<'_, PyAny>) -> PyResult<Limits> {
    let connections = first(given, "connections", "limits must be an offloop.Limits")?;
    let connections: Option<usize> = connections.extract()?;
    let per_host: Option<usize> = given.getattr("per_host")?.extract()?;
    let idle = timeout(&given.getattr("idle")?)?;
    Ok(Limits {
        connections: connections.unwrap_or(usize::MAX),
        per_host: per_host.unwrap_or(usize::MAX),
        idle: idle.unwrap_or(Duration::from_secs(u64::from(u32::MAX))),
        requests: given.getattr("requests")?.extract()?,
        per_host_requests: given.getattr("per_host_requests")?.extract()?,
        rate: given.getattr("rate")?.extract()?,
    })
}

/// A request method.
pub(super) fn method_of(name: &Bound<'_, PyString>) -> PyResult<http::Method> {
    method(name.py(), plain("the method", name)?)
}

/// A request method that has been made text of.
pub(super) fn method(py: Python<'_>, name: &str) -> PyResult<http::Method> {
    http::Method::from_bytes(name.to_ascii_uppercase().as_bytes()).map_err(|_| {
        let text = format!("{name:?} is not a request method");
        errors::exception(py, Error::new(Kind::InvalidHeader, text))
    })
}

/// How a request shows who it is from.
#[derive(Clone, Default)]
pub(super) enum Auth {
    #[default]
    None,
    /// Basic and bearer: the header itself.
    Header(HeaderValue),
    /// Digest: an answer to the server's challenge.
    Digest(Arc<Credentials>),
}

/// A `(user, password)` tuple, or one of the auth classes of `offloop.options`.
pub(super) fn auth(given: &Bound<'_, PyAny>) -> PyResult<Auth> {
    static BASIC: Imported = Imported::new("offloop.options", "BasicAuth");
    static BEARER: Imported = Imported::new("offloop.options", "BearerAuth");
    static DIGEST: Imported = Imported::new("offloop.options", "DigestAuth");
    let py = given.py();
    if given.is_none() {
        return Ok(Auth::None);
    }
    if let Ok(pair) = given.cast::<PyTuple>() {
        let (user, password): (String, String) = pair.extract().map_err(|error: PyErr| {
            if error.is_instance_of::<PyUnicodeEncodeError>(py) {
                let text = "user and password contain a lone surrogate";
                return errors::exception(py, Error::new(Kind::InvalidHeader, text));
            }
            PyTypeError::new_err("auth as a tuple must be (user, password), both str")
        })?;
        BASIC.load(py)?.call1((&user, &password))?; // it says what is wrong with them
        return Ok(Auth::Header(basic(&user, &password)));
    }
    let field = |name: &str| given.getattr(name)?.extract::<String>();
    if given.is_instance(BASIC.load(py)?)? {
        return Ok(Auth::Header(basic(&field("user")?, &field("password")?)));
    }
    if given.is_instance(DIGEST.load(py)?)? {
        let credentials = Credentials { user: field("user")?, password: field("password")? };
        return Ok(Auth::Digest(Arc::new(credentials)));
    }
    if given.is_instance(BEARER.load(py)?)? {
        let value = HeaderValue::from_str(&format!("Bearer {}", field("token")?));
        let mut value = value.map_err(|_| {
            let text = "the bearer token has a control character";
            errors::exception(py, Error::new(Kind::InvalidHeader, text))
        })?;
        value.set_sensitive(true);
        return Ok(Auth::Header(value));
    }
    if given.is_callable() {
        // Those of clients and of single requests are called from Python (`offloop._hooks`).
        return Err(PyTypeError::new_err("a function cannot be the auth of this kind of request"));
    }
    let kind = given.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "auth must be (user, password), BasicAuth, BearerAuth, DigestAuth or a function, not {kind}"
    )))
}

/// The value of Authorization for a user and a password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = BASE64.encode(format!("{user}:{password}"));
    // Base64 has no character that a header could not hold.
    let value = HeaderValue::from_str(&format!("Basic {encoded}"));
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// "sha256/BASE64" or "sha256:BASE64" of a public key.
pub(super) fn pin(text: &str) -> PyResult<[u8; 32]> {
    let encoded = text.strip_prefix("sha256/").or_else(|| text.strip_prefix("sha256:"));
    let decoded = encoded.and_then(|encoded| BASE64.decode(encoded).ok()?.try_into().ok());
    decoded.ok_or_else(|| {
        PyValueError::new_err(format!(
            "a pin is \"sha256/…\" with 32 bytes in base64, not {text:?}"
        ))
    })
}

/// Seconds as Python shows them.
pub(super) fn seconds(py: Python<'_>, duration: Duration) -> Bound<'_, PyFloat> {
    PyFloat::new(py, duration.as_secs_f64())
}
