use super::*;

fn body(shared: Arc<Shared>) -> ReadAhead {
    ReadAhead { shared, task: Mutex::default(), beginning: Mutex::new(Beginning::Begun) }
}

#[test]
fn a_step_that_ends_after_the_close_puts_nothing_down() {
    let shared = Arc::<Shared>::default();
    let stream = body(Arc::clone(&shared));
    assert!(shared.take(Some(Bytes::from_static(b"before")), 6));
    stream.close();
    assert!(stream.has_ended());
    assert!(!shared.take(Some(Bytes::from_static(b"after")), 11), "the reader goes on");
    assert!(stream.has_ended());
    // What a body holds is what it counts for among all.
    assert_eq!(lock(&shared.state).bytes, 0);
    assert!(lock(&shared.state).ready.is_empty());
    assert_eq!(stream.received(), 6);
}

#[test]
fn the_first_end_of_a_body_is_its_end() {
    let shared = Arc::<Shared>::default();
    let stream = body(Arc::clone(&shared));
    stream.close();
    end(&shared, Ok(()));
    let end = stream.try_next(1).and_then(Result::err);
    assert_eq!(end.map(|error| error.kind), Some(Kind::Closed));
}
