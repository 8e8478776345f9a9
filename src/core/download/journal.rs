//! The journal beside a `.part`: what the bytes in it are, so that a later call can go on.
//!
//! It is written after the bytes it speaks of, so at every moment it says less than there is, or
//! exactly that. Two slots are written in turn, each whole and with a checksum of its own: the
//! newest that is intact counts, however a write was torn. A journal that makes no sense is none.

use super::plan::Ranges;
use crate::checksum::{Algorithm, Hasher};

/// Bytes of one slot: a page, which Linux writes in one go as far as a kill is concerned.
pub(super) const SLOT: usize = 4096;
/// Ranges that fit into a slot with all else; a file with more holes is noted up to there.
const MOST_RANGES: usize = 48;
const FIRST_LINE: &str = "offloop part 1";

/// What is known of a `.part`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// SHA-256 of the URL: it may hold secrets.
    pub(super) url: String,
    /// The strong entity tag that all bytes came with.
    pub(super) etag: Option<String>,
    /// How long the whole is.
    pub(super) total: Option<u64>,
    /// Which file the `.part` is: device and inode, where there are such.
    pub(super) file: (u64, u64),
    /// Which run of the machine wrote it. After another one the disk may hold less than was
    /// written, unless it was told to hurry.
    pub(super) boot: String,
    /// The ranges that have been written.
    pub(super) done: Ranges,
}

impl Journal {
    /// The bytes of a slot; `turn` says which is newer.
    pub(super) fn encode(&self, turn: u64) -> Vec<u8> {
        let Self { url, etag, total, file, boot, done } = self;
        let shown = |range: (u64, u64)| format!("{}-{}", range.0, range.1);
        let ranges: Vec<String> = done.iter().take(MOST_RANGES).map(shown).collect();
        let (device, inode) = file;
        let text = format!(
            "{FIRST_LINE}\nturn {turn}\nurl {url}\netag {}\ntotal {}\nfile {device} {inode}\n\
             boot {boot}\ndone {}\n",
            etag.as_deref().unwrap_or("-"),
            total.map_or("-".into(), |total| total.to_string()),
            ranges.join(","),
        );
        let mut slot = format!("{text}sum {}\n", sum(&text)).into_bytes();
        // A page of its own, so that nothing of an older entry stands behind it.
        slot.resize(SLOT.max(slot.len()), b'\n');
        slot
    }

    /// The newest intact entry of a journal's bytes, and its turn.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        bytes.chunks(SLOT).take(2).filter_map(entry).max_by_key(|(turn, _)| *turn)
    }
}

fn entry(slot: &[u8]) -> Option<(u64, Journal)> {
    let text = std::str::from_utf8(slot).ok()?.trim_end_matches('\n');
    let (body, check) = text.rsplit_once('\n')?;
    let body = format!("{body}\n");
    if check.strip_prefix("sum ")? != sum(&body) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let turn = field("turn")?.parse().ok()?;
    let url = field("url")?.to_owned();
    let etag = field("etag").filter(|it| *it != "-").map(str::to_owned);
    let total = match field("total")? {
        "-" => None,
        digits => Some(digits.parse().ok()?),
    };
    let (device, inode) = field("file")?.split_once(' ')?;
    let file = (device.parse().ok()?, inode.parse().ok()?);
    let boot = field("boot")?.to_owned();
    let mut ranges = Vec::new();
    for range in field("done")?.split(',').filter(|it| !it.is_empty()) {
        let (start, end) = range.split_once('-')?;
        ranges.push((start.parse().ok()?, end.parse().ok()?));
    }
    let done = Ranges::checked(ranges)?;
    if total.is_some_and(|total| done.end() > total) {
        return None;
    }
    Some((turn, Journal { url, etag, total, file, boot, done }))
}

/// SHA-256 of a text, in hexadecimal.
pub(super) fn sum(text: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    hasher.finish().hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(end: u64) -> Journal {
        let done = Ranges::checked(vec![(0, end), (end + 5, end + 9)]).unwrap();
        let etag = Some("\"a-b\"".into());
        let url = sum("http://x/");
        Journal { url, etag, total: Some(1 << 40), file: (1, 2), boot: "b".into(), done }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut written = journal(10);
        assert_eq!(Journal::decode(&written.encode(7)), Some((7, written.clone())));
        written.total = None;
        written.etag = None;
        written.done = Ranges::default();
        assert_eq!(Journal::decode(&written.encode(1)), Some((1, written)));
    }

    #[test]
    fn the_newest_intact_slot_counts() {
        let (old, new) = (journal(10), journal(20));
        let mut both = [new.encode(4), old.encode(3)].concat();
        assert_eq!(Journal::decode(&both), Some((4, new)));
        both[40] ^= 1;
        assert_eq!(Journal::decode(&both), Some((3, old.clone())));
        both[SLOT + 40] ^= 1;
        assert_eq!(Journal::decode(&both), None);
        let torn = &old.encode(3)[..100];
        assert_eq!(Journal::decode(torn), None);
    }

    #[test]
    fn nothing_makes_it_panic_or_believe_in_impossible_ranges() {
        let intact = journal(10).encode(1);
        for at in 0..intact.len() {
            let mut changed = intact.clone();
            changed[at] = changed[at].wrapping_add(1);
            assert!(Journal::decode(&changed).is_none_or(|(_, it)| it == journal(10)), "{at}");
        }
        for body in [
            "",
            "offloop part 1",
            "offloop part 1\nturn 1\nurl u\netag -\ntotal 5\nfile 1 2\nboot b\ndone 0-6",
        ] {
            let body = format!("{body}\n");
            let text = format!("{body}sum {}\n", sum(&body));
            assert_eq!(Journal::decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_largest_entry_fits_its_slot() {
        let far = u64::MAX - 1000;
        let done = (0..48).map(|nth| (far + nth * 3, far + nth * 3 + 1)).collect();
        let mut largest = journal(1);
        largest.done = Ranges::checked(done).unwrap();
        largest.total = Some(u64::MAX);
        largest.etag = Some("e".repeat(1024));
        assert_eq!(largest.encode(u64::MAX).len(), SLOT);
    }
}
