//! The options of a client, read by name: what each may be, and what it becomes in core.
//! Runs in the caller's thread with the GIL; nothing is dialled here.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{
    self, Guard, Jar, Network, Proxies, Proxy, Route, Trust, Verify, Versions,
};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use super::cookies::PyCookies;
use super::options;
use super::target::{cookie_header, unless_surrogate};
use crate::errors;

/// How many times larger a body may be when decoded; DEFLATE cannot exceed 1,032.
const MAX_RATIO: u32 = 1100;

/// All options of a client, besides the hooks, which Python calls.
const CLIENT_OPTIONS: [&str; 25] = [
    "auth",
    "base_url",
    "cert",
    "cookies",
    "cross_origin_headers",
    "follow_redirects",
    "guard",
    "headers",
    "http1",
    "http2",
    "limits",
    "max_body",
    "max_decompression_ratio",
    "max_redirects",
    "params",
    "pin",
    "proxy",
    "resolve",
    "retries",
    "retry_stale",
    "timeout",
    "transport",
    "trust_env",
    "uds",
    "verify",
];

/// The options of a client, by name.
pub(super) struct Given<'a, 'py> {
    pub(super) options: Option<&'a Bound<'py, PyDict>>,
}

impl<'py> Given<'_, 'py> {
    pub(super) fn check_names(&self) -> PyResult<()> {
        for name in self.options.iter().flat_map(|options| options.keys()) {
            let name: String = name.extract()?;
            if !CLIENT_OPTIONS.contains(&name.as_str()) {
                return Err(PyTypeError::new_err(format!("a client has no option {name:?}")));
            }
        }
        Ok(())
    }

    pub(super) fn any(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.options.map_or(Ok(None), |options| options.get_item(name))
    }

    /// The option, unless it was left out or is None.
    pub(super) fn some(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.any(name)?.filter(|value| !value.is_none()))
    }

    pub(super) fn value<T>(&self, name: &str, otherwise: T) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py, Error: Into<PyErr>>,
    {
        self.some(name)?.map_or(Ok(otherwise), |value| extract(name, &value))
    }

    /// As `value`, where None means "without".
    pub(super) fn optional<T>(&self, name: &str, otherwise: T) -> PyResult<Option<T>>
    where
        T: for<'a> FromPyObject<'a, 'py, Error: Into<PyErr>>,
    {
        match self.any(name)? {
            None => Ok(Some(otherwise)),
            Some(value) if value.is_none() => Ok(None),
            Some(value) => extract(name, &value).map(Some),
        }
    }

    pub(super) fn ratio(&self) -> PyResult<Option<u32>> {
        let ratio = self.optional("max_decompression_ratio", f64::from(MAX_RATIO))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Ok(ratio.map(|ratio| ratio.ceil() as u32))
    }

    pub(super) fn route(&self) -> PyResult<Route> {
        if let Some(transport) = self.some("transport")? {
            let wanted = "transport must be one of offloop.testing";
            let address: String = options::first(&transport, "address", wanted)?.extract()?;
            let address: SocketAddr = address.parse().map_err(|_| {
                PyValueError::new_err(format!("transport.address is no address: {address:?}"))
            })?;
            return Ok(Route::Fixed(address));
        }
        let path: Option<PathBuf> = self.value("uds", None)?;
        Ok(path.map_or(Route::Natural, Route::Unix))
    }

    pub(super) fn versions(&self) -> PyResult<Versions> {
        let versions =
            Versions { http1: self.value("http1", true)?, http2: self.value("http2", true)? };
        if versions.http1 || versions.http2 {
            return Ok(versions);
        }
        Err(PyValueError::new_err("http1 and http2 are both off: nothing is left to speak"))
    }

    pub(super) fn proxies(&self, py: Python<'_>) -> PyResult<Proxies> {
        let raise = |error: Error| errors::exception(py, error);
        if let Some(proxy) = self.some("proxy")? {
            let text: PyResult<String> = extract("proxy", &proxy);
            let text = text.map_err(|error| {
                let text = "invalid proxy: it contains a lone surrogate";
                unless_surrogate(py, error, || Error::new(Kind::InvalidUrl, text))
            })?;
            return Ok(Proxies::one(Proxy::parse(&text).map_err(raise)?));
        }
        if self.value("trust_env", true)? {
            // What is no text is still set: it fails as a proxy, and does not go unnoticed.
            let variable = |name: &str| {
                std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
            };
            return Proxies::from_env(variable).map_err(raise);
        }
        Ok(Proxies::default())
    }

    pub(super) fn guard(&self) -> PyResult<Option<Guard>> {
        let Some(given) = self.some("guard")? else { return Ok(None) };
        if let Ok(wanted) = given.cast::<PyBool>() {
            return Ok(wanted.is_true().then(Guard::default));
        }
        let allow: Vec<String> =
            options::first(&given, "allow", "guard must be a bool or an offloop.Guard")?
                .extract()?;
        let allow = allow.iter().map(|text| Network::parse(text)).collect::<Result<_, _>>();
        let allow = allow.map_err(|error| errors::exception(given.py(), error))?;
        Ok(Some(Guard { ports: given.getattr("ports")?.extract()?, allow }))
    }

    pub(super) fn trust(&self) -> PyResult<Trust> {
        let verify = match self.some("verify")? {
            None => Verify::System,
            Some(given) => match given.cast::<PyBool>() {
                Ok(wanted) if wanted.is_true() => Verify::System,
                Ok(_) => Verify::Off,
                Err(_) => Verify::Roots(extract("verify", &given)?),
            },
        };
        let verify = match (verify, self.value("trust_env", true)?) {
            (Verify::System, true) => roots_of_environment(),
            (verify, _) => verify,
        };
        let identity = match self.some("cert")? {
            None => None,
            Some(given) => Some(if let Ok(pair) = given.extract::<(PathBuf, PathBuf)>() {
                pair
            } else {
                let both: PathBuf = extract("cert", &given)?;
                (both.clone(), both)
            }),
        };
        let pins = match self.some("pin")? {
            None => Vec::new(),
            Some(given) => match given.extract::<String>() {
                Ok(one) => vec![one],
                Err(_) => extract("pin", &given)?,
            },
        };
        let pins = pins.iter().map(|text| options::pin(text)).collect::<PyResult<_>>()?;
        Ok(Trust { verify, identity, pins })
    }

    pub(super) fn resolve(&self) -> PyResult<Vec<(String, String)>> {
        let Some(given) = self.some("resolve")? else { return Ok(Vec::new()) };
        let entries = given.cast::<PyDict>()?;
        entries
            .iter()
            .map(|(host, address)| Ok((host.extract()?, address.str()?.extract()?)))
            .collect()
    }
}

/// The value of an option, of which an error names the option. What is no number of a fitting size
/// is a `ValueError`, as everywhere else.
pub(super) fn extract<'py, T>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error: Into<PyErr>>,
{
    value.extract().map_err(|error: <T as FromPyObject<'_, 'py>>::Error| {
        let error: PyErr = error.into();
        let py = value.py();
        if error.is_instance_of::<PyTypeError>(py) {
            let text = format!("{name}: {}", error.value(py));
            return PyTypeError::new_err(text);
        }
        if error.is_instance_of::<PyOverflowError>(py) {
            return PyValueError::new_err(format!("{name} must be a number from 0 on, and fit"));
        }
        error
    })
}

/// `SSL_CERT_FILE` or `SSL_CERT_DIR`, as OpenSSL reads them; else the system's roots.
fn roots_of_environment() -> Verify {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    match named("SSL_CERT_FILE").or_else(|| named("SSL_CERT_DIR")) {
        Some(path) => Verify::Preferred(PathBuf::from(path)),
        None => Verify::System,
    }
}

pub(super) fn names(py: Python<'_>, names: &[String]) -> PyResult<Vec<HeaderName>> {
    let parse = |name: &String| fetch::header(name.as_bytes(), b"").map(|(name, _)| name);
    let parsed: Result<Vec<_>, Error> = names.iter().map(parse).collect();
    parsed.map_err(|error| errors::exception(py, error))
}

/// The jar of `cookies=True` or of a Cookies; a mapping is a header instead.
pub(super) fn jar(given: Option<Bound<'_, PyAny>>) -> PyResult<(Option<Jar>, Option<HeaderValue>)> {
    let Some(given) = given else { return Ok((None, None)) };
    if let Ok(wanted) = given.cast::<PyBool>() {
        return Ok((wanted.is_true().then(Jar::new), None));
    }
    if let Ok(cookies) = given.cast::<PyCookies>() {
        return Ok((Some(cookies.get().jar().clone()), None));
    }
    Ok((None, Some(cookie_header(&given, None)?)))
}
