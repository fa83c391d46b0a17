//! A GGUF file of any bytes is opened, tokenizer and template included, or refused.

#![no_main]

use std::io::Write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new()
        .suffix(".gguf")
        .tempfile()
        .expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    if let Ok(model) = candor_model::Model::open(file.path()) {
        let _ = model.tokenizer().encode("The log says <|im_end|> 那个阀门");
    }
});
