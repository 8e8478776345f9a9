//! The policy by tables, the budget by its law.

use super::*;
use http::HeaderValue;

#[test]
fn by_default_only_idempotent_methods_are_tried_again() {
    let retry = Retry::default();
    assert_eq!(retry.attempts, 0);
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert!(retry.allows_method(&method.parse().unwrap()), "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "get", "PROPFIND"] {
        assert!(!retry.allows_method(&method.parse().unwrap()), "{method}");
    }
    let own = Retry { methods: Some(vec![Method::POST]), ..Retry::default() };
    assert!(own.allows_method(&Method::POST) && !own.allows_method(&Method::GET));
}

#[test]
fn statuses_are_those_that_are_named() {
    let retry = Retry::default();
    let allowed: Vec<u16> = (100..600).filter(|&status| retry.allows_status(status)).collect();
    assert_eq!(allowed, [429, 500, 502, 503, 504]);
}

#[test]
fn failures_of_trust_of_limits_and_of_the_caller_are_final() {
    let retry = Retry::default();
    let allows = |kind| retry.allows_error(&Error::new(kind, ""));
    for kind in [Kind::Connect, Kind::Dns, Kind::ReadTimeout, Kind::Stalled, Kind::TruncatedBody] {
        assert!(allows(kind), "{kind:?}");
    }
    for kind in [Kind::Tls, Kind::TotalTimeout, Kind::BodyTooLarge, Kind::Decode, Kind::Closed] {
        assert!(!allows(kind), "{kind:?}");
    }
}

#[test]
fn the_wait_is_anything_up_to_the_doubled_backoff() {
    let (backoff, max_wait) = (Duration::from_millis(100), Duration::from_secs(1));
    let retry = Retry { backoff, max_wait, ..Retry::default() };
    for (nth, most) in
        [(0, 0.1), (1, 0.2), (2, 0.4), (3, 0.8), (4, 1.0), (40, 1.0), (u32::MAX, 1.0)]
    {
        let waits = (0..2000).map(|_| retry.wait(nth, None).unwrap().as_secs_f64());
        let waits: Vec<f64> = waits.collect();
        let mean = waits.iter().sum::<f64>() / 2000.0;
        assert!(waits.iter().all(|wait| (0.0..=most).contains(wait)), "{nth}");
        assert!((mean / most - 0.5).abs() < 0.05, "{nth}: {mean}");
    }
}

#[test]
fn the_servers_wish_is_granted_or_the_server_is_left_alone() {
    let retry = Retry::default();
    let asked = |seconds| Some(Duration::from_secs(seconds));
    for _ in 0..100 {
        let wait = retry.wait(0, asked(5)).unwrap().as_secs_f64();
        assert!((5.0..=5.1).contains(&wait), "{wait}");
        assert_eq!(retry.wait(9, asked(60)), asked(60));
    }
    assert_eq!(retry.wait(0, asked(61)), None);
    assert_eq!(retry.wait(0, Some(Duration::MAX)), None);
    let deaf = Retry { respect_retry_after: false, ..retry };
    assert!(deaf.wait(0, Some(Duration::MAX)).unwrap() <= Duration::from_millis(100));
}

#[test]
fn no_configuration_makes_the_wait_fail() {
    let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for backoff in extremes {
        for max_wait in extremes {
            let retry = Retry { backoff, max_wait, ..Retry::default() };
            for nth in [0, 31, 32, u32::MAX] {
                assert!(retry.wait(nth, None).unwrap() <= max_wait);
                assert!(retry.wait(nth, Some(max_wait)).unwrap() <= max_wait);
            }
        }
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_nothing_else() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    let cases: [(&str, Option<f64>); 21] = [
        ("0", Some(0.0)),
        ("120", Some(120.0)),
        (" 7 ", Some(7.0)),
        ("1.5", Some(1.5)),
        ("1000000000", Some(1e9)),
        ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30.0)),
        ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30.0)),
        ("Sun Nov  6 08:50:07 1994", Some(30.0)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0.0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
        ("-1", None),
        ("+1", None),
        ("NaN", None),
        ("inf", None),
        ("1e3", None),
        ("1.2.3", None),
        (".", None),
        ("", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("5, 5", None),
    ];
    let read = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(&headers, now)
    };
    for (value, seconds) in cases {
        assert_eq!(read(value), seconds.map(Duration::from_secs_f64), "{value:?}");
    }
    assert_eq!(read(&"9".repeat(400)), Some(Duration::MAX));
    assert_eq!(read("99999999999999999999999"), Some(Duration::MAX));
    assert!(read("Fri, 31 Dec 9999 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 37));
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(retry_after(&headers, now), None);
}

#[test]
fn a_client_that_asks_seldom_has_its_hundred_retries() {
    for ratio in [0.0, 0.2, -1.0, f64::NAN, f64::NEG_INFINITY] {
        let budget = Budget::new(ratio);
        assert_eq!((0..1000).filter(|_| budget.withdraw_at(budget.began)).count(), 100, "{ratio}");
    }
}

#[test]
fn a_thousand_callers_of_a_broken_server_retry_three_hundred_times() {
    let budget = Budget::new(0.2);
    let now = Instant::now();
    (0..1000).for_each(|_| budget.deposit_at(now));
    assert_eq!((0..3000).filter(|_| budget.withdraw_at(now)).count(), 300);
    let limitless = Budget::new(f64::INFINITY);
    limitless.deposit_at(now);
    assert_eq!((0..3000).filter(|_| limitless.withdraw_at(now)).count(), 1100);
}

#[test]
fn what_was_spent_and_earned_is_forgotten_after_ten_seconds() {
    let budget = Budget::new(1.0);
    let after = |seconds: f64| budget.began + Duration::from_secs_f64(seconds);
    let drain = |now| (0..1000).filter(|_| budget.withdraw_at(now)).count();
    (0..50).for_each(|_| budget.deposit_at(after(0.0)));
    assert_eq!(drain(after(0.5)), 150);
    assert_eq!(drain(after(9.9)), 0);
    assert_eq!(drain(after(10.0)), 100);
    assert_eq!(drain(after(1e6)), 100);
    assert_eq!(drain(after(0.0)), 0, "a clock behind another's brings nothing back");
}

/// Requests and retries at random moments; counted again, naively, over every window.
#[test]
fn no_window_has_more_retries_than_the_law_allows() {
    let mut state = 7_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for ratio in [0.0, 0.1, 0.2, 1.0, 3.0] {
        let budget = Budget::new(ratio);
        let (mut millis, mut seconds) = (0, vec![(0.0, 0.0); 200]);
        while let Some(second) = seconds.get_mut(millis as usize / 1000) {
            let now = budget.began + Duration::from_millis(u64::from(millis));
            if random(4) == 0 {
                budget.deposit_at(now);
                second.0 += 1.0;
            } else if budget.withdraw_at(now) {
                second.1 += 1.0;
            }
            let longest = if random(5000) == 0 { 20_000 } else { 9 };
            millis += random(longest);
        }
        let total: f64 = seconds.iter().map(|second| second.1).sum();
        assert!(total > 1000.0, "{ratio}: {total}");
        let mut tight = 0;
        for window in seconds.windows(10).filter(|window| window[9].1 > 0.0) {
            let requests: f64 = window.iter().map(|second| second.0).sum();
            let retries: f64 = window.iter().map(|second| second.1).sum();
            let allowed = 100.0 + ratio * requests;
            assert!(retries <= allowed, "{ratio}: {requests} {retries}");
            tight += u32::from(retries > allowed - 1.0);
        }
        assert!(ratio > 1.0 || tight > 20, "{ratio}: {tight}");
        assert!(budget.seconds.lock().unwrap().len() <= 10);
    }
}
