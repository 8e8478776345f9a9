use super::*;

const SECRET: &str = "hunter2";

fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, Error> {
    Proxies::from_env(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

/// The host of the proxy for `url`.
fn chosen(variables: &[(&str, &str)], url: &str) -> Option<String> {
    let proxies = proxies(variables).unwrap();
    proxies.for_url(&Url::parse(url).unwrap()).map(|proxy| proxy.host.clone())
}

fn is_direct(no_proxy: &str, url: &str) -> bool {
    chosen(&[("all_proxy", "http://proxy"), ("no_proxy", no_proxy)], url).is_none()
}

#[test]
fn a_proxy_has_scheme_host_port_and_credentials() {
    for (text, scheme, host, port) in [
        ("http://proxy.example:3128", Scheme::Http, "proxy.example", 3128),
        ("http://proxy.example", Scheme::Http, "proxy.example", 80),
        ("HTTP://Proxy.Example:80/", Scheme::Http, "proxy.example", 80),
        ("http://proxy.example:443", Scheme::Http, "proxy.example", 443),
        ("https://proxy.example", Scheme::Https, "proxy.example", 443),
        ("https://proxy.example:80", Scheme::Https, "proxy.example", 80),
        ("socks5://127.0.0.1", Scheme::Socks5, "127.0.0.1", 1080),
        ("socks5h://[::1]:80", Scheme::Socks5h, "[::1]", 80),
        ("socks5h://[::1]:443", Scheme::Socks5h, "[::1]", 443),
        ("proxy.example:8080", Scheme::Http, "proxy.example", 8080),
        ("proxy.example", Scheme::Http, "proxy.example", 80),
    ] {
        let proxy = Proxy::parse(text).unwrap();
        assert_eq!((proxy.scheme, proxy.host.as_str(), proxy.port), (scheme, host, port), "{text}");
        assert_eq!(proxy.credentials, None);
        assert_eq!(proxy.authorization(&Method::GET, "http://a/"), None);
        assert!(::url::Host::parse(&proxy.host).is_ok(), "the connector parses it again");
    }
    let proxy = Proxy::parse("http://us%40er:p%3Aw%2F%C3%A9@proxy:1").unwrap();
    assert_eq!(proxy.credentials, Some(("us@er".to_owned(), "p:w/é".to_owned())));
    assert_eq!(proxy.shown(), "http://proxy:1");
    let bare = Proxy::parse("user:pass@proxy:8080").unwrap();
    assert_eq!(bare.credentials, Some(("user".to_owned(), "pass".to_owned())));
    let token = Proxy::parse("http://:token@proxy").unwrap();
    assert_eq!(token.credentials, Some((String::new(), "token".to_owned())));
}

#[test]
fn a_text_that_is_no_proxy_is_refused_and_not_shown() {
    for text in [
        "",
        "http://",
        "http:///proxy",
        "socks4://user:hunter2@proxy",
        "socks://proxy",
        "ftp://proxy",
        "http://user:hunter2@",
        "http://user:hunter2@pro xy",
        "http://a:hunter2@b/c",
        "http://user:hun#ter2@proxy",
        "http://user:hunter2/@proxy",
        "http://user:hunter2?@proxy",
        "http://user:hunter2@proxy:99999",
        "http://user:hunter2@proxy?x",
        "http://x\\@proxy",
        "http://user:hunter2%ff@proxy",
        "http://us%3Aer:hunter2@proxy",
        "http://user@proxy\r\nx: y",
        "://proxy",
        "http://[::1",
    ] {
        let error = Proxy::parse(text).expect_err(text);
        assert_eq!(error.kind, Kind::InvalidUrl, "{text}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    assert!(Proxy::parse(&format!("socks5://{}:x@proxy", "u".repeat(256))).is_err());
}

#[test]
fn credentials_are_shown_nowhere() {
    let proxy = Proxy::parse("http://hunter2:hunter2@proxy").unwrap();
    let authorization = proxy.authorization(&Method::GET, "http://a/").unwrap();
    assert_eq!(authorization, "Basic aHVudGVyMjpodW50ZXIy");
    let proxies = Proxies::one(proxy.clone());
    for shown in
        [format!("{proxy:?}"), format!("{proxies:?}"), proxy.shown(), format!("{authorization:?}")]
    {
        assert!(!shown.contains(SECRET) && !shown.contains("aHVud"), "{shown}");
    }
    let socks = Proxy::parse("socks5://user:pass@proxy").unwrap();
    assert_eq!(socks.authorization(&Method::GET, "http://a/"), None, "SOCKS has no such header");
}

#[test]
fn each_scheme_has_its_variables() {
    let all = [("http_proxy", "http://a"), ("HTTPS_PROXY", "http://b"), ("ALL_PROXY", "http://c")];
    assert_eq!(chosen(&all, "http://x/").as_deref(), Some("a"));
    assert_eq!(chosen(&all, "https://x/").as_deref(), Some("b"));
    assert_eq!(chosen(&all[2..], "http://x/").as_deref(), Some("c"));
    assert_eq!(chosen(&all[2..], "https://x/").as_deref(), Some("c"));
    assert_eq!(chosen(&all[..1], "https://x/"), None);
    assert_eq!(chosen(&[], "https://x/"), None);
}

#[test]
fn lower_case_comes_first_and_empty_is_unset() {
    let both = [("https_proxy", "http://lower"), ("HTTPS_PROXY", "http://upper")];
    assert_eq!(chosen(&both, "https://x/").as_deref(), Some("lower"));
    let empty = [("https_proxy", " "), ("HTTPS_PROXY", "http://upper")];
    assert_eq!(chosen(&empty, "https://x/").as_deref(), Some("upper"));
    let bypass = [("all_proxy", "http://p"), ("no_proxy", ""), ("NO_PROXY", "x")];
    assert_eq!(chosen(&bypass, "https://x/"), None);
}

#[test]
fn under_cgi_the_header_of_a_client_is_no_proxy() {
    let cgi = [("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")];
    assert_eq!(chosen(&cgi, "http://x/"), None);
    assert_eq!(chosen(&cgi[..1], "http://x/").as_deref(), Some("evil"));
    let others = [("ALL_PROXY", "http://good"), cgi[0], cgi[1]];
    assert_eq!(chosen(&others, "http://x/").as_deref(), Some("good"));
    let empty_method = [cgi[0], ("REQUEST_METHOD", "")];
    assert_eq!(chosen(&empty_method, "http://x/"), None);
}

#[test]
fn an_unusable_variable_is_named_without_its_value() {
    let error = proxies(&[("https_proxy", "socks4://user:hunter2@proxy")]).unwrap_err();
    assert_eq!(error.kind, Kind::InvalidUrl);
    assert!(error.message.contains("https_proxy"), "{}", error.message);
    assert!(!error.message.contains(SECRET));
}

#[test]
fn one_proxy_is_for_everything() {
    let one = Proxies::one(Proxy::parse("http://proxy").unwrap());
    for url in ["http://localhost/", "https://example.org/"] {
        assert!(one.for_url(&Url::parse(url).unwrap()).is_some());
    }
    assert!(Proxies::default().for_url(&Url::parse("http://x/").unwrap()).is_none());
}

#[test]
fn no_proxy_matches_as_its_table_says() {
    for (entries, url) in [
        ("*", "http://anything/"),
        ("a, *", "http://anything/"),
        ("example.org", "http://example.org/"),
        ("example.org", "http://www.example.org:8080/"),
        (".example.org", "http://example.org/"),
        (".example.org", "http://a.b.example.org/"),
        ("EXAMPLE.org.", "http://Example.ORG/"),
        ("example.org", "http://www.example.org./"),
        ("bücher.example", "http://www.bücher.example/"),
        ("a b\texample.org", "http://example.org/"),
        ("a,,example.org,", "http://example.org/"),
        ("10.1.2.3", "http://10.1.2.3:99/"),
        ("10.0.0.0/8", "http://10.1.2.3/"),
        ("10.9.9.9/8", "http://10.1.2.3/"),
        ("0.0.0.0/0", "http://10.1.2.3/"),
        ("::1", "http://[::1]/"),
        ("[::1]", "http://[::1]:8080/"),
        ("0:0::1", "http://[::1]/"),
        ("fd00::/8", "http://[fd12::1]/"),
        ("example.org:8080", "http://www.example.org:8080/"),
        ("example.org:443", "https://example.org/"),
        ("10.1.2.3:80", "http://10.1.2.3/"),
        ("[::1]:80", "http://[::1]/"),
        ("*:8080", "http://x:8080/"),
    ] {
        assert!(is_direct(entries, url), "{entries} {url}");
    }
    for (entries, url) in [
        ("example.org", "http://notexample.org/"),
        ("example.org", "http://example.org.evil.example/"),
        ("www.example.org", "http://example.org/"),
        ("*.example.org", "http://www.example.org/"),
        ("example.org:8080", "http://example.org/"),
        ("example.org:80", "https://example.org/"),
        ("example.org:x", "http://example.org/"),
        ("10.0.0.0/8", "http://11.0.0.1/"),
        ("10.0.0.0/8", "http://10.example.org/"),
        ("10.0.0.0/33", "http://10.0.0.0/"),
        ("10.0.0.0/", "http://10.0.0.0/"),
        ("10.", "http://10.0.0.1/"),
        ("0.1", "http://10.0.0.1/"),
        ("127.1", "http://127.0.0.1/"),
        ("127.0.0.1", "http://localhost/"),
        ("localhost", "http://127.0.0.1/"),
        ("::/0", "http://10.0.0.1/"),
        ("[::1]:81", "http://[::1]/"),
        ("[::1]81", "http://[::1]/"),
        (".", "http://example.org/"),
        (",", "http://example.org/"),
        (":80", "http://example.org/"),
        ("http://example.org", "http://example.org/"),
    ] {
        assert!(!is_direct(entries, url), "{entries} {url}");
    }
}
