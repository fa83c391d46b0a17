//! What identifies a loaded model.

use std::fmt::Write;

use candor_schema::{FormatVersion, ModelFingerprint};
use sha2::{Digest, Sha256};

use crate::chat_template::ChatTemplate;
use crate::source::Source;
use crate::tokenizer::Tokenizer;

pub(crate) fn of(
    source: &Source,
    weights_sha256: String,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    compute: String,
) -> ModelFingerprint {
    let config = source.config();
    // A struct of plain numbers always serialises, and its fields keep their order.
    let config_json =
        serde_json::to_vec(config).expect("a struct of numbers and strings serialises");
    ModelFingerprint {
        format_version: FormatVersion::CURRENT,
        base: source.base_name().unwrap_or_else(|| "unnamed".into()),
        architecture: config.architecture.clone(),
        config_sha256: sha256_hex(&config_json),
        weights_sha256,
        quantisation: source.main_type(),
        tokenizer_sha256: tokenizer.sha256().to_owned(),
        template_sha256: sha256_hex(template.map_or("", ChatTemplate::source).as_bytes()),
        adapters: Vec::new(),
        compute,
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

/// SHA-256 of one file's bytes, or of the lines of several files' own SHA-256, in their order.
/// Files are hashed side by side, a few at a time; `release` is called every few megabytes.
pub(crate) fn sha256_of_files(files: &[&[u8]], release: &(dyn Fn() + Sync)) -> String {
    if let [file] = files {
        return sha256_in_parts(file, release);
    }
    let mut lines = String::new();
    for group in files.chunks(crate::threads::n_threads().max(1)) {
        std::thread::scope(|scope| {
            let hashes: Vec<_> = group
                .iter()
                .map(|file| scope.spawn(|| sha256_in_parts(file, release)))
                .collect();
            for hash in hashes {
                lines.push_str(&hash.join().expect("hashing does not panic"));
                lines.push('\n');
            }
        });
    }
    sha256_hex(lines.as_bytes())
}

fn sha256_in_parts(bytes: &[u8], release: &(dyn Fn() + Sync)) -> String {
    let mut hasher = Sha256::new();
    for part in bytes.chunks(8 << 20) {
        hasher.update(part);
        release();
    }
    hex(&hasher.finalize())
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
