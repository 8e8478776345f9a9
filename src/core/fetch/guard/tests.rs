use super::*;

fn guard(allow: &[&str]) -> Guard {
    Guard { allow: networks(allow), ..Guard::default() }
}

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| Network::parse(text).unwrap()).collect()
}

fn passes(guard: &Guard, address: &str) -> bool {
    let checked = guard.check_address(SocketAddr::new(address.parse().unwrap(), 443));
    if let Err(error) = &checked {
        assert_eq!(error.kind, Kind::BlockedAddress);
    }
    checked.is_ok()
}

fn url_passes(guard: &Guard, url: &str) -> bool {
    guard.check_url(&Url::parse(url).unwrap()).is_ok()
}

#[test]
fn public_addresses_pass() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "168.63.129.15",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00:1450:4001::1",
        "2001:200::1",
        "3ffe:ffff::1",
        "2620:4f:8000::1",
    ] {
        assert!(passes(&Guard::default(), address), "{address}");
    }
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "100::",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff::1",
        "3fff:fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
        "ffff::1",
        "4000::",
        "1fff::1",
        "200::1",
    ] {
        assert!(!passes(&Guard::default(), address), "{address}");
    }
}

#[test]
fn ipv4_in_the_dress_of_ipv6_is_refused_whatever_it_is() {
    for address in [
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:a00:0:100::",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2001:0:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ] {
        assert!(!passes(&Guard::default(), address), "{address}");
    }
}

#[test]
fn an_isatap_address_is_judged_by_what_it_carries() {
    assert!(!passes(&Guard::default(), "2a00:1::5efe:10.0.0.1"));
    assert!(!passes(&Guard::default(), "2a00:1::200:5efe:10.0.0.1"));
    assert!(passes(&Guard::default(), "2a00:1::5efe:8.8.8.8"));
}

#[test]
fn an_allowed_translation_leads_to_public_addresses_only() {
    let open =
        guard(&["64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0/96", "2002::/16", "2001::/32"]);
    for address in [
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b:1:808:8:800::",
        "64:ff9b:1::8.8.8.8",
    ] {
        assert!(passes(&open, address), "{address}");
    }
    for address in [
        "64:ff9b::10.0.0.1",
        "::ffff:127.0.0.1",
        "2002:a00:1::1",
        "2001:0:a00:1:0:0:f7f7:f7f7",
        "2001:0:808:808:0:0:f5ff:fffe",
        "64:ff9b:1:a00:0:100::",
        "64:ff9b:1::10.0.0.1",
    ] {
        assert!(!passes(&open, address), "{address}");
    }
    let wider = guard(&["::ffff:0:0/96", "127.0.0.1/32"]);
    assert!(passes(&wider, "::ffff:127.0.0.1"));
    assert!(!passes(&wider, "::ffff:127.0.0.2"));
}

#[test]
fn allowed_networks_win_and_nothing_beside_them() {
    let open = guard(&["127.0.0.2/32", "::1"]);
    assert!(passes(&open, "127.0.0.2"));
    assert!(passes(&open, "::1"));
    assert!(!passes(&open, "127.0.0.1"));
    assert!(passes(&open, "8.8.8.8"));
}

#[test]
fn one_bad_address_refuses_the_whole_answer() {
    let answer = ["8.8.8.8:443", "[::ffff:8.8.8.8]:443", "1.1.1.1:443"].map(|a| a.parse().unwrap());
    let mut error = Guard::default().check_all(&answer).unwrap_err();
    assert_eq!(error.kind, Kind::BlockedAddress);
    assert_eq!(error.details().addresses.len(), 1);
    assert_eq!(error.details().addresses[0].0, "[::ffff:8.8.8.8]:443");
    Guard::default().check_all(&[answer[0], answer[2]]).unwrap();
}

#[test]
fn only_listed_ports_are_dialled() {
    assert!(url_passes(&Guard::default(), "http://example.org/"));
    assert!(url_passes(&Guard::default(), "https://example.org:443/"));
    assert!(!url_passes(&Guard::default(), "http://example.org:22/"));
    let open = Guard { ports: vec![8080], allow: networks(&["0.0.0.0/0"]) };
    assert!(url_passes(&open, "http://127.0.0.1:8080/"));
    assert!(!url_passes(&open, "http://127.0.0.1/"));
    assert!(open.check_address("8.8.8.8:25".parse().unwrap()).is_err());
}

#[test]
fn addresses_in_the_place_of_names_pass_only_when_allowed() {
    let shut = Guard::default();
    for url in ["http://8.8.8.8/", "http://[2606:4700::1]/", "http://[::]/", "http://127.0.0.1/"] {
        assert!(!url_passes(&shut, url), "{url}");
    }
    let open = guard(&["127.0.0.2/32", "8.8.8.8/32", "64:ff9b::/96"]);
    assert!(url_passes(&open, "http://127.0.0.2/"));
    assert!(url_passes(&open, "http://8.8.8.8/"));
    assert!(!url_passes(&open, "http://127.0.0.1/"));
    assert!(!url_passes(&open, "http://[64:ff9b::7f00:1]/"));
}

#[test]
fn the_names_of_this_machine_are_refused_unless_loopback_is_allowed() {
    let names = [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://a.b.localhost./",
    ];
    for url in names {
        assert!(!url_passes(&Guard::default(), url), "{url}");
        assert!(!url_passes(&guard(&["10.0.0.0/8"]), url), "{url}");
        assert!(url_passes(&guard(&["127.0.0.2/32"]), url), "{url}");
        assert!(url_passes(&guard(&["::1"]), url), "{url}");
    }
    assert!(url_passes(&Guard::default(), "http://notlocalhost/"));
    assert!(url_passes(&Guard::default(), "http://localhost.example.org/"));
}

#[test]
fn networks_are_read_strictly() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "127.0.0.1", "::1/128", "fd00::/8"] {
        assert!(Network::parse(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "/",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::/129",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10/8",
        "010.0.0.0/8",
        "[::1]/128",
        "localhost",
        "10.0.0.0/256",
        " ::1",
    ] {
        assert_eq!(Network::parse(text).unwrap_err().kind, Kind::InvalidUrl, "{text}");
    }
    let all = Network::parse("0.0.0.0/0").unwrap();
    assert!(all.contains("255.1.2.3".parse().unwrap()));
    assert!(!all.contains("::1".parse().unwrap()), "families are apart");
}
