//! Which tensors a model consists of, and whether a file has exactly those.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::{DecoderConfig, Norms, QkNorm};
use crate::error::{Error, Result};
use crate::weights::WeightSource;

/// Where in a source a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The tensor's name in the file.
    pub(crate) tensor: String,
    /// Its rows.
    pub(crate) rows: Range<usize>,
}

/// A source that can say where its tensors lie.
pub(crate) trait Inventory: WeightSource {
    /// Where the tensor of this name and shape lies.
    fn place(&self, name: &str, shape: &[usize]) -> Result<Place>;

    /// Every tensor of the file and its number of rows.
    fn contents(&self) -> Vec<(String, usize)>;

    /// Whether a tensor that no name stands for may be passed over.
    fn may_be_unused(&self, tensor: &str, config: &DecoderConfig) -> Result<bool>;
}

/// Names and shapes of every tensor that the decoder asks for.
///
/// Made one block at a time: a description that no file bears out must not cost memory.
pub(crate) fn tensors(config: &DecoderConfig) -> impl Iterator<Item = (String, Vec<usize>)> {
    let vocabulary = vec![config.n_vocab, config.d_model];
    let output = ("output.weight".to_owned(), vocabulary.clone());
    let outside = [
        ("token_embd.weight".to_owned(), vocabulary),
        ("output_norm.weight".to_owned(), vec![config.d_model]),
    ];
    outside
        .into_iter()
        .chain((!config.tied_embeddings).then_some(output))
        .chain((0..config.n_layers).flat_map(|layer| block(config, layer)))
}

fn block(config: &DecoderConfig, layer: usize) -> Vec<(String, Vec<usize>)> {
    let d_model = config.d_model;
    let d_mlp = config.d_mlp;
    let q_width = config.n_heads * config.d_head;
    let kv_width = config.n_kv_heads * config.d_head;
    let mut found = Vec::new();
    let mut add = |stem: &str, shape: &[usize]| {
        found.push((format!("blk.{layer}.{stem}"), shape.to_vec()));
    };
    if config.norms != Norms::Post {
        add("attn_norm.weight", &[d_model]);
        add("ffn_norm.weight", &[d_model]);
    }
    if config.norms != Norms::Pre {
        add("post_attention_norm.weight", &[d_model]);
        add("post_ffw_norm.weight", &[d_model]);
    }
    for (stem, n_rows) in [("q", q_width), ("k", kv_width), ("v", kv_width)] {
        add(&format!("attn_{stem}.weight"), &[n_rows, d_model]);
        if config.qkv_bias {
            add(&format!("attn_{stem}.bias"), &[n_rows]);
        }
    }
    if let Some(kind) = config.qk_norm {
        let width = |all| match kind {
            QkNorm::Head => config.d_head,
            QkNorm::Width => all,
        };
        add("attn_q_norm.weight", &[width(q_width)]);
        add("attn_k_norm.weight", &[width(kv_width)]);
    }
    add("attn_output.weight", &[d_model, q_width]);
    match config.experts {
        None => {
            add("ffn_gate.weight", &[d_mlp, d_model]);
            add("ffn_up.weight", &[d_mlp, d_model]);
            add("ffn_down.weight", &[d_model, d_mlp]);
        }
        Some(experts) => {
            add("ffn_gate_inp.weight", &[experts.n_experts, d_model]);
            for e in 0..experts.n_experts {
                add(&format!("ffn_gate.{e}.weight"), &[d_mlp, d_model]);
                add(&format!("ffn_up.{e}.weight"), &[d_mlp, d_model]);
                add(&format!("ffn_down.{e}.weight"), &[d_model, d_mlp]);
            }
        }
    }
    found
}

/// Checks that a source has every tensor in its shape, and no row that the decoder would ignore.
///
/// A bias or a scale that the description does not know of would change every activation, so a
/// tensor without a use is an error.
pub(crate) fn check(source: &dyn Inventory, config: &DecoderConfig) -> Result<()> {
    let mut used: BTreeMap<String, Vec<Range<usize>>> = BTreeMap::new();
    for (name, shape) in tensors(config) {
        let place = source.place(&name, &shape)?;
        used.entry(place.tensor).or_default().push(place.rows);
    }
    for (tensor, n_rows) in source.contents() {
        let mut rows = used.remove(&tensor).unwrap_or_default();
        rows.sort_by_key(|range| range.start);
        let end = rows
            .iter()
            .try_fold(0, |end, range| (range.start == end).then_some(range.end));
        if end != Some(n_rows) && !(rows.is_empty() && source.may_be_unused(&tensor, config)?) {
            return Err(Error::UnusedTensor {
                tensor,
                architecture: config.architecture.clone(),
            });
        }
    }
    Ok(())
}
