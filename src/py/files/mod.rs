//! Files: arguments become an operation of core's, its end becomes what the builtins would give.
//!
//! # Layout
//! * `given`: paths and data as users give them, and the errors that name them.
//! * `work`: an operation on its way to core's lane of threads and back.
//! * `finding`: what an operation brings home.
//! * `whole`: the functions for whole files; `listing`: folders, in batches.

mod finding;
mod given;
mod listing;
mod whole;
mod work;

pub(crate) use finding::Finding;
pub(crate) use listing::{PyListings, PyScan, PyWalk};
pub(crate) use whole::{
    append_file, copy_file, hash_file, read_bytes, remove_tree, replace_file, write_file, write_now,
};
pub(crate) use work::{FileWork, Spare, has_threads};
