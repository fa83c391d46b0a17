//! One test per way in which a file can be wrong.

use super::writer::{
    ARRAY, F32, Q4_1, Q8_0, STRING, TensorEntry, U32, Writer, array, f32s, q8_0, string, tiny,
};
use super::{read, refused, weights};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::weights::WeightSource as _;

/// Checks that a file is refused as malformed, for the reason that `part` is of.
#[track_caller]
fn check_malformed(writer: &Writer, part: &str) {
    match refused(&writer.bytes()) {
        Error::Malformed { what } => assert!(what.contains(part), "`{what}` lacks `{part}`"),
        other => panic!("expected `malformed`, found {other:?}"),
    }
}

/// Checks that a file is refused because it announces more than it has.
#[track_caller]
fn check_truncated(writer: &Writer) {
    let error = refused(&writer.bytes());
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
    assert!(error.hint().is_some());
}

fn one_tensor(dims: &[u64], type_id: u32, offset: u64) -> Writer {
    let mut writer = Writer::new();
    writer.tensors.push(TensorEntry {
        name: "w".into(),
        dims: dims.to_vec(),
        type_id,
        offset,
    });
    writer.data = vec![0; 256];
    writer
}

#[test]
fn wrong_magic() {
    let mut writer = tiny();
    writer.magic = *b"GGML";
    let error = refused(&writer.bytes());
    assert!(
        matches!(error, Error::NotGguf { ref found, .. } if found == b"GGML"),
        "{error:?}"
    );
}

#[test]
fn unknown_version() {
    // The last is version 3 in the other byte order.
    for version in [0, 1, 4, 99, 3u32.swap_bytes()] {
        let mut writer = tiny();
        writer.version = version;
        let error = refused(&writer.bytes());
        assert!(
            matches!(error, Error::GgufVersion { found } if found == version),
            "{error:?}"
        );
    }
}

#[test]
fn truncated_at_every_byte() {
    let bytes = tiny().bytes();
    assert!(read(&bytes).is_ok());
    for n_bytes in 1..bytes.len() {
        let error = refused(&bytes[..n_bytes]);
        let expected = if n_bytes < 4 {
            matches!(error, Error::NotGguf { .. })
        } else {
            matches!(error, Error::Truncated { size, .. } if size == n_bytes)
        };
        assert!(expected, "cut at {n_bytes}: {error:?}");
    }
}

#[test]
fn empty_file_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.gguf");
    std::fs::write(&path, b"").unwrap();
    let error = Gguf::open(&path).unwrap_err();
    assert!(
        matches!(error, Error::NotGguf { ref found, .. } if found.is_empty()),
        "{error:?}"
    );

    let error = Gguf::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    let error = Gguf::open(&folder.path().join("absent.gguf")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn huge_string_length() {
    for length in [1 << 20, u64::MAX / 2, u64::MAX] {
        let mut value = string("abc");
        value[..8].copy_from_slice(&length.to_le_bytes());
        check_truncated(&Writer::new().entry("key", STRING, value));
    }
}

#[test]
fn huge_key_length() {
    let mut bytes = Writer::new().u32("key", 1).bytes();
    bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(refused(&bytes), Error::Truncated { .. }));
}

#[test]
fn huge_array_count() {
    for element in [0, 2, 4, 6, 7, STRING, 10, 12] {
        for n in [1 << 20, 1 << 61, u64::MAX] {
            let value = array(element, n, vec![0; 16]);
            check_truncated(&Writer::new().entry("key", ARRAY, value));
        }
    }
}

#[test]
fn huge_counts() {
    for n in [1 << 20, u64::MAX / 24, u64::MAX] {
        let mut writer = tiny();
        writer.n_entries = Some(n);
        check_truncated(&writer);
        let mut writer = tiny();
        writer.n_tensors = Some(n);
        check_truncated(&writer);
    }
}

#[test]
fn array_of_arrays() {
    let inner = array(0, 1, vec![1]);
    check_malformed(
        &Writer::new().entry("key", ARRAY, array(ARRAY, 1, inner)),
        "`key` is an array of value type 9",
    );
}

#[test]
fn unknown_value_type() {
    check_malformed(
        &Writer::new().entry("key", 13, vec![0; 8]),
        "unknown value type 13",
    );
    check_malformed(
        &Writer::new().entry("key", ARRAY, array(13, 1, vec![0; 8])),
        "array of value type 13",
    );
}

#[test]
fn bool_of_seven() {
    check_malformed(&Writer::new().entry("key", 7, vec![7]), "bool of value 7");
    check_malformed(
        &Writer::new().entry("key", ARRAY, array(7, 2, vec![1, 7])),
        "bool of value 7",
    );
}

#[test]
fn text_that_is_not_utf8() {
    let mut value = string("abc");
    value[9] = 0xff;
    check_malformed(&Writer::new().entry("key", STRING, value), "not UTF-8");
    let mut writer = Writer::new().u32("key", 1);
    writer.entries[0].0[1] = 0xff;
    check_malformed(&writer, "metadata key is not UTF-8");
}

#[test]
fn integer_past_its_type() {
    check_malformed(
        &Writer::new().entry("key", ARRAY, array(10, 1, vec![0xff; 8])),
        "past a signed integer",
    );
}

#[test]
fn duplicates() {
    let writer = tiny().entry("t.u8", U32, vec![0; 4]);
    check_malformed(&writer, "`t.u8` stands twice");
    let writer = tiny().tensor("f32", &[1], F32, &f32s(&[1.0]));
    check_malformed(&writer, "`f32` stands twice");
}

#[test]
fn wrong_alignment() {
    for alignment in [0, 1, 3, 4, 48, 1 << 21, u32::MAX] {
        check_malformed(&tiny().u32("general.alignment", alignment), "alignment");
    }
    check_malformed(&tiny().string("general.alignment", "32"), "alignment");
    let huge = (1u64 << 63).to_le_bytes().to_vec();
    check_malformed(&tiny().set("general.alignment", 10, huge), "alignment");
}

#[test]
fn wrong_number_of_dimensions() {
    check_malformed(&one_tensor(&[], F32, 0), "0 dimensions");
    check_malformed(&one_tensor(&[1; 5], F32, 0), "5 dimensions");
    assert!(read(&one_tensor(&[1; 4], F32, 0).bytes()).is_ok());
}

#[test]
fn shape_past_the_address_space() {
    check_malformed(&one_tensor(&[1 << 32, 1 << 32], F32, 0), "shape");
    check_malformed(&one_tensor(&[u64::MAX, 2], F32, 0), "shape");
    // The product fits, its size in bytes does not.
    check_truncated(&one_tensor(&[1 << 31, 1 << 31], F32, 0));
    check_truncated(&one_tensor(&[1 << 63], F32, 0));
}

#[test]
fn zero_dimension() {
    check_malformed(&one_tensor(&[0], F32, 0), "shape");
    check_malformed(&one_tensor(&[4, 0], F32, 0), "shape");
}

#[test]
fn unaligned_offset() {
    check_malformed(&one_tensor(&[4], F32, 4), "offset 4, not aligned");
}

#[test]
fn offset_past_the_end() {
    for offset in [256, 1 << 40, u64::MAX - 31] {
        check_truncated(&one_tensor(&[4], F32, offset));
    }
    assert!(read(&one_tensor(&[8], F32, 224).bytes()).is_ok());
    check_truncated(&one_tensor(&[9], F32, 224));
}

#[test]
fn rows_that_are_no_multiple_of_a_block() {
    check_malformed(&one_tensor(&[16, 2], Q8_0, 0), "rows of 16");
    check_malformed(&one_tensor(&[33], Q4_1, 0), "rows of 33");
}

#[test]
fn unknown_tensor_type_is_refused_when_used() {
    let mut writer = tiny();
    writer.tensors[0].type_id = 99;
    let gguf = read(&writer.bytes()).unwrap();
    assert!(weights(&gguf, "f16", &[4]).is_ok());
    let error = gguf.dense("f32", &[2, 3]).unwrap_err();
    assert!(
        matches!(error, Error::TensorType { type_id: 99, .. }),
        "{error:?}"
    );
    assert_eq!(gguf.types()["type 99"], (1, 0));
}

#[test]
fn unknown_types_of_huge_shapes_are_counted() {
    // Their extent is unknown, so only the product is bounded, and sums of products may overflow.
    let mut writer = one_tensor(&[1 << 62, 2], 99, 0);
    let mut other = writer.tensors[0].clone();
    other.name = "v".into();
    writer.tensors.push(other);
    assert_eq!(read(&writer.bytes()).unwrap().main_type(), "type 99");
}

#[test]
fn weights_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let writer = Writer::new()
            .tensor("a", &[2], F32, &f32s(&[1.0, value]))
            .tensor("b", &[32], Q8_0, &q8_0(value, [1; 32]));
        let gguf = read(&writer.bytes()).unwrap();
        for (name, n) in [("a", 2), ("b", 32)] {
            let error = gguf.dense(name, &[n]).unwrap_err();
            assert!(
                matches!(error, Error::NonFiniteWeight { ref tensor } if tensor == name),
                "{error:?}"
            );
        }
    }
}
