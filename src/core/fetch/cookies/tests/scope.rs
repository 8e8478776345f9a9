//! Which hosts, paths and schemes get a cookie, and which may set it.

use super::*;

#[test]
fn a_cookie_is_for_its_host_unless_a_domain_is_given() {
    let www = "http://www.shop.example/";
    check(&[
        (www, &["a=1"], www, "a=1"),
        (www, &["a=1"], "http://www.shop.example:8080/", "a=1"),
        (www, &["a=1"], "http://WWW.Shop.EXAMPLE/", "a=1"),
        (www, &["a=1"], "http://shop.example/", ""),
        (www, &["a=1"], "http://x.www.shop.example/", ""),
        (www, &["a=1; Domain=.Shop.Example"], "http://shop.example/", "a=1"),
        (www, &["a=1; Domain=shop.example"], "http://x.www.shop.example/", "a=1"),
        (www, &["a=1; Domain=shop.example"], "http://bshop.example/", ""),
        (www, &["a=1; Domain=www.shop.example"], "http://x.www.shop.example/", "a=1"),
        (www, &["a=1; Domain=x.www.shop.example"], "http://x.www.shop.example/", ""),
        (www, &["a=1; Domain=mail.shop.example"], "http://mail.shop.example/", ""),
        (www, &["a=1; Domain=ww.shop.example"], www, ""),
        (www, &["a=1; Domain=op.example"], www, ""),
        (www, &["a=1; Domain=..shop.example"], www, ""),
        (www, &["a=1; Domain=shop.example:80"], www, ""),
        (www, &["a=1; Domain=\"shop.example\""], www, ""),
        (www, &["a=1; Domain=shöp.example"], www, ""),
        (www, &["a=1; Domain="], "http://x.www.shop.example/", ""),
        (www, &["a=1; Domain=."], www, "a=1"),
        // Both are kept: one is for the host alone.
        (www, &["a=1; Domain=www.shop.example", "a=2"], www, "a=1; a=2"),
        ("http://bücher.example/", &["a=1"], "http://xn--bcher-kva.example/", "a=1"),
    ]);
}

#[test]
fn no_cookie_is_for_a_public_suffix() {
    let com = "https://a.com/";
    let pages = "https://me.github.io/";
    check(&[
        (com, &["a=1; Domain=com"], com, ""),
        (com, &["a=1; Domain=com"], "https://b.com/", ""),
        (com, &["a=1; Domain=.COM"], "https://b.com/", ""),
        (com, &["a=1; Domain=com."], com, ""),
        ("https://a.co.uk/", &["a=1; Domain=co.UK"], "https://b.co.uk/", ""),
        ("https://a.co.uk/", &["a=1; Domain=a.co.uk"], "https://b.a.co.uk/", "a=1"),
        (pages, &["a=1; Domain=github.io"], "https://you.github.io/", ""),
        ("https://github.io/", &["a=1; Domain=github.io"], "https://github.io/", "a=1"),
        ("https://github.io/", &["a=1; Domain=github.io"], pages, ""),
        // Rules with a wildcard and an exception.
        ("https://a.b.ck/", &["a=1; Domain=b.ck"], "https://a.b.ck/", ""),
        ("https://a.www.ck/", &["a=1; Domain=www.ck"], "https://www.ck/", "a=1"),
        ("https://公司.cn/", &["a=1; Domain=xn--55qx5d.cn"], "https://x.公司.cn/", ""),
        // Names of no list: the last label counts as public.
        ("http://a.lan/", &["a=1; Domain=lan"], "http://b.lan/", ""),
        ("http://localhost/", &["a=1; Domain=localhost"], "http://localhost/", "a=1"),
        ("http://localhost/", &["a=1; Domain=localhost"], "http://x.localhost/", ""),
    ]);
}

#[test]
fn a_trailing_dot_makes_another_host() {
    let dotted = "https://www.shop.example./";
    check(&[
        (dotted, &["a=1"], dotted, "a=1"),
        (dotted, &["a=1"], "https://www.shop.example/", ""),
        ("https://www.shop.example/", &["a=1"], dotted, ""),
        (dotted, &["a=1; Domain=shop.example"], dotted, ""),
        (dotted, &["a=1; Domain=shop.example."], "https://shop.example./", "a=1"),
        (dotted, &["a=1; Domain=shop.example."], "https://shop.example/", ""),
        (dotted, &["a=1; Domain=example."], dotted, ""),
        ("https://a.co.uk./", &["a=1; Domain=co.uk."], "https://b.co.uk./", ""),
        ("https://shop.example/", &["a=1; Domain=shop.example."], "https://shop.example/", ""),
    ]);
}

#[test]
fn addresses_have_no_subdomains() {
    check(&[
        ("http://127.0.0.1/", &["a=1"], "http://127.0.0.1:81/", "a=1"),
        ("http://127.0.0.1/", &["a=1; Domain=127.0.0.1"], "http://127.0.0.1/", "a=1"),
        ("http://127.0.0.1/", &["a=1; Domain=0.0.1"], "http://127.0.0.1/", ""),
        ("http://127.0.0.1/", &["a=1; Domain=1"], "http://127.0.0.1/", ""),
        ("http://1.0.0.1/", &["a=1"], "http://127.0.0.1/", ""),
        ("http://[::1]/", &["a=1"], "http://[::1]/", "a=1"),
        ("http://[::1]/", &["a=1; Domain=[::1]"], "http://[0::1]/", "a=1"),
        ("http://[::1]/", &["a=1; Domain=::2"], "http://[::1]/", ""),
    ]);
    let mut store = Store::default();
    receive(&mut store, "http://127.0.0.1/", b"a=1; Domain=127.0.0.1");
    assert!(store.alive(NOW)[0].host_only);
}

#[test]
fn paths_match_whole_segments() {
    let page = "http://shop.example/a/b";
    check(&[
        (page, &["c=1"], "http://shop.example/a/z?q", "c=1"),
        (page, &["c=1"], "http://shop.example/a", "c=1"),
        (page, &["c=1"], "http://shop.example/ab", ""),
        (page, &["c=1"], "http://shop.example/", ""),
        (page, &["c=1; Path=relative"], "http://shop.example/a/", "c=1"),
        (page, &["c=1; Path=relative"], "http://shop.example/", ""),
        (page, &["c=1; Path=/x/"], "http://shop.example/x/y", "c=1"),
        (page, &["c=1; Path=/x/"], "http://shop.example/x", ""),
        (page, &["c=1; Path=/x"], "http://shop.example/x/", "c=1"),
        (page, &["c=1; Path=/x"], "http://shop.example/xy", ""),
        (page, &["c=1; Path=/X"], "http://shop.example/x", ""),
        (page, &["c=1; Path=/%78"], "http://shop.example/x", ""),
        (page, &["c=1; Path=\"/a\""], "http://shop.example/a/", "c=1"),
        ("http://shop.example", &["c=1"], "http://shop.example/any", "c=1"),
        ("http://shop.example/a?b/c", &["c=1"], "http://shop.example/any", "c=1"),
        ("http://shop.example/a/", &["c=1"], "http://shop.example/a", "c=1"),
        // Longer paths first, then older cookies; a replaced cookie keeps its age.
        (page, &["c=1; Path=/", "d=2", "e=3; Path=/", "c=4; Path=/"], page, "d=2; c=4; e=3"),
        (page, &["c=1; Path=/", "d=1; Domain=shop.example; Path=/"], page, "c=1; d=1"),
    ]);
}

#[test]
fn secure_cookies_keep_to_https() {
    let (http, https) = ("http://shop.example/", "https://shop.example/");
    check(&[
        (https, &["a=1; Secure"], https, "a=1"),
        (https, &["a=1; secure=no"], http, ""),
        (https, &["a=1"], http, "a=1"),
        (http, &["a=1; Secure"], https, ""),
        (http, &["a=1; \"Secure\""], https, "a=1"),
        ("http://localhost/", &["a=1; Secure"], "https://localhost/", ""),
        ("https://localhost/", &["a=1; Secure"], "http://localhost/", ""),
        ("http://127.0.0.1/", &["a=1; Secure"], "http://127.0.0.1/", ""),
    ]);
}

#[test]
fn http_cannot_replace_or_shadow_what_https_set() {
    for (line, kept) in [
        ("a=2", "a=1"),
        ("a=2; Domain=shop.example", "a=1"),
        ("a=2; Path=/login/en", "a=1"),
        ("a=; Max-Age=0", "a=1"),
        ("b=2", "a=1; b=2"),
        ("A=2", "a=1; A=2"),
        // Not below the path of the secure one.
        ("a=2; Path=/", "a=1; a=2"),
    ] {
        let mut store = Store::default();
        receive(&mut store, "https://shop.example/login/", b"a=1; Secure; Domain=shop.example");
        receive(&mut store, "http://shop.example/login/", line.as_bytes());
        assert_eq!(sent(&mut store, "https://shop.example/login/"), kept, "{line}");
    }
    for (host, kept) in [("www.shop.example", ""), ("mail.shop.example", "a=2")] {
        let mut store = Store::default();
        receive(&mut store, "https://www.shop.example/", b"a=1; Secure");
        receive(&mut store, &format!("http://{host}/"), b"a=2; Domain=mail.shop.example");
        assert_eq!(sent(&mut store, "http://mail.shop.example/"), kept);
    }
    // From above, too; https itself may do what it likes.
    let mut store = Store::default();
    receive(&mut store, "https://www.shop.example/", b"a=1; Secure");
    receive(&mut store, "http://shop.example/", b"a=2; Domain=shop.example");
    assert_eq!(sent(&mut store, "https://www.shop.example/"), "a=1");
    receive(&mut store, "https://www.shop.example/", b"a=3");
    assert_eq!(sent(&mut store, "http://www.shop.example/"), "a=3");
}

#[test]
fn prefixes_keep_what_they_promise_in_any_case() {
    let (http, https) = ("http://shop.example/", "https://shop.example/");
    check(&[
        (https, &["__Secure-a=1; Secure"], https, "__Secure-a=1"),
        (https, &["__Secure-a=1"], https, ""),
        (https, &["__sEcUrE-a=1"], https, ""),
        (http, &["__Secure-a=1; Secure"], https, ""),
        (https, &["__Host-a=1; Secure; Path=/"], https, "__Host-a=1"),
        (https, &["__Host-a=1; Secure"], https, ""),
        (https, &["__HOST-a=1; Path=/"], https, ""),
        (https, &["__Host-a=1; Secure; Path=/x"], "https://shop.example/x", ""),
        (https, &["__Host-a=1; Secure; Path=/; Domain=shop.example"], https, ""),
        (https, &["=__Host-a=1; Secure; Path=/"], https, ""),
        (https, &["__secure-a; Secure"], https, ""),
        (https, &["__Secure=1", "__Hos-a=1"], https, "__Secure=1; __Hos-a=1"),
    ]);
}
