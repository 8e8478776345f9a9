//! Bodies that do not stay in memory: what takes them instead.
//!
//! A [`Keeper`] is given with a batch; each successful response gets a [`Sink`] of it. Both are
//! called on the runtime's threads and must not block: what does goes to threads of its own.

use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use url::Url;

use super::body::DecodedBody;
use super::response::Body;
use crate::error::Error;

/// A step of a sink.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Takes bodies.
pub trait Keeper: Debug + Send + Sync {
    /// Makes room for the body that `url` is going to be asked for.
    ///
    /// # Errors
    /// Why it could not be taken: then `url` is not asked.
    fn begin(&self, url: &Url) -> Result<Box<dyn Sink>, Error>;

    /// The most bytes of one body.
    fn max_body(&self) -> Option<u64>;
}

/// Takes one body. Dropped before it is finished, it leaves nothing behind.
pub trait Sink: Send {
    /// Takes the next piece.
    fn write(&mut self, piece: Bytes) -> Step<'_, ()>;

    /// The body is whole.
    fn finish(self: Box<Self>) -> Step<'static, Kept>;
}

/// A body that went into a file.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Puts a body where it is to go.
pub(super) async fn keep(body: &mut DecodedBody, mut sink: Box<dyn Sink>) -> Result<Body, Error> {
    while let Some(piece) = body.next().await? {
        sink.write(piece).await?;
    }
    sink.finish().await.map(Body::Kept)
}
