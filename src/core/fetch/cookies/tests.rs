//! What a `Set-Cookie` means: tables of lines and of what is sent afterwards.

use std::collections::HashMap;

use super::*;

mod jar;
mod scope;

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600;

fn receive(store: &mut Store, url: &str, line: &[u8]) {
    let url = Url::parse(url).unwrap();
    store.receive(&Origin::of(&url).unwrap(), line, NOW);
}

fn sent_at(store: &mut Store, url: &str, now: i64) -> String {
    let url = Url::parse(url).unwrap();
    let line = store.line_for(&Origin::of(&url).unwrap(), now);
    line.map(|line| text(&line)).unwrap_or_default()
}

fn sent(store: &mut Store, url: &str) -> String {
    sent_at(store, url, NOW)
}

/// Sets each line at the first URL and asks what the second one gets.
fn check(cases: &[(&str, &[&str], &str, &str)]) {
    for (from, lines, to, expected) in cases {
        let mut store = Store::default();
        for line in *lines {
            receive(&mut store, from, line.as_bytes());
        }
        assert_eq!(sent(&mut store, to), *expected, "{from} sets {lines:?}, request to {to}");
    }
}

/// Sets each line at `https://www.shop.example/a/b` and asks what the same URL gets.
fn check_lines(cases: &[(&[&str], &str)]) {
    let url = "https://www.shop.example/a/b";
    for (lines, expected) in cases {
        check(&[(url, lines, url, expected)]);
    }
}

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(SET_COOKIE, HeaderValue::from_str(line).unwrap());
    }
    headers
}

/// The law of the store.
fn obeys(store: &Store) -> bool {
    let all = store.alive(i64::MIN);
    let mut domains: HashMap<&str, usize> = HashMap::new();
    for cookie in &all {
        *domains.entry(&cookie.domain).or_default() += 1;
    }
    all.len() <= store::IN_ALL && domains.values().all(|count| *count <= store::PER_DOMAIN)
}

#[test]
fn names_and_values_are_kept_as_they_are_written() {
    check_lines(&[
        (&["a=1"], "a=1"),
        (&["a=1", "b=2"], "a=1; b=2"),
        (&["a=1", "b=2", "a=3"], "a=3; b=2"),
        (&["a=1, b=2"], "a=1, b=2"),
        (&["a=\"1; x\""], "a=\"1"),
        (&["a=\"1\""], "a=\"1\""),
        (&[" \t a \t = \t 1 2 \t ; Path=/"], "a=1 2"),
        (&["a==1=2="], "a==1=2="),
        (&["a="], "a="),
        (&["a b=c"], "a b=c"),
        (&["a=\t1\t2"], "a=1\t2"),
        (&["a=ä☃"], "a=ä☃"),
        (&["A=1", "a=2"], "A=1; a=2"),
        (&["$Version=1; a=2"], "$Version=1"),
    ]);
}

#[test]
fn nameless_cookies_are_refused() {
    check_lines(&[
        (&["lone"], ""),
        (&["=lone"], ""),
        (&["=a=b"], ""),
        (&["one", "two"], ""),
        (&["one", "a=1"], "a=1"),
        (&["lone; Max-Age=10"], ""),
        (&[""], ""),
        (&["="], ""),
        (&["  ; Path=/"], ""),
        (&[";a=1"], ""),
    ]);
}

#[test]
fn control_characters_and_floods_are_refused() {
    let fits = "v".repeat(4095);
    let long = "v".repeat(4096);
    let path = format!("/a{}", "/".repeat(1023));
    check_lines(&[
        (&["a=1\0"], ""),
        (&["a\r=1"], ""),
        (&["a=1\nb=2"], ""),
        (&["a=1\x1f"], ""),
        (&["a=1\x7f"], ""),
        (&["a=1; Path=/\x01"], ""),
        (&[&format!("a={fits}")], &format!("a={fits}")),
        (&[&format!("a={long}")], ""),
        (&[&long], ""),
        (&[&format!("a=1; Path={path}")], "a=1"),
        (&[&format!("a=1; Domain=other.example; Domain={long}")], ""),
        (&[&format!("a=1; Unknown={long}; HttpOnly")], "a=1"),
    ]);
}

#[test]
fn bytes_that_are_no_text_come_back_unchanged() {
    let url = Url::parse("http://shop.example/").unwrap();
    let value = HeaderValue::from_bytes(b"caf\xe9=\xff\x80 \xc3\xa4").unwrap();
    let jar = Jar::new();
    jar.store(&url, &HeaderMap::from_iter([(SET_COOKIE, value)]));
    assert_eq!(jar.header_for(&url).unwrap().as_bytes(), b"caf\xe9=\xff\x80 \xc3\xa4");
    assert!(jar.header_for(&url).unwrap().is_sensitive());
    assert_eq!(jar.list()[0].name, "café");
    let again = Jar::from_json(&jar.to_json()).unwrap();
    assert_eq!(again.header_for(&url).unwrap().as_bytes(), b"caf\xe9=\xff\x80 \xc3\xa4");
}

#[test]
fn the_last_of_several_attributes_counts() {
    check_lines(&[
        (&["a=1; path=/x; PATH=/"], "a=1"),
        (&["a=1; Path=/; Path=/x"], ""),
        (&["a=1; Path=/x; Path="], "a=1"),
        (&["a=1; Domain=other.example; Domain=shop.example"], "a=1"),
        (&["a=1; Domain=shop.example; Domain=other.example"], ""),
        (&["a=1; Domain=other.example; Domain="], "a=1"),
        (&["a=1; Max-Age=0; Max-Age=9"], "a=1"),
        (&["a=1; Max-Age=9; Max-Age=0"], ""),
        (&["a=1; Max-Age=0; Max-Age=x"], ""),
    ]);
}

#[test]
fn max_age_beats_expires_and_both_are_lenient() {
    check_lines(&[
        (&["a=1; Expires=Wed, 31-Dec-25 23:59:59 GMT"], ""),
        (&["a=1; Expires=Thu, 01 Jan 2026 00:00:01 GMT"], "a=1"),
        (&["a=1; Expires=never"], "a=1"),
        (&["a=1; Expires=Wed, 31-Dec-25 23:59:59 GMT; Max-Age=5"], "a=1"),
        (&["a=1; Max-Age=0; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], ""),
        (&["a=1; Max-Age=-5"], ""),
        (&["a=1; Max-Age=-0"], ""),
        (&["a=1; Max-Age=-"], "a=1"),
        (&["a=1; Max-Age="], "a=1"),
        (&["a=1; Max-Age=+0"], "a=1"),
        (&["a=1; Max-Age=0x1"], "a=1"),
        (&["a=1; Max-Age=99999999999999999999999"], "a=1"),
        (&["a=1; Max-Age=-99999999999999999999999"], ""),
        (&["a=1", "a=2; Max-Age=0"], ""),
        (&["a=1", "a=2; Path=/; Max-Age=0"], "a=1"),
    ]);
}

#[test]
fn cookies_end_on_time_and_within_400_days() {
    let url = "https://shop.example/";
    let mut store = Store::default();
    receive(&mut store, url, b"session=1");
    receive(&mut store, url, b"short=1; Max-Age=10");
    receive(&mut store, url, b"long=1; Max-Age=99999999999");
    receive(&mut store, url, b"late=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT");
    assert_eq!(sent_at(&mut store, url, NOW + 10), "session=1; short=1; long=1; late=1");
    assert_eq!(sent_at(&mut store, url, NOW + 11), "session=1; long=1; late=1");
    let days = 400 * 86_400;
    assert_eq!(sent_at(&mut store, url, NOW + days), "session=1; long=1; late=1");
    assert_eq!(sent_at(&mut store, url, NOW + days + 1), "session=1");
    assert_eq!(store.alive(i64::MIN).len(), 1);
}

#[test]
fn dates_are_read_as_servers_write_them() {
    let day = 86_400;
    for (text, expected) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Thursday, 01-Jan-70 00:00:01 GMT", Some(1)),
        ("Thu Jan  1 00:01:00 1970", Some(60)),
        ("1970 1 JANUARY 1:0:0", Some(3600)),
        ("1 JANUARY 1970 1:0:0", Some(3600)),
        ("01 jAnxyz 1970 00:00:00.999", Some(0)),
        ("01 Jan 1970 00:00:00Z", Some(0)),
        ("01 Jan 1970 00:00:000", None),
        ("01 Jan 1970 0:0:0:0", Some(0)),
        ("01 Jan 1970 000:00:00", None),
        ("01 Jan 1970 00:00", None),
        ("01 Jan 1970 00x:00:00", None),
        ("01st Jan 1970 00:00:00", Some(0)),
        ("Fri, 31-Dec-99 23:59:59 GMT", Some(946_684_799)),
        ("Thu, 31-Dec-69 23:59:59 GMT", Some(3_155_759_999)),
        ("1 Mar 2024 0:0:0", Some(19_783 * day)),
        ("29 Feb 2024 0:0:0", Some(19_782 * day)),
        ("29 Feb 2023 0:0:0", None),
        ("29 Feb 2000 0:0:0", Some(11_016 * day)),
        ("29 Feb 1900 0:0:0", None),
        ("31 Apr 2024 0:0:0", None),
        ("0 Jan 2024 0:0:0", None),
        ("32 Jan 2024 0:0:0", None),
        ("1 Jan 2024 24:0:0", None),
        ("1 Jan 2024 0:60:0", None),
        ("1 Jan 2024 0:0:60", None),
        ("1 Jan 1601 0:0:0", Some(-134_774 * day)),
        ("1 Jan 1600 0:0:0", None),
        ("1 Jan 20240 0:0:0", None),
        ("1 Jan 202 0:0:0", None),
        ("1;Jan<2024[0:0:0", Some(19_723 * day)),
        ("1 Foo 2024 0:0:0", None),
        ("1 Jan 0:0:0", None),
        ("", None),
    ] {
        assert_eq!(date::parse(text.as_bytes()), expected, "{text}");
    }
}
