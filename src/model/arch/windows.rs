//! Which layers see only a window of the keys.
//!
//! A window of `w` keys includes the query's own: transformers masks `key <= query - w`, and
//! llama.cpp does the same.

use serde_json::Value;

use super::sizes::MAX_CONTEXT;
use crate::arch::HfConfig;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Per layer, a window or none.
pub(super) type Windows = Vec<Option<usize>>;

/// The same window in every layer. One as long as the context does nothing.
pub(super) fn uniform(window: Option<usize>, n_layers: usize, n_ctx: usize) -> Windows {
    vec![window.filter(|&window| window < n_ctx); n_layers]
}

/// Refuses a window in a GGUF file whose architecture has none in llama.cpp, unless it is as long
/// as the context. The file does not say which layers it is for.
pub(super) fn refuse(gguf: &Gguf, key: &str, n_ctx: usize) -> Result<()> {
    let window = match gguf.get(key) {
        None | Some(crate::gguf::Value::Unsigned(0)) => return Ok(()),
        Some(_) => gguf.count(key, usize::MAX)?,
    };
    if window >= n_ctx {
        return Ok(());
    }
    Err(Error::Unsupported {
        setting: key.to_owned(),
        found: window.to_string(),
        supported: "absent".into(),
    })
}

/// The window of `config.json`; `default` is meant where it is left out, `null` is none.
pub(super) fn of_hf(config: &HfConfig<'_>, default: Option<usize>) -> Result<Option<usize>> {
    match (
        config.get("sliding_window"),
        config.mentions("sliding_window"),
    ) {
        (Some(_), _) => config.count("sliding_window", MAX_CONTEXT).map(Some),
        (None, true) => Ok(None),
        (None, false) => Ok(default),
    }
}

/// `layer_types`: per layer, whether it has a window. `None` where the setting is left out.
pub(super) fn layer_types(config: &HfConfig<'_>, n_layers: usize) -> Result<Option<Vec<bool>>> {
    let Some(value) = config.get("layer_types") else {
        return Ok(None);
    };
    let kinds = value.as_array().filter(|kinds| kinds.len() == n_layers);
    let kinds =
        kinds.ok_or_else(|| config.wrong("layer_types", "an array with one name per layer"))?;
    let kinds = kinds.iter().map(|kind| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(Error::Unsupported {
            setting: "layer_types".into(),
            found: kind.to_string(),
            supported: "sliding_attention, full_attention".into(),
        }),
    });
    kinds.collect::<Result<_>>().map(Some)
}

/// Refuses `layer_types` that say otherwise than `windowed` for every layer.
pub(super) fn check_uniform(config: &HfConfig<'_>, n_layers: usize, windowed: bool) -> Result<()> {
    match layer_types(config, n_layers)? {
        Some(kinds) if kinds.contains(&!windowed) => Err(config.unsupported(
            "layer_types",
            "one kind, the same as `sliding_window` implies",
        )),
        _ => Ok(()),
    }
}

/// Qwen's windows: off unless `use_sliding_window`, then in layers from `max_window_layers` on
/// unless `layer_types` says which.
pub(super) fn of_qwen(config: &HfConfig<'_>, n_layers: usize, n_ctx: usize) -> Result<Windows> {
    let window = if config.flag_or("use_sliding_window", false)? {
        of_hf(config, Some(4096))?
    } else {
        None
    };
    let kinds = match layer_types(config, n_layers)? {
        Some(kinds) => kinds,
        None if window.is_none() => vec![false; n_layers],
        None => {
            let first = match config.get("max_window_layers").map(Value::as_u64) {
                None => 28,
                Some(first) => first.ok_or_else(|| config.wrong("max_window_layers", "a count"))?,
            };
            (0..n_layers as u64).map(|layer| layer >= first).collect()
        }
    };
    if window.is_none() && kinds.contains(&true) {
        return Err(config.unsupported("layer_types", "full_attention where there is no window"));
    }
    Ok(kinds
        .into_iter()
        .map(|windowed| window.filter(|&window| windowed && window < n_ctx))
        .collect())
}
