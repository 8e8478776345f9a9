use tokio::io::{DuplexStream, duplex};

use super::*;

fn proxy(text: &str) -> Proxy {
    Proxy::parse(text).unwrap()
}

/// Plays a proxy: expects and answers by turns, then sends a byte of the tunnel.
async fn play(mut far: DuplexStream, script: &[(&[u8], &[u8])]) -> DuplexStream {
    for (expected, answer) in script {
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
        far.write_all(answer).await.unwrap();
    }
    far
}

/// The outcome of `connect` when the proxy answers so, and the byte behind the answer.
async fn connected(answer: &[u8]) -> Result<(), Error> {
    let (mut near, mut far) = duplex(64 * 1024);
    let proxy = proxy("http://proxy:3128");
    far.write_all(answer).await.unwrap();
    far.write_all(b"T").await.unwrap();
    far.shutdown().await.unwrap();
    connect(&mut near, &proxy, "example.org", 443, 0).await?;
    assert_eq!(near.read_u8().await.unwrap(), b'T', "no byte of the tunnel is lost");
    Ok(())
}

async fn socks(proxy: &Proxy, target: Target<'_>, script: &[(&[u8], &[u8])]) -> Result<(), Error> {
    let (mut near, far) = duplex(1024);
    let tunnel = async {
        let made = socks5(&mut near, proxy, target, 443).await;
        if made.is_ok() {
            assert_eq!(near.read_u8().await.unwrap(), b'T', "no byte of the tunnel is lost");
        }
        drop(near);
        made
    };
    let far = async {
        let mut far = play(far, script).await;
        let _ = far.write_all(b"T").await;
    };
    tokio::join!(tunnel, far).0
}

const NAME: Target<'_> = Target::Name("a.example");
const ASK_NAME: &[u8] = b"\x05\x01\x00\x03\x09a.example\x01\xbb";
const BOUND: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

#[tokio::test]
async fn connect_sends_host_and_credentials_and_nothing_else() {
    let (mut near, far) = duplex(1024);
    let proxy = proxy("http://user:pass@proxy:3128");
    let request = b"CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\n\
                    Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    let script: [(&[u8], &[u8]); 1] = [(request, b"HTTP/1.1 200 OK\r\n\r\n")];
    let (made, _far) =
        tokio::join!(connect(&mut near, &proxy, "[::1]", 8443, 0), play(far, &script));
    made.unwrap();
}

#[tokio::test]
async fn a_digest_challenge_is_answered_once_and_then_the_answer_is_final() {
    let proxy = proxy("http://user:pass@proxy:3128");
    let refusal = b"HTTP/1.1 407 X\r\nproxy-authenticate: Digest realm=p, nonce=n\r\n\r\n";
    let ask = |answers: u32| {
        let (mut near, mut far) = duplex(1024);
        let proxy = &proxy;
        async move {
            far.write_all(refusal).await.unwrap();
            let made = connect(&mut near, proxy, "a.example", 443, answers).await;
            drop(near);
            let mut asked = String::new();
            far.read_to_string(&mut asked).await.unwrap();
            (made, asked)
        }
    };
    let (made, asked) = ask(0).await;
    assert!(!made.unwrap());
    assert!(asked.contains("Proxy-Authorization: Basic "), "{asked}");
    let (made, asked) = ask(1).await;
    assert_eq!(made.unwrap_err().kind, Kind::Proxy);
    assert!(asked.contains("Proxy-Authorization: Digest username=\"user\""), "{asked}");
    assert!(asked.contains("uri=\"a.example:443\""), "{asked}");
    assert!(!asked.contains("dXNlcjpwYXNz"), "{asked}");
}

#[tokio::test]
async fn every_2xx_makes_a_tunnel_whatever_the_headers_say() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
        "HTTP/1.1 299 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        connected(answer.as_bytes()).await.unwrap_or_else(|error| panic!("{answer:?}: {error}"));
    }
}

#[tokio::test]
async fn a_refusal_tells_its_status() {
    for status in [101, 302, 400, 403, 407, 502] {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nabc");
        let mut error = connected(answer.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Proxy);
        assert_eq!(error.details().figures, [("status", Figure::Count(status))]);
        assert_eq!(error.message.contains("credentials"), status == 407);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_the_proxys_fault() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "SSH-2.0-x\r\n\r\n",
        "\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        &long,
        &endless,
    ] {
        let error = connected(answer.as_bytes()).await.expect_err(answer);
        assert_eq!(error.kind, Kind::Proxy);
        assert_eq!(error.phase, Some(Phase::Connect));
    }
}

#[tokio::test]
async fn a_host_cannot_smuggle_a_header() {
    let (mut near, _far) = duplex(1024);
    let made = connect(&mut near, &proxy("http://proxy"), "a\r\nX: y", 443, 0).await;
    assert_eq!(made.unwrap_err().kind, Kind::Proxy);
}

#[tokio::test]
async fn socks_connects_to_names_and_addresses() {
    let proxy = proxy("socks5h://proxy");
    socks(&proxy, NAME, &[(b"\x05\x01\x00", b"\x05\x00"), (ASK_NAME, BOUND)]).await.unwrap();
    let v4 = Target::Address([10, 1, 2, 3].into());
    let ask: &[u8] = b"\x05\x01\x00\x01\x0a\x01\x02\x03\x01\xbb";
    let bound: &[u8] = b"\x05\x00\x00\x03\x02ab\x00\x00";
    socks(&proxy, v4, &[(b"\x05\x01\x00", b"\x05\x00"), (ask, bound)]).await.unwrap();
    let v6 = Target::Address("::1".parse().unwrap());
    let ask: &[u8] = b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    let bound: &[u8] = b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    socks(&proxy, v6, &[(b"\x05\x01\x00", b"\x05\x00"), (ask, bound)]).await.unwrap();
}

#[tokio::test]
async fn socks_gives_credentials_only_when_asked() {
    let proxy = proxy("socks5://user:pass@proxy");
    let offered: &[u8] = b"\x05\x02\x00\x02";
    let given: &[u8] = b"\x01\x04user\x04pass";
    socks(&proxy, NAME, &[(offered, b"\x05\x00"), (ASK_NAME, BOUND)]).await.unwrap();
    let script = [(offered, b"\x05\x02".as_slice()), (given, b"\x01\x00"), (ASK_NAME, BOUND)];
    socks(&proxy, NAME, &script).await.unwrap();
    let error = socks(&proxy, NAME, &[(offered, b"\x05\x02"), (given, b"\x01\x01")]).await;
    let text = error.unwrap_err().message;
    assert!(text.contains("other credentials") && !text.contains("pass@"), "{text}");
}

#[tokio::test]
async fn socks_names_what_went_wrong() {
    let bare = proxy("socks5://proxy");
    let hello: &[u8] = b"\x05\x01\x00";
    for (script, wanted) in [
        (vec![(hello, b"\x05\xff".as_slice())], "it wants credentials"),
        (vec![(hello, b"\x05\x02")], "not offered"),
        (vec![(hello, b"\x04\x00")], "does not speak SOCKS 5"),
        (vec![(hello, b"H")], "does not speak SOCKS 5"),
        (vec![(hello, b"\x05\x00"), (ASK_NAME, b"\x05\x02\x00\x01")], "rules do not allow"),
        (vec![(hello, b"\x05\x00"), (ASK_NAME, b"\x05\x05\x00\x01")], "connection refused"),
        (vec![(hello, b"\x05\x00"), (ASK_NAME, b"\x05\x63\x00\x01")], "unknown reply 99"),
        (vec![(hello, b"\x05\x00"), (ASK_NAME, b"\x05\x00\x00\x09")], "no known kind"),
        (vec![(hello, b"\x05\x00"), (ASK_NAME, b"\x05\x00\x00\x01")], "closed the connection"),
    ] {
        let error = socks(&bare, NAME, &script).await.expect_err(wanted);
        assert_eq!(error.kind, Kind::Proxy);
        assert!(error.message.contains(wanted), "{}", error.message);
    }
    let long = "x".repeat(256);
    for name in ["", &long] {
        let error = socks(&bare, Target::Name(name), &[]).await.unwrap_err();
        assert!(error.message.contains("255 bytes"));
    }
}

#[test]
fn tunnels_may_be_made_on_any_thread() {
    fn is_send(_: impl Send) {}
    let (mut near, mut far) = duplex(1);
    let proxy = proxy("http://proxy");
    is_send(connect(&mut near, &proxy, "a", 1, 0));
    is_send(socks5(&mut far, &proxy, NAME, 1));
}
