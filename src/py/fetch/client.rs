//! `Client`: checks what it is asked for and makes a Job of it.

use std::sync::{Arc, Mutex};

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use offloop_core::error::{Error, Kind};
use offloop_core::fetch::{self, Follow, Jar, Limits, Options, Request, Timeouts, Url, parse_url};
use offloop_core::runtime;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::content::content;
use super::cookies::PyCookies;
use super::given::{Given, jar, names};
use super::headers::{self, replace};
use super::options::{self, Auth, Bounds, RequestOptions};
use super::request::PyRequest;
use super::response::Again;
use super::target::{append_params, cookie_header, is_absolute, take_user_info, written};
use crate::convert::{Imported, lock};
use crate::download::{self, PyMeter};
use crate::errors;
use crate::job::PyJob;
use crate::label::Label;
use crate::outcome::Outcome;
use crate::progress::Work;

const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("offloop/", env!("CARGO_PKG_VERSION")));
/// What the decoder takes.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");
/// The largest body that is accepted, in bytes.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// The engine of `offloop.Client`: connections are kept and shared by all requests.
#[pyclass(name = "Client", module = "offloop._offloop", frozen, weakref, subclass)]
pub(crate) struct PyClient {
    engine: Mutex<Option<fetch::Client>>,
    base_url: Option<Url>,
    params: Option<Py<PyAny>>,
    /// With the Authorization of `auth`, if that is a header.
    headers: Arc<HeaderMap>,
    /// Without it, for requests that have an `auth` of their own.
    bare_headers: Arc<HeaderMap>,
    auth: Auth,
    bounds: Bounds,
    jar: Option<Jar>,
    /// As they were given; the engine has the defaults otherwise.
    limits: Option<Limits>,
}

#[pymethods]
impl PyClient {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = Given { options };
        given.check_names()?;
        let raise = |error: Error| errors::exception(py, error);
        let mut common = HeaderMap::new();
        common.insert(ACCEPT, HeaderValue::from_static("*/*"));
        common.insert(ACCEPT_ENCODING, CODINGS);
        common.insert(USER_AGENT, USER_AGENT_VALUE);
        if let Some(headers) = given.some("headers")? {
            replace(&mut common, headers::from_python(&headers)?);
        }
        let base_url: Option<Bound<'_, PyString>> = given.value("base_url", None)?;
        let base_url = base_url.as_ref().map(written).transpose()?;
        let mut base_url = base_url.map(parse_url).transpose().map_err(raise)?;
        let mut auth = given.some("auth")?.map_or(Ok(Auth::None), |it| options::auth(&it))?;
        if let Some((user, password)) = base_url.as_mut().and_then(take_user_info) {
            auth = Auth::Header(options::basic(&user, &password));
        }
        let (jar, cookies) = jar(given.some("cookies")?)?;
        if let Some(cookies) = cookies {
            common.insert(COOKIE, cookies);
        }
        let retry = given.some("retries")?.map(|it| options::retry(&it)).transpose()?;
        let retry = retry.unwrap_or_default();
        let limits = given.some("limits")?.map(|it| options::limits(&it)).transpose()?;
        let follow: bool = given.value("follow_redirects", true)?;
        let timeouts = match given.any("timeout")? {
            Some(timeout) => options::timeouts(&timeout, &Timeouts::default())?,
            None => Timeouts::default(),
        };
        let options = Options {
            limits: limits.clone().unwrap_or_default(),
            max_redirects: given.value("max_redirects", 10)?,
            retry_stale: given.value("retry_stale", true)?,
            max_ratio: given.ratio()?,
            cross_origin_headers: names(py, &given.value("cross_origin_headers", Vec::new())?)?,
            retry_budget: retry.budget,
            route: given.route()?,
            versions: given.versions()?,
            proxies: given.proxies(py)?,
            guard: given.guard()?,
            trust: given.trust()?,
            resolve: given.resolve()?,
            jar: jar.clone(),
        };
        let mut headers = common.clone();
        if let Auth::Header(value) = &auth {
            headers.entry(AUTHORIZATION).or_insert_with(|| value.clone());
        }
        let bounds = Bounds {
            timeouts: Arc::new(timeouts),
            max_body: given.optional("max_body", MAX_BODY)?,
            follow: if follow { Follow::Safe } else { Follow::Never },
            retry: Arc::new(retry),
        };
        Ok(Self {
            engine: Mutex::new(Some(fetch::Client::new(options).map_err(raise)?)),
            base_url,
            params: given.some("params")?.map(Bound::unbind),
            headers: Arc::new(headers),
            bare_headers: Arc::new(common),
            auth,
            bounds,
            jar,
            limits,
        })
    }

    /// The Job of one GET request.
    #[pyo3(signature = (url, **options))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        url: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyJob>> {
        if let Some(options) = calls_auth(options)? {
            return with_auth(slf, "request", intern!(slf.py(), "GET"), url, options);
        }
        Bound::new(slf.py(), slf.get().job(slf.py(), Method::GET, url, options)?)
    }

    /// The Job of one request.
    #[pyo3(signature = (method, url, **options))]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        method: &Bound<'py, PyString>,
        url: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyJob>> {
        let py = slf.py();
        if let Some(options) = calls_auth(options)? {
            return with_auth(slf, "request", method, url, options);
        }
        Bound::new(py, slf.get().job(py, options::method_of(method)?, url, options)?)
    }

    /// The Job of a response whose body is read piece by piece.
    #[pyo3(signature = (method, url, **options))]
    fn stream<'py>(
        slf: &Bound<'py, Self>,
        method: &Bound<'py, PyString>,
        url: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyJob>> {
        let py = slf.py();
        if let Some(options) = calls_auth(options)? {
            return with_auth(slf, "stream", method, url, options);
        }
        let method = options::method_of(method)?;
        let (engine, request, feeder, bounded) = slf.get().prepare(method, url, options)?;
        let gathered = request.max_body;
        let request = Request { max_body: gathered.filter(|_| bounded), ..request };
        let mut job = streaming_job(py, engine, request, gathered)?;
        job.feed_by(feeder);
        Bound::new(py, job)
    }

    /// The Job of a download, and its counters; `order` says where to, and how.
    #[pyo3(signature = (url, order, **options))]
    fn _download(
        &self,
        url: &Bound<'_, PyAny>,
        order: &Bound<'_, PyDict>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(PyJob, PyMeter)> {
        let (engine, request, ..) = self.prepare(Method::GET, url, options)?;
        download::job(url.py(), engine, request, order)
    }

    /// The request that the same arguments would send, for functions that look at it.
    #[pyo3(signature = (method, url, **options))]
    fn _describe(
        &self,
        method: &Bound<'_, PyString>,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyRequest> {
        let method = options::method_of(method)?;
        let (_, request, _, _) = self.prepare(method, url, options)?;
        let Request { method, url, headers, .. } = request;
        Ok(PyRequest::new(fetch::Asked { method, url, headers }))
    }

    /// The cookie jar, or None.
    #[getter]
    fn cookies(&self) -> Option<PyCookies> {
        self.jar.clone().map(PyCookies::new)
    }

    /// What the client has done so far: counts and bytes, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        shown(py, &self.engine(py)?.stats())
    }

    /// Lets all idle connections go and refuses further requests; those under way go on.
    fn close(&self) {
        let engine = lock(&self.engine).take();
        if let Some(engine) = engine
            && runtime::check_alive().is_ok()
        {
            engine.close();
        }
    }

    /// Whether `close` has been called.
    #[getter]
    fn is_closed(&self) -> bool {
        lock(&self.engine).is_none()
    }
}

/// What all clients of this process have done, as `Client.stats` says it of one, and their number.
#[pyfunction]
pub(crate) fn fetch_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (stats, clients) = fetch::Stats::of_process().map_err(|it| errors::exception(py, it))?;
    let all = shown(py, &stats)?;
    all.set_item("clients", clients)?;
    Ok(all)
}

fn shown<'py>(py: Python<'py>, stats: &fetch::Stats) -> PyResult<Bound<'py, PyDict>> {
    let shown = PyDict::new(py);
    for (name, count) in [
        ("requests", stats.requests),
        ("in_flight", stats.in_flight),
        ("queued", stats.queued),
        ("failed", stats.failed),
        ("opened", stats.opened),
        ("connections", stats.connections),
        ("idle", stats.idle),
        ("reused", stats.reused),
        ("http2", stats.http2),
        ("replayed", stats.replayed),
        ("retried", stats.retried),
        ("redirected", stats.redirected),
        ("abandoned_lookups", stats.abandoned_lookups),
        ("bytes_sent", stats.bytes_sent),
        ("bytes_received", stats.bytes_received),
        ("bytes_decoded", stats.bytes_decoded),
    ] {
        shown.set_item(name, count)?;
    }
    Ok(shown)
}

/// The options, if a function of the user's is their auth.
fn calls_auth<'a, 'py>(
    options: Option<&'a Bound<'py, PyDict>>,
) -> PyResult<Option<&'a Bound<'py, PyDict>>> {
    let Some(options) = options else { return Ok(None) };
    let auth = options.get_item(intern!(options.py(), "auth"))?;
    Ok(auth.is_some_and(|auth| auth.is_callable()).then_some(options))
}

/// The Job of a request whose auth is a function: it is called from Python, when the Job starts,
/// with no frame of Rust's below it (docs/decisions/0005).
fn with_auth<'py>(
    client: &Bound<'py, PyClient>,
    kind: &str,
    method: &Bound<'py, PyString>,
    url: &Bound<'py, PyAny>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyJob>> {
    static WITH_AUTH: Imported = Imported::new("offloop._hooks", "with_auth");
    let made = WITH_AUTH.load(url.py())?.call1((client, kind, method, url, options))?;
    Ok(made.cast_into()?)
}

/// The Job of a response that is streamed.
pub(super) fn streaming_job(
    py: Python<'_>,
    engine: fetch::Client,
    request: Request,
    max_body: Option<u64>,
) -> PyResult<PyJob> {
    let label = Label::Request(request.method.clone(), Arc::clone(&request.url));
    let (copy, repeated) = (engine.clone(), request.clone());
    let again = Box::new(Again { engine: copy, request: repeated, max_body });
    let operation = Box::pin(async move {
        let response = engine.open(request).await?;
        Ok(Outcome::Stream(response, again))
    });
    PyJob::new(py, label, Work::Operation(operation))
}

impl PyClient {
    /// The limits its user asked for.
    pub(super) fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }

    /// Whether a URL is all that tells its requests apart.
    pub(super) fn is_plain(&self) -> bool {
        self.params.is_none()
    }

    pub(super) fn engine(&self, py: Python<'_>) -> PyResult<fetch::Client> {
        let engine = lock(&self.engine).clone();
        engine.ok_or_else(|| {
            errors::exception(py, Error::new(Kind::Closed, "the client has been closed"))
        })
    }

    fn job(
        &self,
        py: Python<'_>,
        method: Method,
        url: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyJob> {
        let (engine, request, feeder, _) = self.prepare(method, url, options)?;
        let label = Label::Request(request.method.clone(), Arc::clone(&request.url));
        let mut job = PyJob::new(py, label, Work::Fetch(Box::new((engine, request))))?;
        job.feed_by(feeder);
        Ok(job)
    }

    /// The request, who feeds its body if Python does, and whether `max_body` was asked for.
    pub(super) fn prepare(
        &self,
        method: Method,
        url: &Bound<'_, PyAny>,
        given: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(fetch::Client, Request, Option<Py<PyAny>>, bool)> {
        let py = url.py();
        let engine = self.engine(py)?;
        let options = RequestOptions::read(given)?;
        let mut url = self.url(url)?;
        if let Some(params) = &self.params {
            append_params(&mut url, params.bind(py))?;
        }
        if let Some(params) = options.params.as_ref().filter(|it| !it.is_none()) {
            append_params(&mut url, params)?;
        }
        let from_url = take_user_info(&mut url);
        let own_auth = options.auth.is_some() || from_url.is_some();
        let mut all = Arc::clone(if own_auth { &self.bare_headers } else { &self.headers });
        if let Some(given) = options.headers.as_ref().filter(|it| !it.is_none()) {
            replace(Arc::make_mut(&mut all), headers::from_python(given)?);
        }
        if all.contains_key(RANGE) && all.get(ACCEPT_ENCODING) == Some(&CODINGS) {
            // A part of a coded body cannot be decoded.
            let identity = HeaderValue::from_static("identity");
            Arc::make_mut(&mut all).insert(ACCEPT_ENCODING, identity);
        }
        if let Some(given) = options.cookies.as_ref().filter(|it| !it.is_none()) {
            let value = cookie_header(given, all.get(COOKIE))?;
            Arc::make_mut(&mut all).insert(COOKIE, value);
        }
        let auth = match from_url {
            _ if options.auth.is_some() => {
                options.auth.as_ref().map_or(Ok(Auth::None), options::auth)?
            }
            Some((user, password)) => Auth::Header(options::basic(&user, &password)),
            None => self.auth.clone(),
        };
        let digest = match auth {
            Auth::Header(value) if options.auth.is_some() => {
                Arc::make_mut(&mut all).insert(AUTHORIZATION, value);
                None
            }
            Auth::Header(value) => {
                if own_auth {
                    Arc::make_mut(&mut all).entry(AUTHORIZATION).or_insert(value);
                }
                None
            }
            Auth::Digest(credentials) => Some(credentials),
            Auth::None => None,
        };
        let (content, feeder) = content(&options, &mut all)?;
        let bounds = self.bounds.with(&options)?;
        let request = Request {
            method,
            url: Arc::new(url),
            headers: all,
            content,
            digest,
            timeouts: bounds.timeouts,
            max_body: bounds.max_body,
            follow: bounds.follow,
            retry: bounds.retry,
            verbatim: false,
        };
        Ok((engine, request, feeder, options.max_body.is_some()))
    }

    /// `given` as an absolute URL; a path goes behind `base_url`.
    pub(super) fn url(&self, given: &Bound<'_, PyAny>) -> PyResult<Url> {
        self.url_by(given, parse_url)
    }

    /// The same, read by `parse`.
    pub(super) fn url_by(
        &self,
        given: &Bound<'_, PyAny>,
        mut parse: impl FnMut(&str) -> Result<Url, Error>,
    ) -> PyResult<Url> {
        let Ok(text) = given.cast::<PyString>() else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!("url must be str, not {kind}")));
        };
        let text = written(text)?;
        let parsed = match &self.base_url {
            Some(base) if !is_absolute(text) => {
                let base = base.as_str().trim_end_matches('/');
                parse(&format!("{base}/{}", text.trim_start_matches('/')))
            }
            _ => parse(text),
        };
        parsed.map_err(|error| errors::exception(given.py(), error))
    }
}
