//! Which bytes are there, which are being fetched, and which is the next part to fetch.
//!
//! The law: what is *done* has been written to the disk at its own place; a part is fetched by one
//! connection at a time; and what a connection that failed has left is fetched by another.
//! Whoever finishes early takes over the second half of the largest part that is left, so that no
//! slow connection holds up the rest.

/// Ranges that do not touch, in order; ends are not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Ranges as they were written down; `None` unless they are in order and apart.
    pub(super) fn checked(ranges: Vec<(u64, u64)>) -> Option<Self> {
        let mut behind = None;
        for &(start, end) in &ranges {
            if start >= end || behind.is_some_and(|behind| start <= behind) {
                return None;
            }
            behind = Some(end);
        }
        Some(Self(ranges))
    }

    /// Adds `start..end`, joined with what it touches.
    pub(super) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        self.0.retain(|&(from, to)| {
            let apart = to < start || from > end;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        let at = self.0.partition_point(|&(from, _)| from < start);
        self.0.insert(at, (start, end));
    }

    /// How many bytes they hold.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Where the last one ends.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |&(_, end)| end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether they are one range from the beginning to `total`, or nothing of nothing.
    fn cover(&self, total: u64) -> bool {
        match self.0.as_slice() {
            [] => total == 0,
            [(0, end)] => *end == total,
            _ => false,
        }
    }
}

/// A part that one connection fetches: from `start` to `end`, or to wherever the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Tells segments apart.
    pub(super) number: u64,
    /// Its first byte.
    pub(super) start: u64,
    /// The next byte its connection will bring.
    pub(super) next: u64,
    /// Its end, not included; only ever lowered while it is fetched.
    pub(super) end: Option<u64>,
}

/// The state of a file that is being put together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    total: Option<u64>,
    done: Ranges,
    active: Vec<Segment>,
    numbers: u64,
}

impl Plan {
    /// A plan for what is left beyond `done`.
    pub(super) fn new(total: Option<u64>, done: Ranges) -> Self {
        Self { total, done, ..Self::default() }
    }

    /// How long the whole is, as far as that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Notes how long the whole is.
    pub(super) fn set_total(&mut self, total: u64) {
        self.total = Some(total);
        for segment in &mut self.active {
            segment.end.get_or_insert(total);
        }
    }

    /// What is on the disk.
    pub(super) fn done(&self) -> &Ranges {
        &self.done
    }

    /// Whether all is on the disk.
    pub(super) fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.done.cover(total))
    }

    /// The next part to fetch, now taken: a hole, or half of a part that is being fetched, if both
    /// halves have at least `least` bytes.
    pub(super) fn take(&mut self, least: u64) -> Option<Segment> {
        if let Some((start, end)) = self.first_hole() {
            return Some(self.activate(start, end));
        }
        let left = |it: &Segment| it.end.map_or(0, |end| end.saturating_sub(it.next));
        let largest = self.active.iter_mut().max_by_key(|it| left(it))?;
        let (end, left) = (largest.end?, left(largest));
        if left / 2 < least.max(1) {
            return None;
        }
        // Of one that has hardly begun the whole is halved: so that four connections of the same
        // speed have a quarter each and are done together.
        let (length, begun) = (end - largest.start, largest.next - largest.start);
        let half = if begun <= length / 16 { length / 2 } else { left / 2 };
        let middle = end - half.min(left);
        largest.end = Some(middle);
        Some(self.activate(middle, Some(end)))
    }

    /// How many of the next `length` bytes of a segment's connection are wanted; they count as
    /// brought. Fewer than `length` means that the segment's end is reached.
    pub(super) fn claim(&mut self, number: u64, length: u64) -> u64 {
        let Some(segment) = self.active.iter_mut().find(|it| it.number == number) else { return 0 };
        let room = segment.end.map_or(length, |end| end.saturating_sub(segment.next));
        let wanted = length.min(room);
        segment.next += wanted;
        wanted
    }

    /// A segment as it stands.
    pub(super) fn segment(&self, number: u64) -> Option<Segment> {
        self.active.iter().find(|it| it.number == number).copied()
    }

    /// Bytes that are on the disk now.
    pub(super) fn written(&mut self, start: u64, end: u64) {
        self.done.add(start, end);
    }

    /// A connection has ended: what it has not brought to the disk is free again.
    pub(super) fn release(&mut self, number: u64) {
        self.active.retain(|it| it.number != number);
    }

    fn activate(&mut self, start: u64, end: Option<u64>) -> Segment {
        let segment = Segment { number: self.numbers, start, next: start, end };
        self.numbers += 1;
        self.active.push(segment);
        segment
    }

    /// The first bytes that are neither done nor being fetched.
    fn first_hole(&self) -> Option<(u64, Option<u64>)> {
        let mut taken = self.done.clone();
        for segment in &self.active {
            taken.add(segment.start, segment.end.unwrap_or(u64::MAX));
        }
        let mut start = 0;
        for (from, to) in taken.iter() {
            if from > start {
                return Some((start, Some(from)));
            }
            start = to;
        }
        match self.total {
            Some(total) => (start < total).then_some((start, Some(total))),
            None => (start < u64::MAX).then_some((start, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(u64, u64)]) -> Ranges {
        Ranges::checked(of.to_vec()).unwrap()
    }

    #[test]
    fn ranges_that_touch_are_joined() {
        let mut done = Ranges::default();
        for (start, end) in [(10, 20), (30, 40), (0, 5), (20, 30), (4, 11), (7, 7)] {
            done.add(start, end);
        }
        assert_eq!(done, ranges(&[(0, 40)]));
        assert_eq!(done.bytes(), 40);
        assert!(Ranges::checked(vec![(0, 5), (5, 6)]).is_none());
        assert!(Ranges::checked(vec![(3, 3)]).is_none());
    }

    #[test]
    fn holes_are_fetched_first_and_then_parts_are_halved() {
        let mut plan = Plan::new(Some(100), ranges(&[(20, 40)]));
        let first = plan.take(10).unwrap();
        assert_eq!((first.start, first.end), (0, Some(20)));
        let second = plan.take(10).unwrap();
        assert_eq!((second.start, second.end), (40, Some(100)));
        let third = plan.take(10).unwrap();
        assert_eq!((third.start, third.end), (70, Some(100)));
        assert_eq!(plan.segment(second.number).unwrap().end, Some(70));
        assert_eq!(plan.take(40), None);
    }

    #[test]
    fn four_of_the_same_speed_have_a_quarter_each() {
        let mut plan = Plan::new(Some(1600), Ranges::default());
        let first = plan.take(1).unwrap();
        plan.claim(first.number, 20); // it brings some while the others are still asked for
        let mut all = vec![first.number];
        all.extend((0..3).map(|_| plan.take(1).unwrap().number));
        let mut ends: Vec<_> = all.iter().map(|it| plan.segment(*it).unwrap().end).collect();
        ends.sort_unstable();
        assert_eq!(ends, [Some(400), Some(800), Some(1200), Some(1600)]);
        plan.claim(first.number, 300);
        let helper = plan.take(20).unwrap();
        assert_eq!(helper.end.unwrap() - helper.start, 200, "half of the largest that is left");
    }

    #[test]
    fn what_a_failed_connection_left_is_free_again() {
        let mut plan = Plan::new(Some(100), Ranges::default());
        let first = plan.take(1).unwrap();
        assert_eq!(plan.claim(first.number, 30), 30);
        plan.written(0, 10);
        plan.release(first.number);
        let again = plan.take(1).unwrap();
        assert_eq!((again.start, again.end), (10, Some(100)));
        assert_eq!(plan.claim(first.number, 5), 0, "it has nothing to bring any more");
    }

    #[test]
    fn nothing_beyond_the_end_is_claimed() {
        let mut plan = Plan::new(Some(10), Ranges::default());
        let only = plan.take(1).unwrap();
        assert_eq!(plan.claim(only.number, 7), 7);
        assert_eq!(plan.claim(only.number, 7), 3);
        plan.written(0, 10);
        assert!(plan.is_complete());
        let empty = Plan::new(Some(0), Ranges::default());
        assert!(empty.is_complete());
    }

    #[test]
    fn any_order_of_steps_ends_in_a_whole_without_a_hole() {
        // A small generator of numbers, so that a failure can be repeated.
        let mut seed = 7_u64;
        let mut next = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below.max(1)
        };
        for _ in 0..300 {
            let total = 1 + next(5000);
            let mut plan = Plan::new(Some(total), Ranges::default());
            let mut written = vec![0_u8; usize::try_from(total).unwrap()];
            let mut active: Vec<Segment> = Vec::new();
            for _ in 0..100_000 {
                if plan.is_complete() {
                    break;
                }
                if active.len() < 4
                    && let Some(segment) = plan.take(1 + next(50))
                {
                    active.push(segment);
                }
                let Some(&Segment { number, .. }) = active.get(usize::try_from(next(4)).unwrap())
                else {
                    continue;
                };
                let from = plan.segment(number).unwrap().next;
                let got = plan.claim(number, next(200));
                let lost = next(20) == 0;
                if !lost {
                    for byte in from..from + got {
                        written[usize::try_from(byte).unwrap()] += 1;
                    }
                    plan.written(from, from + got);
                }
                let segment = plan.segment(number).unwrap();
                if lost || segment.end == Some(segment.next) {
                    plan.release(number);
                    active.retain(|it| it.number != number);
                }
            }
            assert!(plan.is_complete());
            assert!(written.iter().all(|&times| times == 1), "no byte twice, none missing");
        }
    }
}
