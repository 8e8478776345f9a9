//! The HTTP client: offloop's own policy over hyper's connections.
//!
//! # Layout
//! * `client` runs a request to its answer: hops by `redirect`, tries `again` by `retry`, `digest`
//!   challenges, the `cookies` of the jar. `journey` is what it went through, `timeout` the clock
//!   that runs along, `stats` counts.
//! * `batch` runs many requests at once, each through `client`.
//! * `keep` is where bodies go that do not stay in memory, `room` where large ones go that do.
//! * `exchange` sends one request, a `message` of hyper, on a connection of the `pool` and takes the
//!   head of the answer, if it is one to `accept`.
//! * `connect` makes connections: `proxy` and `guard` say where to, `resolve` and `dial` get
//!   there, `tunnel` leads through proxies, `tls` says whom to believe, `stream` is what comes out
//!   and `ear` what it hears.
//! * `request` and `upload` are what goes out; `response`, `body`, `decode` and `readahead` what
//!   comes in; `opened` is a response whose body a download takes.
//! * `url` admits only what is dialled exactly as written; `failure` names what engines report.

mod accept;
mod again;
mod batch;
mod body;
mod client;
mod connect;
mod cookies;
mod decode;
mod dial;
mod digest;
mod ear;
mod exchange;
mod failure;
mod guard;
mod journey;
mod keep;
mod message;
mod opened;
mod pool;
mod proxy;
mod readahead;
mod redirect;
mod request;
mod resolve;
mod response;
mod retry;
mod room;
mod stats;
mod stream;
mod timeout;
mod tls;
mod tunnel;
mod upload;
mod url;

pub use ::url::Url;
pub use batch::{Batch, BatchOptions, Ended, Fetched, Item, Outcome, Progress, Turn};
pub use body::Whole;
pub use client::{Client, Options};
pub use connect::{Route, Versions};
pub use cookies::{CookieView, Jar, SameSite, set_by};
pub use ear::AsSent;
pub use guard::{Guard, Network};
pub use keep::{Keeper, Kept, Sink, Step};
pub use opened::Opened;
pub use pool::Limits;
pub use proxy::{Proxies, Proxy};
pub use readahead::ReadAhead;
pub use request::{Credentials, Follow, Request, header};
pub use response::{Asked, Body, Head, Response, Timings};
pub use retry::{Retry, retry_after};
pub use room::{Builder, Room};
pub use stats::Stats;
pub use timeout::Timeouts;
pub use tls::{Trust, Verify, take_notice_of_bundled_roots};
pub use upload::{Content, Piece, Upload};
pub use url::{Sites, no_text, parse as parse_url, redacted};
