//! A safetensors file of any bytes, beside the description of a small model, is opened or refused.

#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/llama");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(tiny.join(name), folder.path().join(name)).expect("the fixture is there");
    }
    std::fs::write(folder.path().join("model.safetensors"), bytes).expect("room for it");
    let _ = candor_model::Model::open(folder.path());
});
