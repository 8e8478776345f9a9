use std::time::Duration;

use super::*;

fn schedule(limit: usize, per_host: Option<usize>) -> Schedule<usize> {
    Schedule::new(Rules {
        limit,
        per_host,
        rate: None,
        rate_first: false,
        ahead: None,
        ordered: false,
        most: limit,
    })
}

/// Fills the queues of `hosts` hosts, `each` entries for each, and gives their keys.
fn fill(it: &mut Schedule<usize>, hosts: usize, each: usize, now: Instant) -> Vec<HostKey> {
    let keys: Vec<_> = (0..hosts).map(|nth| it.host(&format!("http://{nth}"), now)).collect();
    for nth in 0..each {
        for &key in &keys {
            it.push(key, nth, now);
        }
    }
    keys
}

#[test]
fn neither_the_limit_nor_the_cap_of_a_host_is_exceeded() {
    let mut now = Instant::now();
    let mut it = schedule(10, Some(3));
    let keys = fill(&mut it, 5, 20, now);
    let mut under_way = Vec::new();
    let mut state = 1_u32;
    for _ in 0..2000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        now += Duration::from_millis(20);
        if state & 0x8000 == 0 || under_way.is_empty() {
            if let Some((host, _)) = it.start(now) {
                under_way.push(host);
            }
        } else {
            let host = under_way.swap_remove(state as usize % under_way.len());
            it.leave(host, Sign::Neutral, now, now);
        }
        assert_eq!(it.in_flight, under_way.len());
        assert!(under_way.len() <= 10);
        for key in &keys {
            assert!(under_way.iter().filter(|host| *host == key).count() <= 3);
        }
    }
    assert_eq!(it.waiting, 0);
}

#[test]
fn a_host_whose_requests_do_not_end_leaves_the_others_their_share() {
    let mut now = Instant::now();
    let mut it = schedule(10, Some(10));
    let keys = fill(&mut it, 2, 500, now);
    let mut of_fast = 0;
    let mut under_way = Vec::new();
    for _ in 0..1000 {
        now += Duration::from_millis(1);
        while let Some((host, _)) = it.start(now) {
            under_way.push(host);
        }
        // Requests of the first host never end, those of the second do at once.
        let Some(place) = under_way.iter().position(|host| *host == keys[1]) else { break };
        it.leave(under_way.swap_remove(place), Sign::Neutral, now, now);
        of_fast += 1;
    }
    assert_eq!(of_fast, 500);
    now += RECENT;
    while let Some((host, _)) = it.start(now) {
        under_way.push(host);
    }
    assert_eq!(under_way.len(), 10, "when the fast one is done, the slow one may have it all");
}

#[test]
fn hosts_with_as_many_under_way_take_turns() {
    let now = Instant::now();
    let mut it = schedule(1, Some(1));
    fill(&mut it, 3, 4, now);
    let mut order = Vec::new();
    while let Some((host, _)) = it.start(now) {
        order.push(host);
        it.leave(host, Sign::Neutral, now, now);
    }
    assert_eq!(order, [0, 1, 2].repeat(4));
}

#[test]
fn a_paused_host_is_passed_over_until_its_time() {
    let now = Instant::now();
    let mut it = schedule(4, Some(4));
    let keys = fill(&mut it, 2, 2, now);
    let until = now + Duration::from_secs(5);
    it.pause(keys[0], until, now);
    let started: Vec<_> = std::iter::from_fn(|| it.start(now)).map(|(host, _)| host).collect();
    assert_eq!(started, [keys[1], keys[1]]);
    assert_eq!(it.next_time(), Some(until));
    assert!(it.start(until - Duration::from_millis(1)).is_none());
    assert_eq!(it.start(until).map(|(host, _)| host), Some(keys[0]));
}

#[test]
fn what_comes_back_goes_first() {
    let now = Instant::now();
    let mut it = schedule(1, Some(1));
    let keys = fill(&mut it, 1, 3, now);
    let (host, _) = it.start(now).unwrap();
    it.leave(host, Sign::Busy, now, now);
    it.away(host, true);
    it.push_back_in(keys[0], 99, now);
    assert_eq!(it.start(now), Some((host, 99)));
}

#[test]
fn the_rate_of_each_host_is_its_own() {
    let now = Instant::now();
    let mut it = schedule(100, Some(100));
    it.rules.rate = Some(Rate::new(10.0, 1));
    fill(&mut it, 2, 50, now);
    let mut started = 0;
    for step in 0..=1000 {
        while it.start(now + Duration::from_millis(step)).is_some() {
            started += 1;
        }
    }
    assert_eq!(started, 2 * 11);
}

#[test]
fn no_more_is_wanted_than_can_be_made_use_of() {
    let now = Instant::now();
    let mut it = schedule(100, Some(100));
    let key = it.host("http://only", now);
    let mut pulled = 0;
    for _ in 0..100 {
        for _ in 0..it.wanted(0, 0) {
            it.push(key, pulled, now);
            pulled += 1;
        }
        while it.start(now).is_some() {}
    }
    assert!((100..=300).contains(&pulled), "no more than three times the limit: {pulled}");
}

#[test]
fn a_host_without_a_place_lets_the_source_be_searched_for_others_but_not_for_ever() {
    let now = Instant::now();
    let mut it = schedule(100, Some(2));
    let busy = it.host("http://busy", now);
    let pull = |it: &mut Schedule<usize>, host: HostKey| {
        let mut pulled = 0;
        while it.wanted(0, 0) > 0 {
            for _ in 0..it.wanted(0, 0) {
                it.push(host, 0, now);
                pulled += 1;
            }
            while it.start(now).is_some() {}
        }
        pulled
    };
    let first = pull(&mut it, busy);
    assert!((180..=204).contains(&first), "{first}");
    // As they are worked off the source is asked again, for no more than were worked off.
    for _ in 0..50 {
        it.leave(busy, Sign::Neutral, now, now);
        while it.start(now).is_some() {}
    }
    let second = pull(&mut it, busy);
    assert!(second <= 60, "{second}");
}

#[test]
fn a_mixed_source_is_read_past_a_host_without_a_place() {
    let now = Instant::now();
    let mut it = schedule(10, Some(10));
    let (paused, fast) = (it.host("http://paused", now), it.host("http://fast", now));
    it.pause(paused, now + Duration::from_secs(60), now);
    let (mut nth, mut of_fast) = (0, 0);
    while it.wanted(0, 0) > 0 && nth < 100_000 {
        for _ in 0..it.wanted(0, 0) {
            it.push(if nth % 2 == 0 { paused } else { fast }, nth, now);
            nth += 1;
        }
        while let Some((host, _)) = it.start(now) {
            of_fast += usize::from(host == fast);
            it.leave(host, Sign::Neutral, now, now);
        }
    }
    assert!(of_fast >= 1000, "{of_fast}");
    assert!(it.waiting <= AHEAD_LEAST, "and still it is bounded: {}", it.waiting);
}

#[test]
fn a_hundred_thousand_hosts_leave_no_trace() {
    let mut now = Instant::now();
    for per_host in [Some(1), None] {
        let mut it = schedule(4, per_host);
        for nth in 0..100_000 {
            let host = it.host(&format!("http://{nth}"), now);
            it.push(host, nth, now);
            now += Duration::from_micros(10);
            let (host, _) = it.start(now).unwrap();
            it.leave(host, Sign::Fine(Duration::from_millis(1)), now, now);
        }
        assert!(it.hosts.len() <= 2 * HOSTS_MOST, "{}", it.hosts.len());
        assert_eq!(it.hosts.len(), it.by_origin.len());
    }
}

#[test]
fn a_slow_host_does_not_take_the_last_places_when_a_fast_one_has_nothing_waiting() {
    let mut now = Instant::now();
    let mut it = schedule(8, Some(8));
    let (slow, fast) = (it.host("http://slow", now), it.host("http://fast", now));
    for nth in 0..100 {
        it.push(slow, nth, now);
    }
    let mut of_slow = 0;
    for nth in 0..1000 {
        // Of the fast one there is never more than one, and none half of the time.
        if nth % 2 == 0 {
            it.push(fast, nth, now);
        }
        while let Some((host, _)) = it.start(now) {
            if host == fast {
                it.leave(fast, Sign::Neutral, now, now);
            } else {
                of_slow += 1;
            }
        }
        assert!(nth == 0 || of_slow <= 6, "{of_slow} after {nth}");
        now += Duration::from_millis(1);
    }
    assert_eq!(of_slow, 6);
    let kept = it.next_time().unwrap();
    let rest = std::iter::from_fn(|| it.start(kept)).count();
    assert_eq!(rest, 2, "after a while they are given away");
}

#[test]
fn the_first_start_at_a_host_waits_too_where_its_rate_goes_on() {
    let now = Instant::now();
    let mut it = schedule(100, Some(100));
    it.rules.rate = Some(Rate::new(10.0, 1));
    it.rules.rate_first = true;
    fill(&mut it, 2, 50, now);
    let started = |it: &mut Schedule<usize>, step: u64| {
        std::iter::from_fn(|| it.start(now + Duration::from_millis(step))).count()
    };
    assert_eq!(started(&mut it, 99), 0);
    assert_eq!(it.next_time(), Some(now + Duration::from_millis(100)));
    assert_eq!(started(&mut it, 100), 2);
}

#[test]
fn no_more_waits_than_the_owner_has_said() {
    let now = Instant::now();
    let mut it = schedule(5, Some(3));
    it.rules.ahead = Some(5);
    let key = it.host("http://only", now);
    let mut pulled = 0;
    for _ in 0..100 {
        for _ in 0..it.wanted(0, 0) {
            it.push(key, pulled, now);
            pulled += 1;
        }
        while it.start(now).is_some() {}
    }
    assert_eq!((it.in_flight, it.waiting), (3, 5));
}
