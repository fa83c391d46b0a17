//! `--device` and `--compute`: what is there runs, and what is not there is said before anything is read.

use serde_json::Value;

use crate::{expect_error, expect_ok, root};

fn info(more: &[&str]) -> Vec<String> {
    let model = root().join("tests/fixtures/tiny/llama");
    let words = ["model", "info", "--json", "--model"].map(str::to_owned);
    let more = more.iter().map(ToString::to_string);
    words
        .into_iter()
        .chain([model.display().to_string()])
        .chain(more)
        .collect()
}

fn run_info(more: &[&str]) -> Value {
    let words = info(more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    serde_json::from_str(&expect_ok(&words)).unwrap()
}

#[track_caller]
fn check_refused(more: &[&str], parts: &[&str]) {
    let words = info(more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    expect_error(&words, 2, parts);
}

#[test]
fn the_same_model_on_each_device() {
    let cpu = run_info(&["--compute", "f32"]);
    let tensors = run_info(&["--device", "tensors"]);
    let rounded = run_info(&["--device", "tensors", "--compute", "bf16"]);
    let names = |name: &str| [&cpu, &tensors, &rounded].map(|info| info[name].clone());
    assert_eq!(names("device"), ["cpu", "tensors", "tensors"]);
    let computes = [&cpu, &tensors, &rounded].map(|info| info["fingerprint"]["compute"].clone());
    assert_eq!(computes, ["f32", "f32@tensors", "bf16@tensors"]);
    let bytes = names("weight_bytes").map(|bytes| bytes.as_u64().unwrap());
    assert_eq!(bytes[1], 2 * bytes[2]);
    assert_eq!(rounded["packed_types"][0]["name"], "bf16");
    assert_eq!(
        cpu["fingerprint"]["weights_sha256"],
        rounded["fingerprint"]["weights_sha256"]
    );
}

#[test]
fn what_a_device_lacks_is_refused() {
    check_refused(&["--device", "gpu"], &["unknown device `gpu`", "`cuda:1`"]);
    check_refused(&["--device", "cuda:x"], &["unknown device `cuda:x`"]);
    check_refused(
        &["--compute", "bf16"],
        &["no `bf16` on the device `cpu`", "hint:", "--device cuda"],
    );
    check_refused(
        &["--device", "tensors", "--compute", "int8"],
        &["no `int8` on the device `tensors`", "hint:", "--device cpu"],
    );
    for (device, built) in [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ] {
        if !built {
            check_refused(
                &["--device", device],
                &[
                    &format!("no support for the device `{device}`"),
                    "hint:",
                    &format!("--features {device}"),
                ],
            );
        }
    }
    let doctor = expect_ok(&["doctor"]);
    assert!(doctor.contains("devices         cpu, cuda"), "{doctor}");
}
