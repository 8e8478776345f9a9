//! Rooms: where a large body is put as it comes, instead of in pieces that are joined at its end.
//!
//! A body of 10 MiB that is kept in pieces takes 10 MiB of fresh pages for these and as many for
//! what they become, and its bytes are read once more when they have left the cache. Copied piece
//! by piece it needs one set of pages, and the engine reads into the same warm buffer again and
//! again (docs/decisions/0013). Runs on the runtime's thread.

use std::any::Any;
use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body::{DecodedBody, Whole};
use super::response::Body;
use crate::error::{Error, Kind, Phase};

/// Bodies from here on get a room: below, the way to it costs more than it saves.
const LEAST: u64 = 1024 * 1024;
/// And up to here: a room is sized by a header, which may promise what never comes. Pages that
/// nothing was written to take no memory, but they take addresses.
const MOST: u64 = 256 * 1024 * 1024;
/// How long the body waits for its room. What comes then is kept in pieces, so that a busy loop
/// holds nothing up.
const PATIENCE: Duration = Duration::from_millis(20);

/// Makes rooms.
pub trait Builder: Debug + Send + Sync {
    /// Asks for room for so many bytes; `None` says that there is no memory for it, a sender that
    /// is dropped, that there is nobody to ask.
    fn order(&self, bytes: usize) -> oneshot::Receiver<Option<Box<dyn Room>>>;
}

/// Room for one body.
pub trait Room: Debug + Send + Sync {
    /// Puts a piece behind the others; what does not fit is left out.
    fn put(&mut self, piece: &[u8]);

    /// The room, for whoever knows what it is.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// The whole body, in a room if it is worth one.
pub(super) async fn collect(
    body: &mut DecodedBody,
    builder: Option<&dyn Builder>,
) -> Result<Body, Error> {
    let size = body.plain_size().filter(|size| (LEAST..=MOST).contains(size));
    match (builder, size.and_then(|size| usize::try_from(size).ok())) {
        (Some(builder), Some(size)) => Box::pin(collect_into(body, builder, size)).await,
        _ => body.collect(Whole::default()).await.map(Body::Whole),
    }
}

async fn collect_into(
    body: &mut DecodedBody,
    builder: &dyn Builder,
    size: usize,
) -> Result<Body, Error> {
    // Only for a body that does begin.
    let Some(first) = body.next().await? else { return Ok(Body::Whole(Whole::default())) };
    let mut early = Whole::default();
    early.append(first);
    let mut ordered = builder.order(size);
    let mut answer = timeout(PATIENCE, &mut ordered).await.ok();
    while answer.is_none() {
        let Some(piece) = body.next().await? else {
            early.finish();
            return Ok(Body::Whole(early));
        };
        early.append(piece);
        answer = match ordered.try_recv() {
            Ok(room) => Some(Ok(room)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => break,
        };
    }
    let mut room = match answer {
        Some(Ok(Some(room))) => room,
        Some(Ok(None)) => {
            let text = format!("there is no memory for a body of {size} bytes");
            return Err(Error::new(Kind::Memory, text).during(Phase::Body));
        }
        Some(Err(_)) | None => return body.collect(early).await.map(Body::Whole),
    };
    early.finish();
    for piece in early.into_pieces() {
        room.put(&piece);
    }
    while let Some(piece) = body.next().await? {
        room.put(&piece);
    }
    Ok(Body::Placed(room))
}
