//! Fetching for Python: `client` makes Jobs of what it is `given` once and of the `options`, the
//! `target` and the `content` of each request; `relay` makes those of another library; `upload`
//! feeds bodies. `response`, `request`, `headers`, `cookies` and `byte_stream` are what comes back;
//! `batch` is for many at once, with `fetched` for each, which goes `packed` between processes.

mod batch;
mod byte_stream;
pub(crate) mod client;
mod content;
mod cookies;
mod fetched;
mod given;
mod headers;
mod options;
mod packed;
pub(crate) mod relay;
mod request;
mod response;
pub(crate) mod rooms;
mod target;
mod upload;

pub(crate) use batch::PyBatch;
pub(crate) use byte_stream::PyByteStream;
pub(crate) use client::PyClient;
pub(crate) use cookies::PyCookies;
pub(crate) use fetched::PyFetched;
pub(crate) use headers::PyHeaders;
pub(crate) use request::PyRequest;
pub(crate) use response::{Again, PyResponse};
pub(crate) use upload::PyUpload;
