//! What a valid file holds is read back.

use super::super::Value;
use super::writer::{ARRAY, F32_VALUE, Writer, array, f32s, tiny};
use super::{read, weights};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::weights::WeightSource as _;

#[test]
fn metadata_of_every_type() {
    let gguf = read(&tiny().bytes()).unwrap();
    let check = |key: &str, expected: Value| assert_eq!(gguf.get(key), Some(&expected), "{key}");
    check("t.u8", Value::Unsigned(200));
    check("t.i8", Value::Signed(-128));
    check("t.u16", Value::Unsigned(65_535));
    check("t.i16", Value::Signed(-300));
    check("t.u32", Value::Unsigned(u64::from(u32::MAX)));
    check("t.i32", Value::Signed(-70_000));
    check("t.f32", Value::Float(0.5));
    check("t.bool", Value::Bool(true));
    check("t.string", Value::String("héllo".into()));
    check(
        "t.strings",
        Value::Strings(vec![String::new(), "a".into(), "né".into()]),
    );
    check("t.i32s", Value::Integers(vec![-1, 0, 7]));
    check("t.bools", Value::Integers(vec![0, 1]));
    check("t.f32s", Value::Floats(vec![1.5, -2.0]));
    check("t.u64", Value::Unsigned(u64::MAX));
    check("t.i64", Value::Signed(i64::MIN));
    check("t.f64", Value::Float(0.1));
    assert_eq!(gguf.get("absent"), None);
}

#[test]
fn tensors_of_every_tested_type() {
    let gguf = read(&tiny().bytes()).unwrap();
    let dense = |name: &str, shape: &[usize]| weights(&gguf, name, shape).unwrap();
    assert_eq!(dense("f32", &[2, 3]), [0., 1., 2., 3., 4., -5.]);
    assert_eq!(dense("f16", &[4]), [0.5, -1.0, 2.25, 1024.0]);
    // All values are sums of few powers of two, so nothing is rounded.
    let q8_0: Vec<f32> = (-16..16).map(|q| 0.25 * q as f32).collect();
    assert_eq!(dense("q8_0", &[1, 32]), q8_0);
    let q4_1: Vec<f32> = (0..32).map(|i| 0.5 * (i % 16) as f32 - 1.0).collect();
    assert_eq!(dense("q4_1", &[1, 32]), q4_1);

    assert!(gguf.has_tensor("f32") && !gguf.has_tensor("f64"));
    assert_eq!(gguf.tensor_shape("f32").unwrap(), [2, 3]);
    assert_eq!(gguf.types()["Q4_1"], (1, 20));
    assert_eq!(gguf.types()["Q8_0"], (1, 34));
    assert!(matches!(
        gguf.dense("f32", &[3, 2]),
        Err(Error::TensorShape { found, .. }) if found == [2, 3]
    ));
    assert!(matches!(
        gguf.dense("f64", &[1]),
        Err(Error::MissingTensor { tensor }) if tensor == "f64"
    ));
}

#[test]
fn getters_check_type_and_range() {
    let gguf = read(&tiny().f32("t.nan", f32::NAN).bytes()).unwrap();
    assert_eq!(gguf.string("t.string").unwrap(), "héllo");
    assert_eq!(gguf.count("t.u8", 200).unwrap(), 200);
    assert_eq!(gguf.integers("t.i32s").unwrap(), [-1, 0, 7]);
    assert_eq!(gguf.strings("t.strings").unwrap().len(), 3);
    assert!((gguf.float("t.f64").unwrap() - 0.1).abs() < f64::EPSILON);
    assert!(gguf.string("t.u8").is_err());
    assert!(gguf.count("t.u8", 199).is_err());
    assert!(gguf.count("t.i8", 199).is_err());
    assert!(gguf.count("t.u64", usize::MAX - 1).is_err());
    assert!(gguf.float("t.nan").is_err());
    assert!(gguf.integers("t.f32s").is_err());
    assert!(gguf.strings("t.string").is_err());
}

#[test]
fn version_2_and_other_alignments() {
    let mut version_2 = tiny();
    version_2.version = 2;
    assert!(read(&version_2.bytes()).is_ok());

    for alignment in [8, 64, 4096] {
        let mut writer = Writer::new();
        writer.alignment = alignment;
        let writer = writer
            .u32("general.alignment", alignment as u32)
            .tensor("a", &[1], 0, &f32s(&[1.0]))
            .tensor("b", &[2], 0, &f32s(&[2.0, 3.0]));
        let gguf = read(&writer.bytes()).unwrap();
        assert_eq!(weights(&gguf, "b", &[2]).unwrap(), [2.0, 3.0]);
    }
}

#[test]
fn a_file_without_anything() {
    let gguf = read(&Writer::new().bytes()).unwrap();
    assert_eq!(gguf.main_type(), "none");
    assert!(gguf.types().is_empty());
}

#[test]
fn empty_arrays_are_read() {
    let writer = Writer::new()
        .strings("strings", &[])
        .i32s("integers", &[])
        .entry("floats", ARRAY, array(F32_VALUE, 0, Vec::new()));
    let gguf = read(&writer.bytes()).unwrap();
    assert!(gguf.strings("strings").unwrap().is_empty());
    assert!(gguf.integers("integers").unwrap().is_empty());
    assert_eq!(gguf.get("floats"), Some(&Value::Floats(Vec::new())));
}

#[test]
fn a_file_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let bytes = tiny().bytes();
    std::fs::write(&path, &bytes).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.files(), [bytes]);
    assert_eq!(gguf.string("general.architecture").unwrap(), "llama");
}
