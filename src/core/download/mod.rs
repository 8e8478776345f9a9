//! Downloads: from the net to a file that is whole, or not there.
//!
//! The body goes from the socket to the disk without Python: the runtime takes pieces off the wire
//! and threads of [`crate::threads`] write them. A `.part` beside the target holds what has come,
//! with a journal that says what it is, so that another call goes on where one was cut off. The
//! target appears by a rename once length, ranges and checksums agree, and in no other way.
//!
//! # Layout
//! * `transfer` runs one download: where to, what is there, and what becomes of it; `crew` are its
//!   connections, who fetch what is missing.
//! * `answer` looks at each response before a byte of it is believed, with `range`; `flow` carries
//!   one body to the disk; `plan` knows which bytes are there and which are to come.
//! * `part` is the file, which `open` finds or makes, and its `journal`; `system` is what differs
//!   between operating systems.
//! * `folder` takes the bodies of many requests of a batch, without ranges and journals.
//! * `names` are file names that others have chosen. `meter` is what a caller can watch, `stop`
//!   how he calls it off.

mod answer;
mod crew;
mod flow;
mod folder;
mod journal;
mod meter;
mod names;
mod open;
mod part;
mod plan;
mod range;
mod stop;
mod system;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::checksum::{Algorithm, Checksum};
use crate::fetch::{Request, Turn};

pub use folder::Folder;
pub use meter::{Meter, Reading, Step};
pub use stop::Stop;
pub use transfer::download;

/// What is to be downloaded, where to, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The request, without any range; its body is not limited by `max_body`.
    pub request: Request,
    /// Where to.
    pub target: Target,
    /// Go on with what an earlier call has left.
    pub resume: bool,
    /// Replace a file that is there.
    pub overwrite: bool,
    /// Which checksum.
    pub checksum: Option<Wanted>,
    /// The most connections at once.
    pub connections: usize,
    /// The fewest bytes that are worth a connection of their own.
    pub min_part: u64,
    /// The most bytes that are taken.
    pub max_bytes: Option<u64>,
    /// Have the file, and then its name, written to the disk itself before it counts as saved.
    pub durable: bool,
    /// Its turn among others, whose place it gives up while it waits to try again.
    pub turn: Option<Arc<Turn>>,
}

/// Where a download goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// To this path; if that is a folder, under a name in it.
    Path {
        /// The file or folder.
        path: PathBuf,
        /// In a folder, take the name that the server gives.
        server_name: bool,
    },
    /// To a new file in this folder.
    Temporary(PathBuf),
}

/// A checksum that is wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// To be told.
    Told(Algorithm),
    /// To be this one.
    Exactly(Checksum),
}

/// A file that is whole and has its name.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// The checksum that was wanted, or that the server gave.
    pub checksum: Option<Checksum>,
    /// How many of the bytes had been there from an earlier call.
    pub resumed_from: u64,
    /// How long it took.
    pub took: Duration,
}
