//! A response whose body is taken piece by piece on the runtime itself: what a download reads.
//!
//! Nothing reads ahead here. Whoever takes the pieces decides when the next one is asked for, and
//! dropping it closes the connection unless the body has come to its end.

use bytes::Bytes;

use super::body::{DecodedBody, Whole};
use super::response::{Body, Head, Response};
use super::url::redacted;
use crate::error::{Error, Kind, Phase};

/// The most of a body that is kept to be shown with a failure.
const SHOWN: u64 = 64 * 1024;

/// A response, and its body to come.
#[derive(Debug)]
pub struct Opened {
    /// With an empty body.
    response: Box<Response>,
    body: DecodedBody,
}

impl Opened {
    pub(super) fn new(response: Box<Response>, body: DecodedBody) -> Self {
        Self { response, body }
    }

    /// All of the response but its body.
    #[must_use]
    pub fn outline(&self) -> Response {
        self.response.outline()
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.response.head
    }

    /// How many bytes will come over the wire, where the server has said so.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        self.body.announced()
    }

    /// The next piece, decoded; `None` after the last one.
    ///
    /// # Errors
    /// Whatever went wrong on the way.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.body.next().await
    }

    /// The failure that this response is where a success is needed, with the beginning of its body.
    pub async fn refused(mut self) -> Box<Error> {
        let mut whole = Whole::default();
        while (whole.len() as u64) < SHOWN {
            match self.body.next().await {
                Ok(Some(piece)) => whole.append(piece),
                Ok(None) | Err(_) => break,
            }
        }
        whole.finish();
        self.response.received = self.body.received();
        self.response.body = Body::Whole(whole);
        let (status, shown) = (self.head().status, redacted(&self.head().asked.url));
        let mut error = Error::new(Kind::Status, format!("{status} for {shown}"));
        error = error.at(shown).during(Phase::Head);
        error.details().subject = Some(Box::new(self.head().asked.clone()));
        error.details().response = Some(self.response);
        Box::new(error)
    }
}
