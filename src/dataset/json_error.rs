//! What serde says about JSON, in candor's own form.

/// The message without serde's position: a line of JSONL is always "line 1" to it.
pub(crate) fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}
