//! The HTTP client: offloop's own policy over reqwest, which only moves the bytes.
//!
//! `client` runs a request hop by hop; `redirect` decides whether and how the next hop goes;
//! `url` admits only what is dialled exactly as written; `tls` builds trust when it is needed;
//! `failure` names what reqwest reports.

mod client;
mod failure;
mod redirect;
mod request;
mod response;
mod tls;
mod url;

pub use ::url::Url;
pub use client::{Client, Options};
pub use request::{Request, header};
pub use response::Response;
pub use tls::bundled_roots_in_use;
pub use url::{parse as parse_url, redacted};
