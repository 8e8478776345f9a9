//! Folders listed in batches: one, or a whole tree of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use super::entries::Kind;
use super::entries::Reader;
use super::{Failure, Halt};

/// One folder's listing in progress.
#[derive(Debug)]
pub struct Scan {
    path: PathBuf,
    /// Opened by the first batch.
    reader: Option<Reader>,
    over: bool,
}

impl Scan {
    /// The folder `path`, not opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, reader: None, over: false }
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
        let more = reader.read(limit, |name, kind| entries.push((name.to_owned(), kind)));
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
    pub folders: Vec<OsString>,
    /// All other names.
    pub files: Vec<OsString>,
    /// Why it could not be listed, or not to its end.
    pub failure: Option<Failure>,
}

/// A tree of folders from the top down, in the order of `os.walk`.
#[derive(Debug)]
pub struct Walk {
    /// Folders still to be listed, the next one last.
    waiting: Vec<PathBuf>,
    follow_links: bool,
}

impl Walk {
    /// The tree below `path`; goes into symbolic links only if it is told to.
    #[must_use]
    pub fn new(path: PathBuf, follow_links: bool) -> Self {
        Self { waiting: vec![path], follow_links }
    }

    /// The next folders, until about `limit` entries are together; none when there are no more.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn next_batch(&mut self, limit: usize, halt: &Halt) -> Result<Vec<Listing>, Failure> {
        let mut listings = Vec::new();
        let mut entries = 0;
        while entries < limit {
            halt.check()?;
            let Some(path) = self.waiting.pop() else { break };
            let listing = self.list(path);
            entries += 1 + listing.folders.len() + listing.files.len();
            listings.push(listing);
        }
        Ok(listings)
    }

    /// Leaves out all folders that still wait below `path`, and itself.
    pub fn skip(&mut self, path: &Path) {
        self.waiting.retain(|waiting| !waiting.starts_with(path));
    }

    fn list(&mut self, path: PathBuf) -> Listing {
        let mut listing = Listing { path, folders: Vec::new(), files: Vec::new(), failure: None };
        let before = self.waiting.len();
        let listed = Reader::open(&listing.path)
            .and_then(|mut reader| reader.rest().map(|entries| (reader, entries)));
        let (reader, entries) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // As os.walk: what has been seen of it counts for nothing.
                listing.failure = Some(Failure::of(&listing.path, &error));
                return listing;
            }
        };
        for (name, kind) in entries {
            let goes_on = match kind {
                Kind::Folder => true,
                Kind::Link if reader.leads_to_folder(&name) => self.follow_links,
                Kind::Link | Kind::File | Kind::Other => {
                    listing.files.push(name);
                    continue;
                }
            };
            if goes_on {
                self.waiting.push(listing.path.join(&name));
            }
            listing.folders.push(name);
        }
        // The first folder of the listing comes next.
        if let Some(added) = self.waiting.get_mut(before..) {
            added.reverse();
        }
        listing
    }
}
