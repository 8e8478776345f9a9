//! Every way in which an operation can fail, as data.
//!
//! The glue maps each [`Kind`] to one Python exception in one exhaustive `match`; nothing here
//! or there reads the text of a message to find out what happened.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The URL is not one that can be dialled exactly as it is written.
    InvalidUrl,
    /// A method, header name or value that would not survive the wire.
    InvalidHeader,
    /// No connection: refused, unreachable, reset before it stood.
    Connect,
    /// The host name does not resolve.
    Dns,
    /// The TLS handshake failed or the certificate is not trusted.
    Tls,
    /// The proxy refuses, wants other credentials, or speaks no proxy protocol.
    Proxy,
    /// The guard forbids this address.
    BlockedAddress,
    /// No connection of the client's limits came free in time.
    PoolTimeout,
    /// DNS, TCP and TLS together took longer than the connect timeout.
    ConnectTimeout,
    /// The peer sent nothing for longer than the read timeout.
    ReadTimeout,
    /// The peer, or the source of the body, made no progress for longer than the write timeout.
    WriteTimeout,
    /// The whole operation took longer than the caller allows.
    TotalTimeout,
    /// The body dribbles in more slowly than `stall` allows.
    Stalled,
    /// The peer broke the rules of HTTP.
    Protocol,
    /// The body ended before its announced end.
    TruncatedBody,
    /// The head of a response is larger than is accepted.
    HeadersTooLarge,
    /// The body is not in the coding it claims, or ends in the middle of it.
    Decode,
    /// The body is larger than `max_body`, or grows beyond any honest ratio when decoded.
    BodyTooLarge,
    /// More redirects than `max_redirects`.
    TooManyRedirects,
    /// A `Location` that is no honest URL, or carries credentials.
    InvalidRedirect,
    /// A redirect from https to http, or of a body to a foreign origin.
    InsecureRedirect,
    /// The body would have to be sent a second time and cannot be.
    UnreplayableBody,
    /// The source of the request's body failed; the caller's own error is the payload.
    UploadFailed,
    /// The body of a stream was asked for before it was read, or twice.
    StreamMisused,
    /// The queue of a pool is full.
    PoolFull,
    /// A call would wait for its own pool, which waits for it.
    WouldDeadlock,
    /// What a worker is to run before its first call has failed.
    Initializer,
    /// The client, the pool, the loop or the interpreter is shutting down.
    Closed,
    /// The process was forked from one in which offloop was already at work.
    Forked,
    /// The operating system refuses a thread or a descriptor.
    Resources,
    /// There is no memory for what was asked for.
    Memory,
    /// The operating system refuses to read a file.
    File,
    /// The operating system refuses something with the file that `details.path` names.
    Os,
    /// The response has a status that is no success; `details.response` is what came.
    Status,
    /// What was downloaded is not what it should be.
    ChecksumMismatch,
    /// The server's word about the ranges it sends cannot be relied on.
    RangeMismatch,
    /// A name from a URL or a server that is no name for a file.
    UnsafeFilename,
    /// Another download writes to the same file.
    DownloadInProgress,
    /// What is given as a checksum is none.
    InvalidChecksum,
    /// A bug in offloop: Rust code panicked.
    Internal,
}

/// The step of a fetch during which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a connection of the client's limits, or for the rate limit.
    Queue,
    /// Resolving, dialling, proxy, TLS.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the response's head.
    Head,
    /// Reading the response's body.
    Body,
}

impl Phase {
    /// The name users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// What one try of a request got.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The URL asked, redacted.
    pub url: String,
    /// The status, if a response came.
    pub status: Option<u16>,
    /// The failure, if none came.
    pub error: Option<(Kind, String)>,
    /// Whether the connection had served another request before.
    pub reused: bool,
    /// How long the try took.
    pub took: Duration,
}

/// A number that belongs to a failure: a limit, a count, seconds waited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Bytes, redirects, connections.
    Count(u64),
    /// A duration.
    Seconds(f64),
}

/// What is known of a failure beyond its kind and sentence.
#[derive(Default)]
pub struct Details {
    /// Numbers by the name of the exception's attribute, for instance `limit`.
    pub figures: Vec<(&'static str, Figure)>,
    /// Each address that was dialled, and what came of it.
    pub addresses: Vec<(String, String)>,
    /// Every try before and including this one.
    pub attempts: Vec<Attempt>,
    /// The URLs that redirected here, redacted.
    pub history: Vec<String>,
    /// The caller's own error, for the glue to unwrap.
    pub payload: Option<Box<dyn Any + Send + Sync>>,
    /// What was being done, for the glue to show: a fetch's request.
    pub subject: Option<Box<dyn Any + Send + Sync>>,
    /// The response at fault.
    pub response: Option<Box<dyn Any + Send + Sync>>,
    /// The file at fault.
    pub path: Option<PathBuf>,
    /// Words by the name of the exception's attribute, for instance `expected`.
    pub words: Vec<(&'static str, String)>,
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details")
            .field("figures", &self.figures)
            .field("addresses", &self.addresses)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A failure: its kind, a sentence for people, and what is known of the circumstances.
#[derive(Debug)]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// A sentence without secrets: no user info, no query.
    pub message: String,
    /// The URL at fault, without user info, query and fragment.
    pub url: Option<String>,
    /// Where in the fetch it happened.
    pub phase: Option<Phase>,
    /// The system's error number, when the system refused something.
    pub errno: Option<i32>,
    /// The rest, where there is any.
    pub details: Option<Box<Details>>,
}

impl Error {
    /// A failure of which only the kind and the sentence are known.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), url: None, phase: None, errno: None, details: None }
    }

    /// Names the URL, unless one is named; `url` has to be redacted already.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url.get_or_insert_with(|| url.into());
        self
    }

    /// Names the phase, unless one is named.
    #[must_use]
    pub fn during(mut self, phase: Phase) -> Self {
        self.phase.get_or_insert(phase);
        self
    }

    /// Adds a number; `name` becomes an attribute of the exception.
    #[must_use]
    pub fn with(mut self, name: &'static str, figure: Figure) -> Self {
        self.details().figures.push((name, figure));
        self
    }

    /// The rest of what is known, made when it is first asked for.
    pub fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// A system's refusal, with its error number.
    #[must_use]
    pub fn system(kind: Kind, what: &str, error: &std::io::Error) -> Self {
        let mut failure = Self::new(kind, format!("{what}: {error}"));
        failure.errno = error.raw_os_error();
        failure
    }

    /// A system's refusal that has to do with a file.
    #[must_use]
    pub fn os(path: &Path, error: &std::io::Error) -> Self {
        let mut failure = Self::system(Kind::Os, &path.display().to_string(), error);
        failure.details().path = Some(path.to_owned());
        failure
    }

    /// A caught panic as an error; `payload` is what `catch_unwind` gave.
    #[must_use]
    pub fn from_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Self::new(Kind::Internal, format!("a bug in offloop, please report it: panicked: {text}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
