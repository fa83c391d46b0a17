//! What identifies a loaded model.

use std::fmt::Write;

use candor_schema::{FormatVersion, ModelFingerprint};
use sha2::{Digest, Sha256};

use crate::chat_template::ChatTemplate;
use crate::config::DecoderConfig;
use crate::decoder::Compute;
use crate::gguf::{Gguf, Value};
use crate::tokenizer::Tokenizer;

pub(crate) fn of(
    gguf: &Gguf,
    config: &DecoderConfig,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    compute: Compute,
) -> ModelFingerprint {
    let base = ["general.basename", "general.name"]
        .into_iter()
        .find_map(|key| match gguf.get(key) {
            Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
            _ => None,
        });
    // A struct of plain numbers always serialises, and its fields keep their order.
    let config_json =
        serde_json::to_vec(config).expect("a struct of numbers and strings serialises");
    ModelFingerprint {
        format_version: FormatVersion::CURRENT,
        base: base.unwrap_or_else(|| "unnamed".into()),
        architecture: config.architecture.clone(),
        config_sha256: sha256_hex(&config_json),
        weights_sha256: sha256_hex(gguf.bytes()),
        quantisation: gguf.main_type(),
        tokenizer_sha256: tokenizer.sha256().to_owned(),
        template_sha256: sha256_hex(template.map_or("", ChatTemplate::source).as_bytes()),
        adapters: Vec::new(),
        compute: compute.to_string(),
    }
}

/// One hash over the whole fingerprint.
pub(crate) fn key(fingerprint: &ModelFingerprint) -> String {
    sha256_hex(
        &serde_json::to_vec(fingerprint).expect("a struct of numbers and strings serialises"),
    )
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
}
