//! Reads the stack that CPython's faulthandler wrote. No thread of its own, no Python.
//!
//! What it writes is ASCII, newest frame first, cut at 100 frames and at 500 characters of a
//! name (`Python/traceback.c`). Whatever does not look like that is a torn dump, and no stack.

use std::sync::Arc;

/// One frame of a Python stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// As the code object has it.
    pub file: String,
    /// 0 where CPython could not tell.
    pub line: u32,
    /// The name of the function, without its class.
    pub function: String,
}

/// Newest frame first.
pub type Stack = Arc<[Frame]>;

/// The stack in `text`, or `None` when it is torn or empty.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(super) fn parse(text: &str) -> Option<Stack> {
    let mut lines = text.lines();
    // `Stack (most recent call first):`, or with `Current thread …` in front.
    if !text.ends_with('\n') || !lines.next()?.ends_with("(most recent call first):") {
        return None;
    }
    let mut frames = Vec::new();
    for line in lines {
        if line.is_empty() || line == "  ..." {
            break;
        }
        frames.push(frame(line)?);
    }
    (!frames.is_empty()).then(|| frames.into())
}

/// `  File "name", line 7 in function`.
fn frame(line: &str) -> Option<Frame> {
    let rest = line.strip_prefix("  File ")?;
    let (file, rest) = match rest.strip_prefix('"') {
        Some(rest) => rest.rsplit_once("\", line ")?,
        None => rest.split_once(", line ")?, // `???`
    };
    let (line, function) = rest.split_once(" in ")?;
    let line = line.parse().unwrap_or(0);
    Some(Frame { file: unescape(file), line, function: unescape(function) })
}

/// `\xe9`, `\u20ac` and `\U0001f600` as the characters they stand for.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        result.push_str(before);
        let digits = match escaped.chars().next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let code = escaped.get(1..=digits).filter(|_| digits > 0);
        let character = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        if let Some(character) = character.and_then(char::from_u32) {
            result.push(character);
            rest = escaped.get(digits + 1..).unwrap_or("");
        } else {
            result.push('\\');
            rest = escaped;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_dump_is_read() {
        let text = "Stack (most recent call first):\n  File \"/a/caf\\xe9 b.py\", line 18 in f\n  \
                    File \"<string>\", line ??? in <module>\n";
        let stack = parse(text).unwrap();
        let first = Frame { file: "/a/café b.py".into(), line: 18, function: "f".into() };
        assert_eq!(stack[0], first);
        assert_eq!(stack[1].line, 0);
    }

    #[test]
    fn torn_dumps_are_thrown_away() {
        assert!(parse("").is_none());
        assert!(parse("Stack (most recent call first):\n").is_none());
        assert!(parse("Stack (most recent call first):\n  File \"/a.py\", line 1").is_none());
        assert!(parse("Stack (most recent call first):\n  File \"/a.py\", li\n").is_none());
        assert!(parse("  File \"/a.py\", line 1 in f\n").is_none());
    }
}
