//! How much was going on over any length of time, in bounded memory: at most `PIECES` numbers,
//! whose width doubles when they are full. A day comes out in pieces of 21 seconds at worst.

/// Pieces of a timeline.
const PIECES: usize = 4096;
/// The first width of a piece.
const WIDTH: u64 = 20_000_000;

/// How much was going on, piece by piece.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// When the first piece begins.
    pub began: u64,
    /// How long each piece is.
    pub width: u64,
    /// Nanoseconds of work in each piece: of a loop at most its width, of Jobs more where several
    /// were under way.
    pub busy: Vec<u64>,
}

impl Timeline {
    pub(super) fn new(began: u64) -> Self {
        Self { began, width: WIDTH, busy: Vec::new() }
    }

    /// Notes that there was work, or none, from `from` to `to`.
    pub(super) fn add(&mut self, from: u64, to: u64, busy: bool) {
        let mut from = from.max(self.began);
        while from < to {
            let mut index = usize::try_from((from - self.began) / self.width).unwrap_or(usize::MAX);
            while index >= PIECES {
                self.halve();
                index = usize::try_from((from - self.began) / self.width).unwrap_or(usize::MAX);
            }
            if self.busy.len() <= index {
                self.busy.resize(index + 1, 0);
            }
            let end = (self.began + (index as u64 + 1) * self.width).min(to);
            if let Some(piece) = self.busy.get_mut(index).filter(|_| busy) {
                *piece += end - from;
            }
            from = end;
        }
    }

    /// Doubles the width of the pieces.
    fn halve(&mut self) {
        self.busy = self.busy.chunks(2).map(|pair| pair.iter().sum()).collect();
        self.width = self.width.saturating_mul(2);
    }

    /// The memory it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.busy.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600_000_000_000;
    const STEP: u64 = 10_000_000;

    #[test]
    fn a_day_of_samples_every_ten_milliseconds_stays_small_and_adds_up() {
        let mut timeline = Timeline::new(7);
        for sample in 0..DAY / STEP {
            timeline.add(7 + sample * STEP, 7 + (sample + 1) * STEP, sample % 4 == 0);
        }
        assert!(timeline.bytes() <= 64 << 10, "{}", timeline.bytes());
        assert_eq!(timeline.busy.iter().sum::<u64>(), DAY / 4);
        let last = timeline.busy.iter().take(timeline.busy.len() - 1);
        assert!(last.into_iter().all(|busy| *busy == timeline.width / 4), "evenly spread");
    }

    #[test]
    fn what_overlaps_adds_up_and_what_is_long_is_spread() {
        let mut timeline = Timeline::new(0);
        timeline.add(0, 3 * WIDTH, true);
        timeline.add(WIDTH, 2 * WIDTH, true);
        assert_eq!(timeline.busy, [WIDTH, 2 * WIDTH, WIDTH]);
    }
}
