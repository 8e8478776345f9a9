//! What a request holds while it is under way: its connection and its permits.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Http1, Http2};
use super::host::Host;
use super::{Pool, acquire, lock};

/// What a request holds until its body has ended. Dropped in this order: connection, permits.
#[derive(Debug)]
pub(in crate::fetch) struct Lease {
    pub(in crate::fetch) connection: Connection,
    pub(in crate::fetch) reused: bool,
    pub(in crate::fetch) host: Arc<Host>,
    pub(super) _permits: Permits,
}

#[derive(Debug)]
pub(in crate::fetch) enum Connection {
    Http1(Http1),
    Http2(Arc<Http2>, OwnedSemaphorePermit),
}

/// The right to have a request under way; given back when dropped.
#[derive(Debug)]
pub(in crate::fetch) struct Permits {
    pub(super) _host: Option<OwnedSemaphorePermit>,
    pub(super) _all: Option<OwnedSemaphorePermit>,
    pub(super) connection: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Lease {
    pub(in crate::fetch) fn own(
        connection: Http1,
        reused: bool,
        host: Arc<Host>,
        permits: Permits,
    ) -> Self {
        Self { connection: Connection::Http1(connection), reused, host, _permits: permits }
    }

    /// A stream of `connection`, once it has room for one.
    pub(in crate::fetch) async fn stream(
        connection: Arc<Http2>,
        reused: bool,
        host: Arc<Host>,
        permits: Permits,
    ) -> Option<Self> {
        let stream = acquire(&connection.streams).await?;
        let connection = Connection::Http2(connection, stream);
        Some(Self { connection, reused, host, _permits: permits })
    }

    /// The response has been read to its end: the connection may serve another request.
    pub(in crate::fetch) fn release(self, pool: &Arc<Pool>) {
        let Self { connection, host, _permits: permits, .. } = self;
        match connection {
            Connection::Http1(connection) => {
                if !connection.sender.is_closed() && !pool.is_closed() {
                    lock(&host.idle).push((connection, Instant::now()));
                    pool.watch();
                }
            }
            Connection::Http2(connection, stream) => {
                *lock(&connection.last_used) = Instant::now();
                drop(stream);
                pool.watch();
            }
        }
        drop(permits);
    }
}
