//! Asks a proxy for a tunnel, over a stream to it that is open: HTTP's CONNECT, and SOCKS 5.
//!
//! Not one byte behind the proxy's answer is read: it would belong to the tunnel. The answers are
//! read byte by byte for that, which costs system calls, but only some hundred per connection.
//! There is no time limit here: dropping the future is one, and the stream is of no use then.

use std::io;
use std::net::IpAddr;

use http::header::PROXY_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::proxy::Proxy;
use crate::error::{Error, Figure, Kind, Phase};

/// The most bytes of an answer to CONNECT, and header lines in it; arbitrary, and more than any
/// proxy sends on success.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xff;

/// Where a SOCKS proxy is to connect to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A name that the proxy resolves.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}

/// Makes `stream` a tunnel to `host` and `port` by CONNECT (RFC 9110 §9.3.6). An IPv6 address as
/// `host` is in brackets. False means that the proxy has made a digest challenge, after so many
/// `answers` to others, and is to be asked once more, on another stream.
///
/// # Errors
/// `Proxy`, with the `status` if the proxy answered with one that is not 2xx.
pub(super) async fn connect<S>(
    stream: &mut S,
    proxy: &Proxy,
    host: &str,
    port: u16,
    answers: u32,
) -> Result<bool, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if host.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(failed(proxy, "the host to connect to is none"));
    }
    let mut request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization(&Method::CONNECT, &format!("{host}:{port}")) {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    send(stream, &request).await.map_err(|error| broken(proxy, &error))?;

    let mut room = MAX_HEAD;
    loop {
        let head = read_head(stream, proxy, &mut room).await?;
        match status(&head).ok_or_else(|| failed(proxy, "its answer is not HTTP/1"))? {
            // Interim answers (RFC 9110 §15.2); 101 would be the last of HTTP.
            100 | 102..=199 => {}
            200..=299 => return Ok(true),
            407 if proxy.challenges(&challenges(&head), answers) => return Ok(false),
            407 => return Err(refused(proxy, 407, "it wants other credentials")),
            status => return Err(refused(proxy, status, "it refuses to connect")),
        }
    }
}

/// Makes `stream` a tunnel by SOCKS 5 (RFC 1928), with user and password (RFC 1929) if `proxy`
/// has them and asks for them.
///
/// # Errors
/// `Proxy`.
pub(super) async fn socks5<S>(
    stream: &mut S,
    proxy: &Proxy,
    target: Target<'_>,
    port: u16,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: io::Error| broken(proxy, &error);
    let request = socks_request(target, port)
        .ok_or_else(|| failed(proxy, "SOCKS takes host names of 1 to 255 bytes"))?;
    let greeting: &[u8] = match proxy.credentials {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
    };
    send(stream, greeting).await.map_err(broken)?;
    let [version, method] = receive(stream).await.map_err(broken)?;
    if version != VERSION {
        return Err(failed(proxy, "it does not speak SOCKS 5"));
    }
    match (method, &proxy.credentials) {
        (NO_AUTHENTICATION, _) => {}
        (USER_AND_PASSWORD, Some((user, password))) => {
            let credentials = socks_credentials(user, password)
                .ok_or_else(|| failed(proxy, "the credentials are too long for SOCKS"))?;
            send(stream, &credentials).await.map_err(broken)?;
            let [_, status] = receive(stream).await.map_err(broken)?;
            if status != 0 {
                return Err(failed(proxy, "it wants other credentials"));
            }
        }
        (NOTHING_ACCEPTABLE, None) => return Err(failed(proxy, "it wants credentials")),
        (NOTHING_ACCEPTABLE, Some(_)) => {
            return Err(failed(proxy, "it takes neither user and password nor nobody"));
        }
        _ => return Err(failed(proxy, "it chose a way of authentication that was not offered")),
    }
    send(stream, &request).await.map_err(broken)?;
    let [version, reply, _, kind] = receive(stream).await.map_err(broken)?;
    if version != VERSION {
        return Err(failed(proxy, "it does not speak SOCKS 5"));
    }
    if reply != 0 {
        return Err(failed(proxy, &format!("it refuses to connect: {}", reply_name(reply))));
    }
    // The address it connects from is of no interest, but it stands before the tunnel's bytes.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let [length] = receive(stream).await.map_err(broken)?;
            usize::from(length)
        }
        _ => return Err(failed(proxy, "its answer holds an address of no known kind")),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await.map_err(broken)?;
    Ok(())
}

async fn read_head<S>(stream: &mut S, proxy: &Proxy, room: &mut usize) -> Result<Vec<u8>, Error>
where
    S: AsyncRead + Unpin,
{
    let mut head = Vec::with_capacity(256);
    // Lines may end without a carriage return (RFC 9112 §2.2).
    while !(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")) {
        if *room == 0 {
            return Err(failed(proxy, "its answer is longer than 16 KiB"));
        }
        *room -= 1;
        head.push(stream.read_u8().await.map_err(|error| broken(proxy, &error))?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).ok()?;
    if parsed.is_complete() { response.code } else { None }
}

/// What a head says of the authentication that is wanted.
fn challenges(head: &[u8]) -> HeaderMap {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let mut found = HeaderMap::new();
    if response.parse(head).is_ok() {
        for header in response.headers {
            if header.name.eq_ignore_ascii_case(PROXY_AUTHENTICATE.as_str())
                && let Ok(value) = HeaderValue::from_bytes(header.value)
            {
                found.append(PROXY_AUTHENTICATE, value);
            }
        }
    }
    found
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await
}

async fn receive<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<[u8; N]> {
    let mut message = [0; N];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn socks_request(target: Target<'_>, port: u16) -> Option<Vec<u8>> {
    let mut request = vec![VERSION, 1, 0];
    match target {
        Target::Address(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Target::Address(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Target::Name(name) => {
            request.push(3);
            request.extend(counted(name)?);
        }
    }
    request.extend(port.to_be_bytes());
    (!matches!(target, Target::Name(""))).then_some(request)
}

fn socks_credentials(user: &str, password: &str) -> Option<Vec<u8>> {
    let mut message = vec![1];
    message.extend(counted(user)?);
    message.extend(counted(password)?);
    Some(message)
}

/// A text behind its length in one byte.
fn counted(text: &str) -> Option<impl Iterator<Item = u8>> {
    let length = u8::try_from(text.len()).ok()?;
    Some(std::iter::once(length).chain(text.bytes()))
}

/// The names of RFC 1928 §6.
fn reply_name(reply: u8) -> String {
    let name = match reply {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "the time to live ran out",
        7 => "it does not know the command",
        8 => "it does not know the kind of address",
        _ => return format!("unknown reply {reply}"),
    };
    format!("{name} (reply {reply})")
}

fn refused(proxy: &Proxy, status: u16, why: &str) -> Error {
    let error = failed(proxy, &format!("{why} (status {status})"));
    error.with("status", Figure::Count(status.into()))
}

fn broken(proxy: &Proxy, error: &io::Error) -> Error {
    let mut failure = match error.kind() {
        io::ErrorKind::UnexpectedEof => failed(proxy, "it closed the connection"),
        _ => failed(proxy, &error.to_string()),
    };
    failure.errno = error.raw_os_error();
    failure
}

fn failed(proxy: &Proxy, why: &str) -> Error {
    let text = format!("no tunnel through the proxy {}: {why}", proxy.shown());
    Error::new(Kind::Proxy, text).during(Phase::Connect)
}

#[cfg(test)]
mod tests;
