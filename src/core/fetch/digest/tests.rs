//! The examples of the RFCs, and servers that mean no good.

use http::header::WWW_AUTHENTICATE;

use super::*;

fn challenge(lines: &[&str]) -> Option<Challenge> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(WWW_AUTHENTICATE, value);
    }
    Challenge::parse(&headers, WWW_AUTHENTICATE)
}

fn answer(line: &str, user: &str, cnonce: &str) -> String {
    let mut challenge = challenge(&[line]).unwrap();
    let value = challenge.answer(user, "secret", &Method::GET, "/", Some(cnonce));
    assert!(value.is_sensitive());
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

const RFC_7616: [&str; 2] = [
    r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
    r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
];

#[test]
fn the_examples_of_rfc_7616_with_md5_and_sha_256() {
    let answers = [
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ];
    for (line, (algorithm, response)) in RFC_7616.iter().zip(answers) {
        let cnonce = Some("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
        let mut challenge = challenge(&[line]).unwrap();
        let target = "/dir/index.html";
        let answer = challenge.answer("Mufasa", "Circle of Life", &Method::GET, target, cnonce);
        let wanted = format!(
            r#"Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm={algorithm}, qop=auth, nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ""#
        );
        assert_eq!(answer, wanted);
    }
}

/// The values of RFC 7616 §3.9.2 are wrong (erratum 4897); these are the corrected ones.
#[test]
fn the_example_of_rfc_7616_with_sha_512_256_and_a_hashed_user_name() {
    let line = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true"#;
    let cnonce = Some("NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v");
    let (user, password) = ("Jäsøn Doe", "Secret, or not?");
    let mut hashed = challenge(&[line]).unwrap();
    let answer = hashed.answer(user, password, &Method::GET, "/doe.json", cnonce);
    let answer = answer.to_str().unwrap().to_owned();
    let name = "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b";
    let response = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5";
    assert!(answer.contains(&format!(r#"username="{name}", userhash=true"#)), "{answer}");
    assert!(answer.contains(&format!(r#"response="{response}""#)), "{answer}");

    let mut named = challenge(&[&line.replace("userhash=true", "userhash=false")]).unwrap();
    let answer = named.answer(user, password, &Method::GET, "/doe.json", cnonce);
    let answer = answer.to_str().unwrap().to_owned();
    assert!(answer.starts_with("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "), "{answer}");
    assert!(answer.contains(&format!(r#"response="{response}""#)), "{answer}");
    assert!(!answer.contains("userhash"), "{answer}");
}

const RFC_2617: &str = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;

#[test]
fn the_example_of_rfc_2617_and_its_variants() {
    let cases = [
        (RFC_2617.to_owned(), "6629fae49393a05397450978507c4ef1"),
        // RFC 2069: neither qop nor nc nor cnonce.
        (RFC_2617.replace("qop=", "x="), "670fd8c2df070c60b045671b8b24ff02"),
        (format!("{RFC_2617}, algorithm=MD5-sess"), "8e3825c57e897f5a0dec6c2d4e5059d0"),
        (
            format!("{RFC_2617}, algorithm=\"sha-256-sess\""),
            "b8822e12417cb7750f4e2b8515f0dcf25b7dd26993e80bee1426201446a7f59b",
        ),
        (
            format!("{RFC_2617}, algorithm=md5-SESS").replace("qop=", "x="),
            "4726bc10c33fa6cb357eb27807b1cce8",
        ),
    ];
    for (line, response) in cases {
        let mut challenge = challenge(&[&line]).unwrap();
        let password = "Circle Of Life";
        let target = "/dir/index.html";
        let cnonce = Some("0a4f113b");
        let answer = challenge.answer("Mufasa", password, &Method::GET, target, cnonce);
        let answer = answer.to_str().unwrap();
        assert!(answer.contains(&format!(r#"response="{response}""#)), "{line} {answer}");
        assert_eq!(answer.contains("qop=auth, nc=00000001"), line.contains("qop="), "{answer}");
        let wanted = line.contains("qop=") || line.to_lowercase().contains("sess");
        assert_eq!(answer.contains(r#"cnonce="0a4f113b""#), wanted, "{answer}");
        assert_eq!(answer.contains("algorithm="), line.contains("algorithm="), "{answer}");
    }
}

#[test]
fn the_strongest_challenge_is_answered_wherever_it_stands() {
    let [strong, weak] = RFC_7616;
    let joined = format!("Basic realm=\"x\", {weak}, {strong}");
    for lines in [vec![strong, weak], vec![weak, strong], vec!["Negotiate", &joined]] {
        assert_eq!(challenge(&lines).unwrap().algorithm, Some("SHA-256"));
    }
    let one = r#"Digest realm="1", nonce="n", qop=auth"#;
    let two = r#"Digest realm="2", nonce="n", qop=auth"#;
    assert_eq!(challenge(&[one, two]).unwrap().realm, b"1");
    let unknown = r#"Digest realm="3", nonce="n", algorithm=SHA-3"#;
    assert_eq!(challenge(&[unknown, two]).unwrap().realm, b"2");
}

#[test]
fn what_cannot_be_answered_is_no_challenge() {
    for line in [
        "",
        "Basic realm=\"x\"",
        "Digest",
        "Digest realm=\"r\"",
        "Digest nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
        "Digest realm=\"r\", nonce=\"n\", algorithm=\"\"",
        "Digest realm=\"r\", nonce=\"n\", nonce=\"m\"",
    ] {
        assert!(challenge(&[line]).is_none(), "{line}");
    }
    assert!(Challenge::parse(&HeaderMap::new(), WWW_AUTHENTICATE).is_none());
    assert!(!challenge(&[r#"Digest realm="r", nonce="n", qop="""#]).unwrap().counted);
}

#[test]
fn the_nonce_is_counted_and_each_answer_has_its_own_client_nonce() {
    let mut plain = challenge(&[RFC_2617]).unwrap();
    let mut session = challenge(&[&format!("{RFC_2617}, algorithm=SHA-256-sess")]).unwrap();
    let cnonce = |challenge: &mut Challenge, count: &str| {
        let answer = challenge.answer("u", "p", &Method::GET, "/", None);
        let answer = answer.to_str().unwrap();
        assert!(answer.contains(&format!("nc={count}")), "{answer}");
        let (_, cnonce) = answer.split_once("cnonce=\"").unwrap();
        assert_eq!(cnonce.len(), 33);
        cnonce.to_owned()
    };
    assert_ne!(cnonce(&mut plain, "00000001"), cnonce(&mut plain, "00000002"));
    assert_eq!(cnonce(&mut session, "00000001"), cnonce(&mut session, "00000002"));
    plain.count = u32::MAX - 1;
    cnonce(&mut plain, "ffffffff");
    cnonce(&mut plain, "ffffffff");
}

#[test]
fn a_stale_nonce_is_told_from_a_wrong_password() {
    for (line, stale) in [("stale=TRUE", true), ("stale=\"true\"", true), ("stale=false", false)] {
        assert_eq!(challenge(&[&format!("{RFC_2617}, {line}")]).unwrap().is_stale(), stale);
    }
    assert!(!challenge(&[RFC_2617]).unwrap().is_stale());
}

#[test]
fn values_cannot_break_out_of_their_quotes() {
    let line = r#"Digest realm="a\", username=\"root\\", nonce="\"\\", opaque="é""#;
    let answer = answer(line, "me\", realm=\"x\\", "c\"");
    assert!(answer.starts_with(r#"Digest username="me\", realm=\"x\\", realm="a\", username=\"root\\", nonce="\"\\", uri="/", response=""#), "{answer}");
    assert!(answer.ends_with(r#"", opaque="é""#), "{answer}");
}

#[test]
fn a_user_name_that_no_header_can_carry_is_sent_encoded() {
    let answer = answer(r#"Digest realm="r", nonce="n""#, "a\r\nb: c", "");
    assert!(answer.starts_with("Digest username*=UTF-8''a%0D%0Ab%3A%20c, realm="), "{answer}");
    // Servers that do not speak of a character set get UTF-8 as it is.
    assert!(self::answer(r#"Digest realm="r", nonce="n""#, "é", "").contains("username=\"é\""));
}

#[test]
fn debug_shows_neither_nonce_nor_realm() {
    let shown = format!("{:?}", challenge(&[RFC_2617]).unwrap());
    assert!(!shown.contains("testrealm") && !shown.contains("dcd98"), "{shown}");
}
