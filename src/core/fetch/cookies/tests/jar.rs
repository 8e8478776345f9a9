//! The jar as a whole: caps, what users do, files, and bytes at random.

use super::*;

#[test]
fn a_domain_holds_fifty_and_gives_up_insecure_ones_first() {
    let url = "https://shop.example/";
    let mut store = Store::default();
    for count in 0..40 {
        receive(&mut store, url, format!("s{count}=1; Secure").as_bytes());
    }
    receive(&mut store, url, b"short=1; Max-Age=1");
    for count in 0..200 {
        receive(&mut store, "http://shop.example/", format!("n{count}=1").as_bytes());
        assert!(obeys(&store));
    }
    let kept = sent(&mut store, url);
    assert_eq!(kept.matches('s').count(), 40);
    assert_eq!(kept.matches('n').count(), 10);
    assert!(kept.ends_with("; n199=1") && kept.contains("; n190=1"), "{kept}");
    // Without insecure ones, the one that was unused for longest goes.
    for count in 40..51 {
        receive(&mut store, url, format!("s{count}=1; Secure").as_bytes());
    }
    let kept = sent(&mut store, url);
    assert!(kept.starts_with("s1=1; s2=1"), "{kept}");
    // An insecure one finds no room then.
    receive(&mut store, url, b"n=1");
    assert_eq!(sent(&mut store, url), kept);
}

#[test]
fn a_jar_holds_three_thousand_and_gives_up_the_least_used() {
    let mut store = Store::default();
    let host = |count: usize| format!("https://h{count}.example/");
    for count in 0..3000 {
        receive(&mut store, &host(count), b"a=1");
    }
    assert_eq!(sent(&mut store, &host(0)), "a=1");
    receive(&mut store, "https://late.example/", b"a=1; Max-Age=100");
    assert_eq!(sent(&mut store, &host(1)), "");
    assert_eq!(sent(&mut store, &host(0)), "a=1");
    assert_eq!(store.alive(NOW).len(), 3000);
    // Expired ones go before those that are still good.
    let url = Url::parse("https://later.example/").unwrap();
    store.receive(&Origin::of(&url).unwrap(), b"a=1", NOW + 101);
    assert_eq!(sent(&mut store, "https://late.example/"), "");
    assert_eq!(sent(&mut store, &host(2)), "a=1");
    assert_eq!(store.alive(i64::MIN).len(), 3000);
}

#[test]
fn users_set_list_and_delete() {
    let jar = Jar::new();
    jar.set("a", "1", "Shop.Example", "/", false, None).unwrap();
    jar.set("b", "hunter2", ".shop.example", "/x", true, None).unwrap();
    jar.set("c", "3", "::1", "/", false, Some(now() + 1_000_000_000)).unwrap();
    jar.set("d", "4", "127.0.0.1", "/", false, None).unwrap();
    let list = jar.list();
    let seen: Vec<_> = list
        .iter()
        .map(|it| (&*it.name, &*it.domain, it.host_only, &*it.path, it.secure))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", "shop.example", true, "/", false),
            ("b", "shop.example", false, "/x", true),
            ("c", "[::1]", true, "/", false),
            ("d", "127.0.0.1", true, "/", false),
        ]
    );
    assert!(list[2].expires.unwrap() <= now() + 400 * 86_400);
    let url = Url::parse("https://shop.example/x/y").unwrap();
    assert_eq!(jar.clone().header_for(&url).unwrap(), "b=hunter2; a=1");
    assert!(!format!("{jar:?} {list:?}").contains("hunter2"));
    assert_eq!(jar.delete("a", Some("other.example"), None), 0);
    assert_eq!(jar.delete("a", None, Some("/x")), 0);
    assert_eq!(jar.delete("b", Some(".SHOP.example"), Some("/x")), 1);
    assert_eq!(jar.delete("d", Some("not a host"), None), 0);
    jar.set("a", "1", "shop.example", "/", false, Some(0)).unwrap();
    assert_eq!(jar.list().len(), 2);
    jar.clear();
    assert!(jar.list().is_empty());
}

#[test]
fn users_cannot_set_what_no_server_could() {
    let jar = Jar::new();
    let long = "x".repeat(4096);
    for (name, value, domain, path, secure) in [
        ("a\r\n", "1", "shop.example", "/", false),
        ("a", "1\r\nX: y", "shop.example", "/", false),
        ("a", "1\0", "shop.example", "/", false),
        ("a", "1; b=2", "shop.example", "/", false),
        ("a;", "1", "shop.example", "/", false),
        ("a=b", "1", "shop.example", "/", false),
        ("", "1", "shop.example", "/", false),
        (" a", "1", "shop.example", "/", false),
        ("a", "1\t", "shop.example", "/", false),
        ("a", &long, "shop.example", "/", false),
        ("a", "1", "", "/", false),
        ("a", "1", ".", "/", false),
        ("a", "1", "..shop.example", "/", false),
        ("a", "1", "shop.example:80", "/", false),
        ("a", "1", "https://shop.example", "/", false),
        ("a", "1", "sh%6Fp.example", "/", false),
        ("a", "1", "0x7f.1", "/", false),
        ("a", "1", ".127.0.0.1", "/", false),
        ("a", "1", ".co.uk", "/", false),
        ("a", "1", "shop.example", "", false),
        ("a", "1", "shop.example", "x", false),
        ("a", "1", "shop.example", "/;", false),
        ("a", "1", "shop.example", "/\n", false),
        ("__Secure-a", "1", "shop.example", "/", false),
        ("__host-a", "1", "shop.example", "/x", true),
        ("__Host-a", "1", ".shop.example", "/", true),
    ] {
        let error = jar.set(name, value, domain, path, secure, None).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidHeader);
        assert!(!error.message.contains('1') || error.message.contains("1024"), "{error}");
    }
    assert!(jar.list().is_empty());
}

#[test]
fn a_saved_jar_comes_back_as_it_was() {
    let jar = Jar::new();
    let url = Url::parse("https://www.shop.example/a/b").unwrap();
    jar.store(
        &url,
        &headers(&[
            "session=\"q\\uo\tte\"; HttpOnly",
            "lone=1",
            "wide=ä; Domain=shop.example; Secure; SameSite=lax; Max-Age=1000",
            "deep=1; Path=/a; SameSite=Strict; SameSite=huh",
            "none=1; SameSite=NONE",
            "gone=1; Max-Age=0",
        ]),
    );
    let again = Jar::from_json(&jar.to_json()).unwrap();
    assert_eq!(again.list().len(), 5);
    assert_eq!(again.list(), jar.list());
    assert_eq!(again.list()[2].same_site, Some(SameSite::Lax));
    assert_eq!(again.list()[3].same_site, None);
    assert_eq!(again.header_for(&url), jar.header_for(&url));
    assert!(Jar::from_json(&Jar::new().to_json()).unwrap().list().is_empty());
}

#[test]
fn a_full_jar_of_the_largest_cookies_can_be_read_again() {
    let jar = Jar::new();
    let value = HeaderValue::from_bytes(&[b"a=".as_slice(), &[0xff; 4095]].concat()).unwrap();
    let headers = HeaderMap::from_iter([(SET_COOKIE, value)]);
    for count in 0..30 {
        let path = format!("{}/{count:02}", "/".repeat(1021));
        let url = format!("http://{}.example{path}/", vec!["x".repeat(60); 3].join("."));
        jar.store(&Url::parse(&url).unwrap(), &headers);
    }
    let saved = jar.to_json();
    assert!(saved.len() * store::IN_ALL / 30 < saved::LARGEST);
    assert_eq!(Jar::from_json(&saved).unwrap().list().len(), 30);
}

#[test]
fn a_hostile_file_gets_nothing_in() {
    let good = r#"{"name":"a","value":"1","domain":"shop.example","host_only":false,"path":"/",
        "secure":true,"http_only":false,"same_site":null,"expires":null}"#;
    let file = |record: &str| format!(r#"{{"version":1,"cookies":[{record}]}}"#);
    assert_eq!(Jar::from_json(&file(good)).unwrap().list().len(), 1);
    for (from, to) in [
        (r#""1""#, r#""1\r\n""#),
        (r#""1""#, r#""1;b=2""#),
        (r#""a""#, r#""a\u0000""#),
        (r#""a""#, r#""a=b""#),
        (r#""a""#, r#""__Host-a""#),
        (r#""shop.example""#, r#""com""#),
        (r#""shop.example""#, r#""Shop.Example""#),
        (r#""shop.example""#, r#"".shop.example""#),
        (r#""shop.example""#, r#""127.0.0.1""#),
        (r#""shop.example""#, r#""""#),
        (r#""/""#, r#""x""#),
        (r#""/""#, r#""/\n""#),
        (r#""expires":null"#, r#""expires":1"#),
        (r#""secure""#, r#""latin1":true,"secure""#),
    ] {
        let record = good.replace(from, to).replace(r#""1","domain"#, r#""ł","domain"#);
        assert!(Jar::from_json(&file(&record)).unwrap().list().is_empty(), "{to}");
    }
    let late = good.replace(r#""expires":null"#, r#""expires":9223372036854775807"#);
    let end = Jar::from_json(&file(&late)).unwrap().list()[0].expires.unwrap();
    assert!(end <= now() + 400 * 86_400);
    let secret = good.replace("null}", r#""hunter2"}"#);
    let many = vec![good; 3001].join(",");
    let deep = "[".repeat(1_000_000);
    let wide = " ".repeat((40 << 20) + 1);
    let newer = file("").replace('1', "2");
    let half = &file(good)[..80];
    for text in ["", "[]", "{}", "null", &file(&secret), &file(&many), &deep, &wide, &newer, half] {
        let error = Jar::from_json(text).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidHeader);
        assert!(!error.message.contains("hunter2"));
    }
    // A file that cannot be read changes nothing.
    let jar = Jar::from_json(&file(good)).unwrap();
    assert!(jar.load(half).is_err());
    assert_eq!(jar.list().len(), 1);
}

#[test]
fn a_response_shows_the_cookies_it_sets() {
    let url = Url::parse("https://shop.example/").unwrap();
    let lines = ["b=1", "a=2; Path=/elsewhere", "b=3", "c=4; Domain=com", "d=5; Max-Age=0", "e"];
    let pairs = set_by(&url, &headers(&lines));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, [("b", "3"), ("a", "2")]);
    assert!(set_by(&url, &HeaderMap::new()).is_empty());
}

/// xorshift64*, Vigna 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % most
    }
}

#[test]
fn no_bytes_make_it_panic_or_break_its_law() {
    const PIECES: [&str; 32] = [
        "a",
        "=",
        ";",
        " ",
        "\t",
        ",",
        "\"",
        "; Domain=",
        ".",
        "shop.example",
        "com",
        "[::1]",
        "; Path=",
        "/",
        "; Max-Age=",
        "-",
        "0",
        "99999999999999999999",
        "; Expires=",
        "Jan",
        "2026",
        "1:2:3",
        "; Secure",
        "; SameSite=",
        "Lax",
        "__Host-",
        "__Secure-",
        "ä",
        "\u{feff}",
        "\0",
        "\r\n",
        "; HttpOnly",
    ];
    let urls = [
        "http://shop.example/a/b",
        "https://www.shop.example./",
        "http://127.0.0.1/",
        "https://[::1]/",
        "https://a.co.uk/x",
        "http://localhost/",
    ]
    .map(|url| Url::parse(url).unwrap());
    let mut random = Random(0x5eed);
    let mut store = Store::default();
    let mut now = NOW;
    let mut kept = 0;
    for round in 0..10_000 {
        let mut line = Vec::new();
        for _ in 0..random.below(12) {
            if random.below(8) == 0 {
                line.push(u8::try_from(random.below(256)).unwrap());
            } else {
                line.extend_from_slice(PIECES[random.below(PIECES.len())].as_bytes());
            }
        }
        let origin = Origin::of(&urls[random.below(urls.len())]).unwrap();
        let _ = date::parse(&line);
        let _ = domain::canonical(&text(&line));
        let _ = saved::read(&text(&line), now);
        store.receive(&origin, &line, now);
        if let Some(sent) = store.line_for(&origin, now) {
            assert!(HeaderValue::from_bytes(&sent).is_ok());
        }
        now += i64::try_from(random.below(3)).unwrap();
        if round % 500 == 0 {
            assert!(obeys(&store));
            let alive = store.alive(now);
            kept = kept.max(alive.len());
            // Whatever got in may be saved, and comes back.
            let again = saved::read(&saved::write(&alive), now).unwrap();
            assert_eq!(again.len(), alive.len());
            assert!(again.iter().zip(alive).all(|(new, old)| new.pair() == old.pair()));
        }
    }
    assert!(kept > 50, "{kept}");
}
