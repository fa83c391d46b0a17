//! What Hugging Face calls the tensors that GGUF's names stand for.

use crate::weights::part::Part;

/// Names inside a block, and how its norms are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HfNames {
    /// GGUF's stem, Hugging Face's, and which of its rows are meant.
    pub(crate) blocks: &'static [(&'static str, &'static str, Part)],
    /// Added to the weights of every norm.
    pub(crate) norm_offset: f32,
}

use Part::{Gate, Key, Query, Up, Value, Whole};

/// Norms before attention and MLP.
pub(super) const PRE: HfNames = HfNames {
    blocks: &[
        ("attn_norm", "input_layernorm", Whole),
        ("attn_q", "self_attn.q_proj", Whole),
        ("attn_k", "self_attn.k_proj", Whole),
        ("attn_v", "self_attn.v_proj", Whole),
        ("attn_q_norm", "self_attn.q_norm", Whole),
        ("attn_k_norm", "self_attn.k_norm", Whole),
        ("attn_output", "self_attn.o_proj", Whole),
        ("ffn_norm", "post_attention_layernorm", Whole),
        ("ffn_gate", "mlp.gate_proj", Whole),
        ("ffn_up", "mlp.up_proj", Whole),
        ("ffn_down", "mlp.down_proj", Whole),
        ("ffn_gate_inp", "mlp.gate", Whole),
    ],
    norm_offset: 0.0,
};

/// Norms before and after; Gemma multiplies by 1 + weight.
pub(super) const GEMMA: HfNames = HfNames {
    blocks: &[
        ("attn_norm", "input_layernorm", Whole),
        ("attn_q", "self_attn.q_proj", Whole),
        ("attn_k", "self_attn.k_proj", Whole),
        ("attn_v", "self_attn.v_proj", Whole),
        ("attn_q_norm", "self_attn.q_norm", Whole),
        ("attn_k_norm", "self_attn.k_norm", Whole),
        ("attn_output", "self_attn.o_proj", Whole),
        ("post_attention_norm", "post_attention_layernorm", Whole),
        ("ffn_norm", "pre_feedforward_layernorm", Whole),
        ("ffn_gate", "mlp.gate_proj", Whole),
        ("ffn_up", "mlp.up_proj", Whole),
        ("ffn_down", "mlp.down_proj", Whole),
        ("post_ffw_norm", "post_feedforward_layernorm", Whole),
    ],
    norm_offset: 1.0,
};

/// Norms after attention and MLP.
pub(super) const POST: HfNames = HfNames {
    blocks: &[
        ("attn_q", "self_attn.q_proj", Whole),
        ("attn_k", "self_attn.k_proj", Whole),
        ("attn_v", "self_attn.v_proj", Whole),
        ("attn_q_norm", "self_attn.q_norm", Whole),
        ("attn_k_norm", "self_attn.k_norm", Whole),
        ("attn_output", "self_attn.o_proj", Whole),
        ("post_attention_norm", "post_attention_layernorm", Whole),
        ("ffn_gate", "mlp.gate_proj", Whole),
        ("ffn_up", "mlp.up_proj", Whole),
        ("ffn_down", "mlp.down_proj", Whole),
        ("post_ffw_norm", "post_feedforward_layernorm", Whole),
    ],
    norm_offset: 0.0,
};

/// Phi 3 stacks query, key and value, and gate and up.
pub(super) const FUSED: HfNames = HfNames {
    blocks: &[
        ("attn_norm", "input_layernorm", Whole),
        ("attn_q", "self_attn.qkv_proj", Query),
        ("attn_k", "self_attn.qkv_proj", Key),
        ("attn_v", "self_attn.qkv_proj", Value),
        ("attn_output", "self_attn.o_proj", Whole),
        ("ffn_norm", "post_attention_layernorm", Whole),
        ("ffn_gate", "mlp.gate_up_proj", Gate),
        ("ffn_up", "mlp.gate_up_proj", Up),
        ("ffn_down", "mlp.down_proj", Whole),
    ],
    norm_offset: 0.0,
};

impl HfNames {
    /// Tensors that may hold the one of GGUF's name, in order of preference; the model's name
    /// stands without its prefix.
    pub(crate) fn candidates(&self, name: &str) -> Vec<(String, Part)> {
        let whole = |name: &str| vec![(name.to_owned(), Whole)];
        match name {
            "token_embd.weight" => return whole("embed_tokens.weight"),
            "output_norm.weight" => return whole("norm.weight"),
            _ => {}
        }
        let block = name
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'));
        let Some((layer, (stem, suffix))) =
            block.and_then(|(layer, rest)| Some((layer, rest.rsplit_once('.')?)))
        else {
            return Vec::new();
        };
        if let Some((stem, expert)) = stem.split_once('.') {
            let Ok(expert) = expert.parse::<usize>() else {
                return Vec::new();
            };
            // One tensor per expert, or stacked as transformers 5 holds them in memory.
            let (own, stacked, part) = match stem {
                "ffn_gate" => ("gate_proj", "gate_up_proj", Part::ExpertGate(expert)),
                "ffn_up" => ("up_proj", "gate_up_proj", Part::ExpertUp(expert)),
                "ffn_down" => ("down_proj", "down_proj", Part::Expert(expert)),
                _ => return Vec::new(),
            };
            let experts = format!("layers.{layer}.mlp.experts");
            return vec![
                (format!("{experts}.{expert}.{own}.{suffix}"), Whole),
                (format!("{experts}.{stacked}"), part),
            ];
        }
        let entry = self.blocks.iter().find(|entry| entry.0 == stem);
        entry.map_or_else(Vec::new, |(_, own, part)| {
            vec![(format!("layers.{layer}.{own}.{suffix}"), *part)]
        })
    }

    /// What is added to the values of the tensor of GGUF's name.
    pub(crate) fn offset(&self, name: &str) -> f32 {
        if name.ends_with("norm.weight") {
            self.norm_offset
        } else {
            0.0
        }
    }
}
