//! Writes Jobs down as they come home, for those who watch: see core's `watch::Book`.
//!
//! On the loops' threads, with the GIL. While nobody watches, a Job pays one load for it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use offloop_core::bridge::{note_times, note_times_no_more, times_are_noted};
use offloop_core::fetch::{Url, redacted};
use offloop_core::watch::{self, Book, End, Entry};
use pyo3::prelude::*;

use crate::convert::lock;
use crate::event_loop::JobTicket;
use crate::label::Label;
use crate::progress::Manner;

/// Bytes of a function's name that are kept.
const LONGEST_NAME: usize = 200;

/// What a Job is called, without a Python object; made into text when somebody reads.
#[derive(Clone, Debug)]
pub(crate) enum Title {
    Request(Method, Arc<Url>),
    Path(&'static str, Arc<Path>),
    Name(Box<str>),
    Text(&'static str),
}

impl Title {
    fn of(label: &Label, py: Python<'_>) -> (Self, usize) {
        match label {
            Label::Request(method, url) => {
                let bytes = size_of::<Url>() + url.as_str().len();
                (Self::Request(method.clone(), Arc::clone(url)), bytes)
            }
            Label::Path(verb, path) => (Self::Path(verb, Arc::clone(path)), path.as_os_str().len()),
            Label::Text(text) => (Self::Text(text), 0),
            Label::Call(_) => {
                let mut name = label.text(py);
                let end = (0..=LONGEST_NAME.min(name.len())).rev();
                name.truncate(end.into_iter().find(|end| name.is_char_boundary(*end)).unwrap_or(0));
                let bytes = name.len();
                (Self::Name(name.into()), bytes)
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Request(method, url) => format!("{method} {}", redacted(url)),
            Self::Path(verb, path) => format!("{verb} {}", path.display()),
            Self::Name(name) => name.to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }
}

/// The open books. Held for an entry or a copy, never while Python runs.
static BOOKS: Mutex<Vec<(u64, Book<Title>)>> = Mutex::new(Vec::new());

/// A book that is written until this is closed or dropped.
#[derive(Debug)]
pub(crate) struct Record {
    key: u64,
    /// What it held when it was closed.
    closed: Mutex<Option<Book<Title>>>,
}

impl Record {
    pub(crate) fn open() -> Self {
        let began = watch::now();
        let mut books = lock(&BOOKS);
        let key = books.iter().map(|(key, _)| key + 1).max().unwrap_or(0);
        books.push((key, Book::new(began)));
        note_times();
        Self { key, closed: Mutex::default() }
    }

    /// Nothing is written any more; what is there stays.
    pub(crate) fn close(&self) {
        let mut closed = lock(&self.closed);
        if closed.is_none() {
            let mut books = lock(&BOOKS);
            if let Some(index) = books.iter().position(|(key, _)| *key == self.key) {
                *closed = Some(books.remove(index).1);
                note_times_no_more();
            }
        }
    }

    /// A copy of what is written.
    pub(crate) fn read(&self) -> Option<Book<Title>> {
        if let Some(book) = &*lock(&self.closed) {
            return Some(book.clone());
        }
        lock(&BOOKS).iter().find(|(key, _)| *key == self.key).map(|(_, book)| book.clone())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close();
    }
}

/// A Job has come home, or was cancelled on its way.
pub(crate) fn note(
    py: Python<'_>,
    label: &Label,
    manner: &Manner,
    ticket: &JobTicket,
    since: Instant,
    end: End,
) {
    if !times_are_noted() {
        return;
    }
    let landed = watch::now();
    let elapsed = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let (title, bytes) = Title::of(label, py);
    let lane = match (manner, label) {
        (Manner::Call(terms) | Manner::Outside(terms, _), _) => &*terms.pool.name,
        (Manner::File(_), _) | (_, Label::Path(..)) => "files",
        (Manner::Errand(..), _) => "errands",
        (Manner::Operation | Manner::Stoppable(_), _) => "fetch",
    };
    for (_, book) in &mut *lock(&BOOKS) {
        book.add(Entry {
            lane,
            label: (title.clone(), bytes),
            started: landed.saturating_sub(elapsed),
            times: ticket.times(),
            landed,
            end,
            worker: ticket.worker(),
        });
    }
}
