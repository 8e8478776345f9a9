//! The HTTP client: offloop's own policy over engines that only move bytes.
//!
//! `client` runs a request hop by hop; `redirect` decides whether and how the next hop goes.
//! Each hop takes a lane: `plain` (http://, hyper's connections kept in `pool`) or `secure`
//! (https://, reqwest, with the trust of `tls`). Both give an `answer`. `url` admits only what
//! is dialled exactly as written; `failure` names what the engines report.

mod answer;
mod client;
mod failure;
mod plain;
mod pool;
mod redirect;
mod request;
mod response;
mod secure;
mod tls;
mod url;

pub use ::url::Url;
pub use client::{Client, Options};
pub use request::{Request, header};
pub use response::Response;
pub use tls::take_notice_of_bundled_roots;
pub use url::{parse as parse_url, redacted};
