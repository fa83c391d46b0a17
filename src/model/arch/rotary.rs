//! Reads how positions are rotated, from GGUF metadata and from `config.json`.

#![expect(
    clippy::float_cmp,
    reason = "0, 1 and -1 stand in files for \"not scaled\", exactly"
)]

use super::sizes::{MAX_CONTEXT, MAX_WIDTH, Sizes, must_be_off};
use crate::arch::HfConfig;
use crate::config::{RopeConfig, RopeScaling};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::weights::WeightSource as _;

/// How many leading entries of a head may be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotated {
    /// All of them.
    Whole,
    /// All or a part.
    Any,
}

/// Reads GGUF's settings. `LongRoPE` may shorten the context in `sizes`, see [`longrope`].
pub(super) fn of_gguf(
    gguf: &Gguf,
    architecture: &str,
    sizes: &mut Sizes,
    rotated: Rotated,
) -> Result<RopeConfig> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let theta = theta(gguf.float_or(&key("freq_base"), 10_000.0)?)?;
    let n_rotated = gguf.count_or(&key("dimension_count"), MAX_WIDTH, sizes.d_head)?;
    let n_rotated = checked_rotated(n_rotated, sizes.d_head, rotated)?;
    for name in [
        "scaling.alpha",
        "scaling.yarn_log_multiplier",
        "dimension_sections",
    ] {
        must_be_off(gguf, &key(name))?;
    }
    // llama.cpp reads -1 as unset, and its versions differ in what they do with another value.
    for name in ["scaling.yarn_ext_factor", "scaling.yarn_attn_factor"] {
        let value = gguf.float_or(&key(name), 1.0)?;
        if value != 1.0 && value != -1.0 {
            return Err(unsupported(&key(name), &value, "1"));
        }
    }

    // An older name of the factor; 0 means none. Without a type, llama.cpp scales linearly.
    let older = gguf.float_or(&key("scale_linear"), 0.0)?;
    let factor = gguf.float_or(&key("scaling.factor"), older)?;
    let factor = if factor == 0.0 { 1.0 } else { factor };
    let kind = match gguf.get(&key("scaling.type")) {
        None => "linear",
        Some(_) => gguf.string(&key("scaling.type"))?,
    };
    let explicit = gguf.get(&key("scaling.type")).is_some();
    let attn_factor = gguf.float_or(&key("scaling.attn_factor"), 1.0)?;
    let original_n_ctx = gguf.count_or(
        &key("scaling.original_context_length"),
        MAX_CONTEXT,
        sizes.n_ctx,
    )?;
    let divisors = |name: &str| -> Result<Option<Vec<f32>>> {
        let found = gguf.has_tensor(name);
        let divisors = found.then(|| gguf.dense(name, &[n_rotated / 2]));
        divisors.transpose()?.map(positive).transpose()
    };
    let freqs = divisors("rope_freqs.weight")?;
    let short = divisors("rope_factors_short.weight")?;
    let long = divisors("rope_factors_long.weight")?;

    let scaling = match (kind, freqs, short, long) {
        ("linear" | "none", Some(divisors), None, None) if factor == 1.0 => RopeScaling::Divisors {
            divisors,
            attn_factor: positive_factor(&key("scaling.attn_factor"), attn_factor)?,
        },
        ("longrope", None, Some(short), Some(long)) => {
            longrope(&short, &long, attn_factor, original_n_ctx, sizes)?
        }
        ("linear" | "none", None, Some(short), Some(long)) if factor == 1.0 => {
            longrope(&short, &long, attn_factor, original_n_ctx, sizes)?
        }
        ("linear", None, None, None) if explicit || factor != 1.0 => {
            linear(factor, &key("scaling.factor"))?
        }
        ("linear" | "none", None, None, None) if factor == 1.0 => RopeScaling::None,
        ("yarn", None, None, None) => {
            let (beta_fast, beta_slow) = (
                gguf.float_or(&key("scaling.yarn_beta_fast"), 32.0)?,
                gguf.float_or(&key("scaling.yarn_beta_slow"), 1.0)?,
            );
            let attn_factor = attn_factor * yarn_magnitude(factor, 1.0);
            yarn(factor, beta_fast, beta_slow, original_n_ctx, attn_factor)?
        }
        (kind, freqs, short, long) => {
            return Err(unsupported(
                &key("scaling.type"),
                &format!(
                    "{kind} by {factor} with{} frequency divisors and with{} long and short ones",
                    if freqs.is_some() { "" } else { "out" },
                    if short.is_some() || long.is_some() {
                        ""
                    } else {
                        "out"
                    },
                ),
                "none, linear, yarn, longrope with its two tensors, `rope_freqs.weight` alone",
            ));
        }
    };
    if attn_factor != 1.0 && matches!(scaling, RopeScaling::None | RopeScaling::Linear { .. }) {
        return Err(unsupported(&key("scaling.attn_factor"), &attn_factor, "1"));
    }
    Ok(RopeConfig {
        theta,
        n_rotated,
        scaling,
    })
}

/// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
/// `LongRoPE` may shorten the context in `sizes`, see [`longrope`].
pub(super) fn of_hf(
    config: &HfConfig<'_>,
    default_theta: f64,
    sizes: &mut Sizes,
    rotated: Rotated,
) -> Result<RopeConfig> {
    // transformers, too, prefers the older name where both are there.
    let parameters = match config.object("rope_scaling")? {
        Some(parameters) => Some(parameters),
        None => config.object("rope_parameters")?,
    };
    let outer = config.float_or("rope_theta", Some(default_theta))?;
    of_parameters(config, parameters.as_ref(), outer, sizes, rotated)
}

/// Reads one object of rotary parameters; `config` is the object around it.
pub(super) fn of_parameters(
    config: &HfConfig<'_>,
    parameters: Option<&HfConfig<'_>>,
    default_theta: f64,
    sizes: &mut Sizes,
    rotated: Rotated,
) -> Result<RopeConfig> {
    let outer_share = config.float_or("partial_rotary_factor", Some(1.0))?;
    let (theta_found, share) = match parameters {
        None => (default_theta, outer_share),
        Some(parameters) => (
            parameters.float_or("rope_theta", Some(default_theta))?,
            parameters.float_or("partial_rotary_factor", Some(outer_share))?,
        ),
    };
    let theta = theta(theta_found)?;
    if !(share > 0.0 && share <= 1.0) {
        return Err(config.wrong("partial_rotary_factor", "in (0, 1]"));
    }
    let n_rotated = (sizes.d_head as f64 * share) as usize;
    let n_rotated = checked_rotated(n_rotated, sizes.d_head, rotated)?;
    let scaling = match parameters {
        None => RopeScaling::None,
        Some(parameters) => hf_scaling(config, parameters, n_rotated, sizes)?,
    };
    Ok(RopeConfig {
        theta,
        n_rotated,
        scaling,
    })
}

fn hf_scaling(
    config: &HfConfig<'_>,
    parameters: &HfConfig<'_>,
    n_rotated: usize,
    sizes: &mut Sizes,
) -> Result<RopeScaling> {
    let key = ["rope_type", "type"]
        .into_iter()
        .find(|key| parameters.get(key).is_some());
    let kind = key.map_or(Ok("default"), |key| parameters.string(key))?;
    let original = || -> Result<usize> {
        let key = "original_max_position_embeddings";
        let outer = config.count_or(key, MAX_CONTEXT, Some(sizes.n_ctx))?;
        // The outer one has priority, as in transformers (Phi 3 has it there).
        match config.get(key) {
            Some(_) => Ok(outer),
            None => parameters.count_or(key, MAX_CONTEXT, Some(outer)),
        }
    };
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => linear(parameters.float("factor")?, "factor")?,
        "llama3" => {
            let factor = positive_factor("factor", parameters.float("factor")?)?;
            let low_freq_factor = parameters.float("low_freq_factor")?;
            let high_freq_factor = parameters.float("high_freq_factor")?;
            if !(0.0 < low_freq_factor && low_freq_factor < high_freq_factor) {
                return Err(config.wrong("high_freq_factor", "above a positive `low_freq_factor`"));
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_n_ctx: original()?,
            }
        }
        // Phi's older files call its LongRoPE `su` or `yarn`.
        "longrope" | "su" | "yarn" if parameters.mentions("short_factor") => {
            let short = parameters.floats("short_factor")?;
            let long = parameters.floats("long_factor")?;
            if short.len() != n_rotated / 2 || long.len() != n_rotated / 2 {
                return Err(config.wrong(
                    "short_factor",
                    "of the rotated entries' number, like `long_factor`",
                ));
            }
            let original_n_ctx = original()?;
            let stretch = sizes.n_ctx as f64 / original_n_ctx as f64;
            let factor = parameters.float_or("factor", Some(stretch))?;
            let default = if factor > 1.0 {
                (1.0 + factor.ln() / (original_n_ctx as f64).ln()).sqrt()
            } else {
                1.0
            };
            let attn_factor = parameters.float_or("attention_factor", Some(default))?;
            longrope(&short, &long, attn_factor, original_n_ctx, sizes)?
        }
        "yarn" => {
            if !parameters.flag_or("truncate", true)? {
                return Err(parameters.unsupported("truncate", "true"));
            }
            let original_n_ctx = original()?;
            let stretch = sizes.n_ctx as f64 / original_n_ctx as f64;
            let factor = parameters.float_or("factor", Some(stretch))?;
            let mscale = parameters.float_or("mscale", Some(0.0))?;
            let mscale_all_dim = parameters.float_or("mscale_all_dim", Some(0.0))?;
            let default = if mscale != 0.0 && mscale_all_dim != 0.0 {
                yarn_magnitude(factor, mscale) / yarn_magnitude(factor, mscale_all_dim)
            } else {
                yarn_magnitude(factor, 1.0)
            };
            let beta = |key, default: f64| -> Result<f64> {
                let found = parameters.float_or(key, Some(default))?;
                Ok(if found == 0.0 { default } else { found })
            };
            yarn(
                factor,
                beta("beta_fast", 32.0)?,
                beta("beta_slow", 1.0)?,
                original_n_ctx,
                parameters.float_or("attention_factor", Some(default))?,
            )?
        }
        _ => {
            return Err(parameters.unsupported(
                key.unwrap_or("rope_type"),
                "default, linear, llama3, yarn, longrope with its factors",
            ));
        }
    })
}

/// `LongRoPE` (Ding et al. 2024, arXiv 2402.13753) has two sets of divisors, and the reference
/// takes the long ones for every position as soon as a sequence outgrows the original context.
///
/// Keys in a cache cannot follow that change, and vectors of a prefix would depend on what comes
/// after it. So the short set is used, and the context ends where the original one does; where the
/// two sets are the same, nothing changes and the whole context is kept.
fn longrope(
    short: &[f32],
    long: &[f32],
    attn_factor: f64,
    original_n_ctx: usize,
    sizes: &mut Sizes,
) -> Result<RopeScaling> {
    if short != long {
        sizes.n_ctx = sizes.n_ctx.min(original_n_ctx);
    }
    Ok(RopeScaling::Divisors {
        divisors: short.to_vec(),
        attn_factor: positive_factor("attention factor", attn_factor)?,
    })
}

fn linear(factor: f64, key: &str) -> Result<RopeScaling> {
    let factor = positive_factor(key, factor)?;
    Ok(if factor == 1.0 {
        RopeScaling::None
    } else {
        RopeScaling::Linear { factor }
    })
}

fn yarn(
    factor: f64,
    beta_fast: f64,
    beta_slow: f64,
    original_n_ctx: usize,
    attn_factor: f64,
) -> Result<RopeScaling> {
    if !(0.0 < beta_slow && beta_slow <= beta_fast && beta_fast < 1e6) {
        return Err(Error::Malformed {
            what: format!("YaRN between {beta_slow} and {beta_fast} rotations"),
        });
    }
    Ok(RopeScaling::Yarn {
        factor: positive_factor("factor", factor)?,
        beta_fast,
        beta_slow,
        original_n_ctx,
        attn_factor: positive_factor("attention factor", attn_factor)?,
    })
}

/// `YaRN`'s recommended factor on cosines and sines (its equation 22).
fn yarn_magnitude(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * scale * factor.ln() + 1.0
    }
}

fn theta(theta: f64) -> Result<f64> {
    if theta > 1.0 && theta < 1e12 {
        Ok(theta)
    } else {
        Err(Error::Malformed {
            what: format!("rope base {theta}"),
        })
    }
}

fn checked_rotated(n_rotated: usize, d_head: usize, rotated: Rotated) -> Result<usize> {
    let fits = match rotated {
        Rotated::Whole => n_rotated == d_head,
        Rotated::Any => n_rotated > 0 && n_rotated <= d_head && n_rotated.is_multiple_of(2),
    };
    if fits {
        Ok(n_rotated)
    } else {
        Err(Error::Malformed {
            what: format!("heads of width {d_head}, {n_rotated} of it rotated"),
        })
    }
}

fn positive(divisors: Vec<f32>) -> Result<Vec<f32>> {
    if divisors.iter().all(|&divisor| divisor > 0.0) {
        Ok(divisors)
    } else {
        Err(Error::Malformed {
            what: "a divisor of rotary frequencies is not positive".into(),
        })
    }
}

fn positive_factor(key: &str, factor: f64) -> Result<f64> {
    if factor > 0.0 && factor < 1e6 {
        Ok(factor)
    } else {
        Err(Error::Malformed {
            what: format!("rotary scaling: {key} is {factor}"),
        })
    }
}

fn unsupported(key: &str, found: &dyn std::fmt::Display, supported: &str) -> Error {
    Error::Unsupported {
        setting: key.to_owned(),
        found: found.to_string(),
        supported: supported.to_owned(),
    }
}

/// Refuses any stretching in a GGUF file, for layers that have none.
pub(super) fn local_of_gguf(
    gguf: &Gguf,
    key: &str,
    default: f64,
    d_head: usize,
) -> Result<RopeConfig> {
    let found = match gguf.get(key) {
        None => default,
        Some(Value::Float(_)) => gguf.float(key)?,
        Some(_) => gguf.count(key, MAX_CONTEXT)? as f64,
    };
    Ok(RopeConfig {
        theta: theta(found)?,
        n_rotated: d_head,
        scaling: RopeScaling::None,
    })
}
