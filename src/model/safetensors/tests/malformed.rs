//! One test per way in which a file can be wrong.

use serde_json::json;

use super::{Writer, check_malformed, check_truncated, file, read};

fn two() -> Writer {
    Writer::new()
        .f32s("a", &[2], &[1.0, 2.0])
        .tensor("b", "F16", &[1, 3], &[0; 6])
}

/// One tensor with these facts, before 8 bytes of data.
fn one(facts: &serde_json::Value) -> Vec<u8> {
    let writer = Writer::new().entry("w", facts.clone());
    file(writer.header().as_bytes(), &[0; 8])
}

#[test]
fn what_a_valid_file_holds() {
    let bytes = two().entry("__metadata__", json!({"format": "pt"})).bytes();
    let tensors = read(&bytes).unwrap();
    assert_eq!(tensors.len(), 2);
    let b = &tensors["b"];
    assert_eq!(
        (&b.shape[..], b.dtype.name(), b.n_bytes),
        (&[1, 3][..], "F16", 6)
    );
    assert_eq!(b.start + b.n_bytes, bytes.len());
    // Written in another order than they lie in.
    let swapped = Writer::new()
        .entry(
            "b",
            json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}),
        )
        .entry(
            "a",
            json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
        );
    assert!(read(&file(swapped.header().as_bytes(), &[0; 8])).is_ok());
    assert!(read(&file(b"{}", b"")).unwrap().is_empty());
}

#[test]
fn truncated_at_every_byte() {
    let bytes = two().bytes();
    for n_bytes in 0..bytes.len() {
        check_truncated(&bytes[..n_bytes]);
    }
}

#[test]
fn huge_header() {
    let mut bytes = two().bytes();
    for length in [100_000_001, 1 << 40, u64::MAX] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        check_malformed(&bytes, "at most 100000000");
    }
    bytes[..8].copy_from_slice(&99_999_999u64.to_le_bytes());
    check_truncated(&bytes);
}

#[test]
fn headers_that_are_no_table() {
    for header in [
        "",
        "[]",
        "{",
        "null",
        "{\"a\":1}",
        "{\"a\":{}}",
        "\u{1}",
        "{}x",
    ] {
        check_malformed(&file(header.as_bytes(), b""), "header");
    }
    check_malformed(&file(b"{\"\xff\":1}", b""), "header");
    // Deep nesting must not exhaust the stack, not even where it is passed over.
    let deep = format!("{{\"__metadata__\":{}", "[".repeat(200_000));
    check_malformed(&file(deep.as_bytes(), b""), "header");
}

#[test]
fn entries_of_the_wrong_type() {
    for facts in [
        json!({"dtype": "F32", "shape": [2]}),
        json!({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}),
        json!({"dtype": "F32", "shape": [2.5], "data_offsets": [0, 8]}),
        json!({"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}),
        json!({"dtype": "F32", "shape": [2], "data_offsets": [0]}),
        json!({"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}),
        json!({"dtype": "F32", "shape": [2], "data_offsets": ["0", "8"]}),
        json!({"dtype": "Q4", "shape": [2], "data_offsets": [0, 8]}),
        json!({"dtype": 1, "shape": [2], "data_offsets": [0, 8]}),
    ] {
        check_malformed(&one(&facts), "header");
    }
}

#[test]
fn sizes_that_do_not_fit() {
    let facts = |shape: &[u64], start: u64, end: u64| json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
    assert!(read(&one(&facts(&[2], 0, 8))).is_ok());
    check_malformed(&one(&facts(&[3], 0, 8)), "need 12");
    check_malformed(&one(&facts(&[1], 0, 8)), "need 4");
    check_malformed(&one(&facts(&[0], 0, 0)), "shape");
    check_malformed(&one(&facts(&[1 << 32, 1 << 32], 0, 8)), "shape");
    check_malformed(&one(&facts(&[u64::MAX], 0, 8)), "shape");
    check_malformed(&one(&facts(&[1; 9], 0, 4)), "shape");
    check_truncated(&one(&facts(&[4], 0, 16)));
    check_truncated(&one(&facts(&[1 << 40], 0, 1 << 42)));
    check_malformed(&one(&facts(&[1], 8, 4)), "lies at 8..4");
}

#[test]
fn gaps_and_overlaps() {
    let pair = |first: [u64; 2], second: [u64; 2]| {
        let entry = |[start, end]: [u64; 2]| json!({"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]});
        let writer = Writer::new()
            .entry("a", entry(first))
            .entry("b", entry(second));
        file(writer.header().as_bytes(), &[0; 8])
    };
    assert!(read(&pair([0, 4], [4, 8])).is_ok());
    check_malformed(&pair([0, 4], [3, 8]), "the one before it ends at 4");
    check_malformed(&pair([0, 8], [0, 8]), "the one before it ends at 8");
    check_malformed(&pair([0, 3], [4, 8]), "the one before it ends at 3");
    check_malformed(&pair([1, 4], [4, 8]), "the one before it ends at 0");
    check_malformed(&pair([0, 4], [4, 7]), "1 bytes after the last");
}

#[test]
fn a_name_that_stands_twice() {
    let writer = two().f32s("a", &[1], &[3.0]);
    check_malformed(&writer.bytes(), "`a` stands twice");
}
