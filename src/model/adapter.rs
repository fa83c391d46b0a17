//! Reads `LoRA` adapters as PEFT saves them (Hu et al. 2021, arXiv 2106.09685).
//!
//! A weight `W` becomes `W + scale · B · A`. Whatever else PEFT can put into an adapter (`DoRA`,
//! biases, whole modules, changes of the base weights) is refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::arch::{HfConfig, hf_names};
use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::fingerprint::sha256_of_files;
use crate::safetensors::{Shard, TensorInfo, read_small};
use crate::weights::RawTensor;
use crate::weights::inventory::tensors;

const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// Higher than any published rank.
const MAX_RANK: usize = 1 << 14;

/// Matrices of a block that the decoder adapts.
const TARGETS: &[&str] = &[
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
];

/// Settings of PEFT that would change what is computed.
const MUST_BE_OFF: &[&str] = &[
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];

/// Initialisations that leave the base weights alone. Others (`PiSSA`, `OLoRA`, `LoftQ`) mean other
/// base weights than the model's.
const INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// An adapter, checked to fit a decoder.
#[derive(Debug)]
pub(crate) struct Adapter {
    parts: BTreeMap<String, LowRank>,
    sha256: String,
}

/// What is added to one matrix: `scale · b · a`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LowRank {
    /// `[rank, n_in]`.
    pub(crate) a: Vec<f32>,
    /// `[n_out, rank]`, rows in the order of the model as published: that in which the decoder
    /// holds its weights once interleaved ones are put back.
    pub(crate) b: Vec<f32>,
    pub(crate) rank: usize,
    pub(crate) n_in: usize,
    pub(crate) n_out: usize,
    pub(crate) scale: f32,
}

/// One adapted module of the file.
#[derive(Debug, Default)]
struct Module {
    /// Its whole name, as PEFT's patterns see it.
    name: String,
    a: Option<String>,
    b: Option<String>,
    used: bool,
}

impl Adapter {
    /// Reads `adapter_config.json` and `adapter_model.safetensors` of a folder.
    pub(crate) fn open(folder: &Path, config: &DecoderConfig) -> Result<Self> {
        let path = folder.join("adapter_config.json");
        let json = read_small(&path, MAX_CONFIG_BYTES)?;
        let settings: Value = serde_json::from_slice(&json).map_err(|error| Error::Malformed {
            what: format!("`{}`: {error}", path.display()),
        })?;
        let settings = Settings::read(&HfConfig::new("adapter_config.json", &settings)?)?;
        let file = Shard::open(&folder.join("adapter_model.safetensors"))?;
        let names = hf_names(&config.architecture).ok_or_else(|| Error::Adapter {
            what: format!("`{}` has no adapters", config.architecture),
        })?;

        let mut modules = modules(&file)?;
        let mut parts = BTreeMap::new();
        for (name, shape) in tensors(config) {
            let stem = name.strip_suffix(".weight").unwrap_or_default();
            if !TARGETS
                .iter()
                .any(|target| stem.ends_with(&format!(".{target}")))
            {
                continue;
            }
            let Some((own, part)) = names.candidates(&name).into_iter().next() else {
                continue;
            };
            let own = own.strip_suffix(".weight").unwrap_or(&own);
            let Some(module) = modules.get_mut(own) else {
                continue;
            };
            module.used = true;
            let (Some(a_name), Some(b_name)) = (&module.a, &module.b) else {
                return Err(Error::Adapter {
                    what: format!("`{}` has one of `lora_A` and `lora_B` only", module.name),
                });
            };
            let (n_out, n_in) = (shape[0], shape[1]);
            let (a_info, b_info) = (&file.tensors[a_name], &file.tensors[b_name]);
            let rank = settings.rank(&module.name)?;
            let wrong_shape =
                |tensor: &str, info: &TensorInfo, expected: &[usize]| Error::TensorShape {
                    tensor: tensor.to_owned(),
                    found: info.shape.clone(),
                    expected: expected.to_vec(),
                };
            if a_info.shape != [rank, n_in] {
                return Err(wrong_shape(a_name, a_info, &[rank, n_in]));
            }
            // B has the rows of the whole module, of which a fused matrix is a part.
            let rows = match b_info.shape[..] {
                [total, width] if width == rank => part.rows(&[total, n_in], &shape),
                _ => None,
            };
            let Some(rows) = rows else {
                return Err(wrong_shape(b_name, b_info, &[n_out, rank]));
            };
            let b = dense(&file, b_name, b_info)?;
            let low_rank = LowRank {
                a: dense(&file, a_name, a_info)?,
                b: b[rows.start * rank..rows.end * rank].to_vec(),
                rank,
                n_in,
                n_out,
                scale: settings.scale(&module.name, rank)?,
            };
            parts.insert(name, low_rank);
        }
        if let Some(module) = modules.values().find(|module| !module.used) {
            return Err(Error::Adapter {
                what: format!(
                    "it adapts `{}`, which a model of type `{}` does not have or which cannot be adapted here",
                    module.name, config.architecture
                ),
            });
        }
        if parts.is_empty() {
            return Err(Error::Adapter {
                what: "it adapts nothing".into(),
            });
        }
        Ok(Self {
            parts,
            sha256: sha256_of_files(&[&json, &file.map], &|| ()),
        })
    }

    /// What is added to the weight of this name, in GGUF's words.
    pub(crate) fn parts(&self, name: &str) -> Option<&LowRank> {
        self.parts.get(name)
    }

    /// SHA-256 over the two files' own.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// What `adapter_config.json` says about scales.
#[derive(Debug)]
struct Settings {
    rank: f64,
    alpha: f64,
    /// Ends of module names, and what holds for them instead.
    ranks: Vec<(String, f64)>,
    alphas: Vec<(String, f64)>,
    rank_stabilised: bool,
}

impl Settings {
    fn read(config: &HfConfig<'_>) -> Result<Self> {
        if config.string("peft_type")? != "LORA" {
            return Err(config.unsupported("peft_type", "LORA"));
        }
        config.must_be("task_type", "CAUSAL_LM")?;
        config.must_be("bias", "none")?;
        for key in MUST_BE_OFF {
            config.must_be_off(key)?;
        }
        match config.get("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(name)) if INITIALISATIONS.contains(&name.as_str()) => {}
            Some(_) => return Err(config.unsupported("init_lora_weights", "true")),
        }
        Ok(Self {
            rank: config.count("r", MAX_RANK)? as f64,
            alpha: config.float("lora_alpha")?,
            ranks: pattern(config, "rank_pattern")?,
            alphas: pattern(config, "alpha_pattern")?,
            rank_stabilised: config.flag_or("use_rslora", false)?,
        })
    }

    fn rank(&self, module: &str) -> Result<usize> {
        let rank = choose(&self.ranks, module, self.rank)?;
        if rank.fract() == 0.0 && rank >= 1.0 && rank <= MAX_RANK as f64 {
            Ok(rank as usize)
        } else {
            Err(Error::Adapter {
                what: format!("rank {rank} of `{module}`"),
            })
        }
    }

    fn scale(&self, module: &str, rank: usize) -> Result<f32> {
        let alpha = choose(&self.alphas, module, self.alpha)?;
        // Rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732).
        let rank = rank as f64;
        let divisor = if self.rank_stabilised {
            rank.sqrt()
        } else {
            rank
        };
        Ok((alpha / divisor) as f32)
    }
}

/// A table of module names or their ends. PEFT reads them as regular expressions; what needs more
/// than names is refused.
fn pattern(config: &HfConfig<'_>, key: &str) -> Result<Vec<(String, f64)>> {
    let Some(value) = config.get(key) else {
        return Ok(Vec::new());
    };
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(&c))
    };
    let entries = value.as_object().map(|entries| {
        let entries = entries.iter().map(|(name, value)| {
            let value = value.as_f64().filter(|value| value.is_finite());
            value
                .filter(|_| plain(name))
                .map(|value| (name.clone(), value))
        });
        entries.collect::<Option<Vec<_>>>()
    });
    entries.flatten().ok_or_else(|| {
        config.unsupported(key, "module names without wildcards, each with a number")
    })
}

/// The table's value for a module.
fn choose(table: &[(String, f64)], module: &str, default: f64) -> Result<f64> {
    let matches = |name: &str| {
        let rest = module.strip_suffix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut found = table.iter().filter(|(name, _)| matches(name));
    let Some((_, value)) = found.next() else {
        return Ok(default);
    };
    // PEFT takes the first in the file's order, which JSON does not promise to keep.
    if found.any(|(_, other)| other.to_bits() != value.to_bits()) {
        return Err(Error::Adapter {
            what: format!("two patterns say different things about `{module}`"),
        });
    }
    Ok(*value)
}

/// The file's modules by their names from `layers.` on.
fn modules(file: &Shard) -> Result<BTreeMap<String, Module>> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for tensor in file.tensors.keys() {
        let unknown = || Error::Adapter {
            what: format!("tensor `{tensor}` is no part of a LoRA adapter of a block"),
        };
        let name = tensor
            .strip_prefix("base_model.model.")
            .ok_or_else(unknown)?;
        let (module, is_a) = match name.strip_suffix(".lora_A.weight") {
            Some(module) => (module, true),
            None => (
                name.strip_suffix(".lora_B.weight").ok_or_else(unknown)?,
                false,
            ),
        };
        let prefixes = ["model.language_model.", "language_model.model.", "model."];
        let own = prefixes
            .into_iter()
            .find_map(|prefix| module.strip_prefix(prefix))
            .unwrap_or(module);
        let entry = modules.entry(own.to_owned()).or_default();
        if !entry.name.is_empty() && entry.name != module {
            return Err(unknown());
        }
        module.clone_into(&mut entry.name);
        let slot = if is_a { &mut entry.a } else { &mut entry.b };
        *slot = Some(tensor.clone());
    }
    Ok(modules)
}

fn dense(file: &Shard, name: &str, info: &TensorInfo) -> Result<Vec<f32>> {
    let dtype = info.dtype.ggml().ok_or_else(|| Error::Unsupported {
        setting: format!("type of tensor `{name}`"),
        found: info.dtype.name().to_owned(),
        supported: "F32, F16, BF16".into(),
    })?;
    let tensor = RawTensor {
        name: name.to_owned(),
        dtype,
        width: info.shape[info.shape.len() - 1],
        bytes: file.map[info.start..info.start + info.n_bytes].into(),
        offset: 0.0,
    };
    tensor.dequantize()
}

#[cfg(test)]
mod tests;
