//! Every way in which an operation can fail, as data.
//!
//! The glue maps each [`Kind`] to one Python exception in one exhaustive `match`; nothing here
//! or there reads the text of a message to find out what happened.

use std::fmt;

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
    /// DNS, TCP and TLS together took longer than the connect timeout.
    ConnectTimeout,
    /// The whole operation took longer than the caller allows.
    TotalTimeout,
    /// The peer broke the rules of HTTP.
    Protocol,
    /// The body ended before its announced end.
    TruncatedBody,
    /// The body is larger than `max_body`.
    BodyTooLarge,
    /// More redirects than `max_redirects`.
    TooManyRedirects,
    /// A `Location` that is missing its target, or carries credentials.
    InvalidRedirect,
    /// A redirect from https to http.
    InsecureRedirect,
    /// The queue of a pool is full.
    PoolFull,
    /// The pool, the loop or the interpreter is shutting down.
    Closed,
    /// The process was forked from one in which offloop was already at work.
    Forked,
    /// The operating system refuses a thread or a descriptor.
    Resources,
    /// A bug in offloop: Rust code panicked.
    Internal,
}

/// The step of a fetch during which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving, dialling, TLS.
    Connect,
    /// Sending the request and waiting for the response's head.
    Head,
    /// Reading the response's body.
    Body,
}

impl Phase {
    /// The name users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Body => "body",
        }
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
}

impl Error {
    /// A failure of which only the kind and the sentence are known.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), url: None, phase: None, errno: None }
    }

    /// Names the URL; `url` has to be redacted already.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Names the phase.
    #[must_use]
    pub fn during(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// A caught panic as an error; `payload` is what `catch_unwind` gave.
    #[must_use]
    pub fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
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
