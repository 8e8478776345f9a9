"""How each guard is taken out of the source, and the tests that are there to notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Removal:
    """Texts, each of which must be in its file exactly once, make way for others."""

    name: str
    what: str
    """What the guard does."""
    edits: tuple[tuple[str, str, str], ...]
    """File, text, and what stands there instead."""
    tests: tuple[str, ...]


REMOVALS = [
    Removal(
        "skip-strip",
        "headers are stripped on a hop to a foreign origin",
        (
            (
                "src/core/fetch/redirect.rs",
                """\
    if foreign {
        let names""",
                """\
    if foreign && request.follow == Follow::Never {
        let names""",
            ),
        ),
        (
            "tests/fetch/test_redirects.py",
            "tests/fetch/test_redirect_matrix.py",
        ),
    ),
    Removal(
        "strip-first-only",
        "and on every later one",
        (
            (
                "src/core/fetch/client.rs",
                "match redirect::advance(request, answer.status, &answer.headers, also) {",
                """let later = !journey.history.is_empty();
            let kept = Arc::clone(&request.headers);
            let moved = redirect::advance(request, answer.status, &answer.headers, also);
            if later {
                request.headers = kept;
            }
            match moved {""",
            ),
        ),
        (
            "tests/fetch/test_redirects.py",
            "tests/fetch/test_redirect_matrix.py",
        ),
    ),
    Removal(
        "leak-permit",
        "a request that ends gives its permits back",
        (
            (
                "src/core/fetch/pool/lease.rs",
                """\
        drop(permits);
""",
                """\
        std::mem::forget(permits);
""",
            ),
        ),
        ("tests/fetch/test_limits.py",),
    ),
    Removal(
        "no-close-on-cancel",
        "a connection whose request was dropped is closed at once",
        (
            (
                "src/core/fetch/pool/connection.rs",
                """\
            self.task.abort();
""",
                """\
            let _ = &self.task;
""",
            ),
        ),
        (
            "tests/fetch/test_connections_close.py",
            "tests/fetch/test_http2.py",
            "tests/fetch/test_http2_frames.py",
        ),
    ),
    Removal(
        "reuse-half-read",
        "a connection whose body was not read to its end serves nobody else",
        (
            (
                "src/core/fetch/body.rs",
                "impl std::fmt::Debug for DecodedBody {",
                """\
impl Drop for WireBody {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::fmt::Debug for DecodedBody {""",
            ),
        ),
        ("tests/fetch/test_connections_close.py", "tests/fetch/test_streaming.py"),
    ),
    Removal(
        "no-size-count",
        "the bytes of a body are counted against max_body",
        (
            (
                "src/core/fetch/body.rs",
                "            Some(limit) if size > limit =>",
                "            Some(limit) if size > limit && limit == u64::MAX =>",
            ),
        ),
        (
            "tests/fetch/test_fetch.py",
            "tests/fetch/test_errors.py",
            "tests/fetch/test_bombs.py",
        ),
    ),
    Removal(
        "no-ratio",
        "what is decoded is held against what came over the wire",
        (
            (
                "src/core/fetch/decode.rs",
                """\
        if given <= limit {
""",
                """\
        if given <= limit || given > 0 {
""",
            ),
        ),
        ("tests/fetch/test_bombs.py",),
    ),
    Removal(
        "guard-first-hop-only",
        "the guard sees every hop, and the very addresses that are dialled",
        (
            (
                "src/core/fetch/client.rs",
                """\
            let extra = self.extra(request);
""",
                """\
            super::connect::LATER_HOP
                .store(!journey.history.is_empty(), std::sync::atomic::Ordering::Relaxed);
            let extra = self.extra(request);
""",
            ),
            (
                "src/core/fetch/connect.rs",
                "/// Where connections go, instead",
                """\
/// Set while a hop after the first is made.
pub(super) static LATER_HOP: std::sync::atomic::AtomicBool =
    std::sync::atomic::AtomicBool::new(false);

/// Where connections go, instead""",
            ),
            (
                "src/core/fetch/connect.rs",
                """\
        let Some(guard) = &self.guard else { return Ok(()) };
        let hidden""",
                """\
        let Some(guard) = &self.guard else { return Ok(()) };
        if LATER_HOP.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        let hidden""",
            ),
            (
                "src/core/fetch/connect.rs",
                """\
                if let Some(guard) = &self.guard {
                    guard.check_all""",
                """\
                if let Some(guard) = &self.guard
                    && !LATER_HOP.load(std::sync::atomic::Ordering::Relaxed)
                {
                    guard.check_all""",
            ),
        ),
        ("tests/fetch/test_guard_and_dial.py",),
    ),
    Removal(
        "replay-post",
        "only idempotent requests are sent again on a stale connection",
        (
            (
                "src/core/fetch/exchange.rs",
                """\
        let idempotent = request.method.is_idempotent() && self.options.retry_stale;
""",
                """\
        let idempotent = self.options.retry_stale;
""",
            ),
        ),
        ("tests/fetch/test_stale.py",),
    ),
]
