//! The byte stream below a connection: TCP, a unix socket, or TLS over either (or over TLS, for
//! an https proxy).
//!
//! A peer that answers early and closes makes further writes fail while its answer is still to be
//! read (RFC 9112 §9.5). So what cannot be written any more is thrown away silently: the reading
//! side then finds the answer, or the end of the connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::ear::Ear;

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    /// The peer takes no more bytes.
    deaf: bool,
    /// What came in; for those who must know whether an answer has begun, and how it looks.
    ear: Arc<Ear>,
    /// Bytes read since this connection last let others run.
    in_one_go: usize,
}

/// A server that floods us must not keep the other connections of this thread waiting: after so
/// many bytes its connection goes to the end of the line. Arbitrary.
const IN_ONE_GO: usize = 256 * 1024;

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<TlsStream<Stream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        let peer = stream.peer_addr().ok();
        Self::new(Transport::Tcp(stream), peer)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::new(Transport::Unix(stream), None)
    }
}

impl From<TlsStream<Stream>> for Stream {
    fn from(stream: TlsStream<Stream>) -> Self {
        let peer = stream.get_ref().0.ear.peer;
        Self::new(Transport::Tls(Box::new(stream)), peer)
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.transport {
            Transport::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            #[cfg(unix)]
            Transport::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl Stream {
    fn new(transport: Transport, peer: Option<SocketAddr>) -> Self {
        let ear = Arc::new(Ear::of(peer));
        Self { transport, deaf: false, ear, in_one_go: 0 }
    }

    /// Hears whatever comes in.
    pub(super) fn ear(&self) -> Arc<Ear> {
        Arc::clone(&self.ear)
    }

    /// Notes that the peer takes no more; other outcomes pass through.
    fn listen_on<T>(&mut self, outcome: Poll<io::Result<T>>, as_if: T) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match outcome {
            Poll::Ready(Err(error))
                if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(as_if))
            }
            other => other,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.in_one_go > IN_ONE_GO {
            self.in_one_go = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = forward!(self, stream => stream.poll_read(context, buffer));
        match buffer.filled().get(before..).unwrap_or_default() {
            [] => self.in_one_go = 0,
            brought => {
                self.in_one_go += brought.len();
                self.ear.hear(brought);
            }
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(data.len()));
        }
        let written = forward!(self, stream => stream.poll_write(context, data));
        self.listen_on(written, data.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length));
        }
        let written = forward!(self, stream => stream.poll_write_vectored(context, pieces));
        self.listen_on(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = forward!(self, stream => stream.poll_flush(context));
        self.listen_on(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let closed = forward!(self, stream => stream.poll_shutdown(context));
        self.listen_on(closed, ())
    }
}
