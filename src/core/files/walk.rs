//! Folders listed in batches: one, or a whole tree of them.
//!
//! Most of the time of a walk goes by in the kernel, which lists one folder for one thread. So a
//! second thread helps where many folders wait: both take the folder whose turn comes first, and
//! what is listed before its turn stays on the pile until that comes. The helper ends with the
//! batch.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, available_parallelism};

pub use super::entries::Kind;
use super::entries::{Reader, Room};
pub use super::names::Names;
use super::{Failure, Halt};

/// One folder's listing in progress.
#[derive(Debug)]
pub struct Scan {
    path: PathBuf,
    /// Opened by the first batch.
    reader: Option<Reader>,
    room: Room,
    over: bool,
}

impl Scan {
    /// The folder `path`, not opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, reader: None, room: Room::default(), over: false }
    }

    /// The next entries, `limit` or some more; none when there are no more.
    ///
    /// # Errors
    /// What the system refuses, `Stopped`.
    pub fn next_batch(
        &mut self,
        limit: usize,
        halt: &Halt,
    ) -> Result<Vec<(OsString, Kind)>, Failure> {
        halt.check()?;
        let mut entries = Vec::new();
        if self.over {
            return Ok(entries);
        }
        let refused = |error: std::io::Error| Failure::of(&self.path, &error);
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.path).map_err(refused)?),
        };
        let more = reader.read(limit, &mut self.room, |entry| {
            entries.push((entry.name.to_owned(), entry.kind));
        });
        if !more.map_err(refused)? {
            self.over = true;
            self.reader = None;
        }
        Ok(entries)
    }
}

/// One folder of a tree.
#[derive(Debug)]
pub struct Listing {
    /// The folder.
    pub path: PathBuf,
    /// Names of the folders in it, symbolic links to folders among them.
    pub folders: Names,
    /// All other names.
    pub files: Names,
    /// Why it could not be listed, or not to its end.
    pub failure: Option<Failure>,
}

/// Names that one thread lists alone: a small tree is done before a helper has started. Arbitrary.
const ALONE: usize = 500;
/// Folders that have to wait for a helper to be worth it. Arbitrary.
const CROWD: usize = 8;

/// A tree of folders from the top down, in the order of `os.walk`.
#[derive(Debug)]
pub struct Walk {
    /// Folders that have not been given out, the next one last.
    pile: Vec<Folder>,
    follow_links: bool,
    rooms: [Room; 2],
}

/// A folder on the pile.
#[derive(Debug)]
enum Folder {
    Waiting(PathBuf),
    /// A thread lists it. Never between two batches.
    Taken,
    /// Before its turn, with the folders that are to be gone into.
    Listed(Listing, Vec<PathBuf>),
}

impl Walk {
    /// The tree below `path`; goes into symbolic links only if it is told to.
    #[must_use]
    pub fn new(path: PathBuf, follow_links: bool) -> Self {
        Self { pile: vec![Folder::Waiting(path)], follow_links, rooms: Default::default() }
    }

    /// The next folders, until about `limit` entries are together; none when there are no more.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn next_batch(&mut self, limit: usize, halt: &Halt) -> Result<Vec<Listing>, Failure> {
        let Self { pile, follow_links, rooms: [room, other] } = self;
        let desk = Desk::new(pile, limit.min(ALONE));
        desk.work(room, *follow_links, halt);
        let worth_it = desk.reopen(limit);
        if worth_it && available_parallelism().is_ok_and(|cores| cores.get() > 1) {
            thread::scope(|scope| {
                let help = || desk.work(other, *follow_links, halt);
                // Without a helper it takes longer.
                let _ = Builder::new().name("offloop-walk".into()).spawn_scoped(scope, help);
                desk.work(room, *follow_links, halt);
            });
        } else {
            desk.work(room, *follow_links, halt);
        }
        halt.check()?;
        Ok(desk.cleared())
    }

    /// Leaves out all folders that still wait below `path`, and itself.
    pub fn skip(&mut self, path: &Path) {
        self.pile.retain(|folder| match folder {
            Folder::Waiting(waiting) => !waiting.starts_with(path),
            Folder::Listed(listing, _) => !listing.path.starts_with(path),
            Folder::Taken => true,
        });
    }
}

/// Where the threads that list one batch meet.
struct Desk<'a> {
    batch: Mutex<Batch<'a>>,
    /// Wakes a thread that has found no folder to list.
    more: Condvar,
}

struct Batch<'a> {
    pile: &'a mut Vec<Folder>,
    given: Vec<Listing>,
    limit: usize,
    /// Entries given, and entries listed before their turn.
    entries: usize,
    ahead: usize,
    /// Threads that list, and threads that wait for them.
    busy: usize,
    idle: usize,
}

impl<'a> Desk<'a> {
    fn new(pile: &'a mut Vec<Folder>, limit: usize) -> Self {
        let ahead = pile.iter().map(|folder| match folder {
            Folder::Listed(listing, _) => listing.entries(),
            Folder::Waiting(_) | Folder::Taken => 0,
        });
        let ahead = ahead.sum();
        let given = Vec::new();
        let batch = Batch { pile, given, limit, entries: 0, ahead, busy: 0, idle: 0 };
        Self { batch: Mutex::new(batch), more: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Batch<'a>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on until so many are given; true when two threads would find work.
    fn reopen(&self, limit: usize) -> bool {
        let mut batch = self.lock();
        batch.limit = limit;
        batch.entries < limit && batch.pile.len() >= CROWD
    }

    fn cleared(self) -> Vec<Listing> {
        self.batch.into_inner().unwrap_or_else(PoisonError::into_inner).given
    }

    /// Lists folders until the batch is full or the pile is empty.
    fn work(&self, room: &mut Room, follow_links: bool, halt: &Halt) {
        let mut batch = self.lock();
        loop {
            batch.give();
            if batch.entries >= batch.limit || halt.check().is_err() {
                break;
            }
            if let Some((index, path)) = batch.take() {
                drop(batch);
                let listed = catch_unwind(AssertUnwindSafe(|| list(path, follow_links, room)));
                batch = self.lock();
                batch.busy -= 1;
                match listed {
                    Ok((listing, inner)) => batch.put(index, listing, inner),
                    Err(panic) => {
                        self.more.notify_all(); // nobody waits for it any longer
                        drop(batch);
                        resume_unwind(panic);
                    }
                }
                if batch.idle > 0 {
                    self.more.notify_all();
                }
            } else if batch.busy > 0 {
                batch.idle += 1;
                batch = self.more.wait(batch).unwrap_or_else(PoisonError::into_inner);
                batch.idle -= 1;
            } else {
                break;
            }
        }
        if batch.idle > 0 {
            self.more.notify_all();
        }
    }
}

impl Batch<'_> {
    /// Gives out what lies on the top, and piles up what is in it.
    fn give(&mut self) {
        while self.entries < self.limit
            && let Some(folder) = self.pile.pop_if(|it| matches!(it, Folder::Listed(..)))
        {
            let Folder::Listed(listing, inner) = folder else { break };
            self.ahead -= listing.entries();
            self.entries += listing.entries();
            self.given.push(listing);
            // The first folder of the listing comes next.
            self.pile.extend(inner.into_iter().rev().map(Folder::Waiting));
        }
    }

    /// The folder whose turn comes first, of those nobody has taken. Its place stays what it is:
    /// nothing leaves the pile from under a folder that is taken.
    fn take(&mut self) -> Option<(usize, PathBuf)> {
        let index = self.pile.iter().rposition(|it| matches!(it, Folder::Waiting(_)))?;
        if self.ahead >= self.limit && index + 1 < self.pile.len() {
            return None; // enough has been listed before its turn
        }
        let folder = self.pile.get_mut(index)?;
        let Folder::Waiting(path) = std::mem::replace(folder, Folder::Taken) else { return None };
        self.busy += 1;
        Some((index, path))
    }

    fn put(&mut self, index: usize, listing: Listing, inner: Vec<PathBuf>) {
        self.ahead += listing.entries();
        if let Some(folder) = self.pile.get_mut(index) {
            *folder = Folder::Listed(listing, inner);
        }
    }
}

impl Listing {
    /// What it counts in a batch.
    fn entries(&self) -> usize {
        1 + self.folders.len() + self.files.len()
    }
}

/// Lists one folder; gives the folders to go into as well.
fn list(path: PathBuf, follow_links: bool, room: &mut Room) -> (Listing, Vec<PathBuf>) {
    let (mut folders, mut files, mut inner) = (Names::default(), Names::default(), Vec::new());
    let read = Reader::open(&path).and_then(|mut reader| {
        reader.read(usize::MAX, room, |entry| {
            let goes_on = match entry.kind {
                Kind::Folder => true,
                Kind::Link if entry.leads_to_folder() => follow_links,
                Kind::Link | Kind::File | Kind::Other => return files.push(entry.name),
            };
            if goes_on {
                inner.push(path.join(entry.name));
            }
            folders.push(entry.name);
        })
    });
    if let Err(error) = read {
        // As os.walk: what has been seen of it counts for nothing.
        let failure = Some(Failure::of(&path, &error));
        let (folders, files) = (Names::default(), Names::default());
        return (Listing { path, folders, files, failure }, Vec::new());
    }
    (Listing { path, folders, files, failure: None }, inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Paths in the order of the walk by one thread, folder by folder.
    fn alone(path: PathBuf) -> Vec<PathBuf> {
        let (listing, inner) = list(path, false, &mut Room::default());
        let below = inner.into_iter().flat_map(alone);
        std::iter::once(listing.path).chain(below).collect()
    }

    fn tree(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("offloop-{name}-{}", std::process::id()));
        for number in 0..40 {
            for inner in 0..10 {
                let folder = root.join(format!("{number}/{inner}/deep"));
                fs::create_dir_all(&folder).unwrap();
                for file in 0..number {
                    fs::write(folder.join(file.to_string()), "").unwrap();
                }
            }
        }
        root
    }

    #[test]
    fn two_threads_give_folders_in_the_order_of_one() {
        let root = tree("order");
        let expected = alone(root.clone());
        for limit in [1, 700, 2_000, usize::MAX] {
            let mut walk = Walk::new(root.clone(), false);
            let mut found = Vec::new();
            loop {
                let batch = walk.next_batch(limit, &Halt::default()).unwrap();
                if batch.is_empty() {
                    break;
                }
                found.extend(batch.into_iter().map(|listing| listing.path));
            }
            assert!(found == expected, "batches of {limit}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_was_listed_before_its_turn_is_skipped_as_well() {
        let root = tree("skip");
        let mut walk = Walk::new(root.clone(), false);
        let first = walk.next_batch(1_000, &Halt::default()).unwrap();
        let (listing, inner) = list(root.join("none"), false, &mut Room::default());
        walk.pile.insert(0, Folder::Listed(Listing { path: root.join("0/x"), ..listing }, inner));
        assert!(!first.is_empty());
        walk.skip(&root);
        assert!(walk.next_batch(1_000, &Halt::default()).unwrap().is_empty());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_stopped_walk_stops() {
        let root = tree("stop");
        let halt = Halt::default();
        let _ = halt.ask();
        let mut walk = Walk::new(root.clone(), false);
        assert!(matches!(walk.next_batch(10_000, &halt), Err(Failure::Stopped)));
        fs::remove_dir_all(root).unwrap();
    }
}
