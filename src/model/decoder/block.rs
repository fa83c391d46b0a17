//! One block: attention and MLP.

use candor_schema::Site;

use super::matrices::Matrices;
use super::mixture::Mixture;
use super::{Decoder, Machine, Workspace};
use crate::config::{DecoderConfig, Norms, QkNorm};
use crate::error::Result;
use crate::kernel::{Attention, Level, Packed, Queries, attend, for_rows, gated, rms_norm, rotate};
use crate::row_map::RowMap;
use crate::sequence::Sequence;

/// Values of gate and up that are computed at a time: about a core's second-level cache.
const GATE_UP_VALUES: usize = 1 << 18;

/// Calls the listeners of one site of the block.
pub(super) type At<'a> = dyn FnMut(Site, &mut [f32]) -> Result<()> + 'a;

#[derive(Debug)]
pub(super) struct Block {
    /// `[d_model]` each, where the architecture has them.
    pub(super) attn_norm: Option<Vec<f32>>,
    pub(super) post_attn_norm: Option<Vec<f32>>,
    pub(super) mlp_norm: Option<Vec<f32>>,
    pub(super) post_mlp_norm: Option<Vec<f32>>,
    /// Of queries and of keys.
    pub(super) qk_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) qkv: Matrices, // [(n_heads + 2 n_kv_heads) * d_head, d_model]
    pub(super) attn_out: Matrices, // [d_model, n_heads * d_head]
    pub(super) mlp: Mlp,
}

#[derive(Debug)]
pub(super) enum Mlp {
    Dense(Gated),
    Mixture(Mixture),
}

/// A gated MLP (Shazeer 2020, arXiv 2002.05202).
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) gate_up: Matrices, // [2 * d_mlp, d_model]
    pub(super) down: Matrices,    // [d_model, d_mlp]
}

impl Block {
    /// Every matrix.
    pub(super) fn matrices(&self) -> impl Iterator<Item = &Packed> {
        let mlp: Vec<&Packed> = match &self.mlp {
            Mlp::Dense(mlp) => mlp.gate_up.packed.iter().chain(&mlp.down.packed).collect(),
            Mlp::Mixture(mixture) => mixture.matrices().collect(),
        };
        self.qkv
            .packed
            .iter()
            .chain(&self.attn_out.packed)
            .chain(mlp)
    }
}

impl Decoder {
    /// Leaves what attention adds to the stream in `work.delta`.
    #[expect(
        clippy::too_many_arguments,
        reason = "one pass's state, used in one place"
    )]
    pub(super) fn attention(
        &self,
        machine: Machine,
        block: &Block,
        layer: usize,
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
        at: &mut At<'_>,
        work: &mut Workspace,
    ) -> Result<()> {
        let config = &self.config;
        let DecoderConfig {
            n_heads,
            n_kv_heads,
            d_head,
            ..
        } = *config;
        let Workspace {
            resid,
            x,
            rounded,
            delta,
            qkv,
            heads,
            spare,
            cos,
            sin,
            local_cos,
            local_sin,
            ..
        } = work;
        let input = normed(machine, config, block.attn_norm.as_deref(), resid, x);
        block.qkv.apply(machine, input, rounded, qkv);

        let local = config.windows[layer].is_some();
        let (rope, cos, sin) = match &self.local_rope {
            Some(rope) if local => (rope, &*local_cos, &*local_sin),
            _ => (&self.rope, &*cos, &*sin),
        };
        let (half, n_out) = (rope.half(), block.qkv.n_out());
        let (n_q, n_k) = (n_heads * d_head, n_kv_heads * d_head);
        for_rows(machine.pool, qkv, n_out, &|first, rows| {
            for (index, row) in rows.chunks_exact_mut(n_out).enumerate() {
                let row_index = first + index;
                let angles = row_index * half..(row_index + 1) * half;
                if let Some((q_norm, k_norm)) = &block.qk_norms {
                    norm_heads(machine.level, config, &mut row[..n_q], q_norm);
                    norm_heads(machine.level, config, &mut row[n_q..n_q + n_k], k_norm);
                }
                let rotated = &mut row[..n_q + n_k];
                rotate(
                    machine.level,
                    rotated,
                    d_head,
                    &cos[angles.clone()],
                    &sin[angles],
                );
            }
        });

        // One task per sequence: a decoding batch has many, a prefill few long ones.
        for (item, sequence) in sequences.iter_mut().enumerate() {
            let cache = sequence.caches[layer].cpu_mut();
            for row in rows.item_rows(item) {
                let row = &qkv[row * n_out..(row + 1) * n_out];
                cache.push(&row[n_q..n_q + n_k], &row[n_q + n_k..]);
            }
        }
        let items: Vec<Queries<'_>> = sequences
            .iter()
            .enumerate()
            .filter(|(item, _)| !rows.item_rows(*item).is_empty())
            .map(|(item, sequence)| Queries {
                rows: rows.item_rows(item),
                first_position: rows.rows()[rows.item_rows(item).start].position,
                keys: sequence.caches[layer].cpu().keys(),
                values: sequence.caches[layer].cpu().values(),
            })
            .collect();
        heads.resize(rows.n_rows() * n_q, 0.0);
        let attention = Attention {
            n_heads,
            n_kv_heads,
            d_head,
            scale: config.attn_scale as f32,
            softcap: config.attn_softcap.map(|cap| cap as f32),
            window: config.windows[layer],
        };
        attend(
            machine.pool,
            machine.level,
            attention,
            (qkv, n_out),
            &items,
            heads,
        );
        at(Site::AttnZ, heads)?; // [row, n_heads * d_head]
        block.attn_out.apply(machine, heads, rounded, delta);
        post_norm(
            machine,
            config,
            block.post_attn_norm.as_deref(),
            delta,
            spare,
        );
        Ok(())
    }

    /// Leaves what the MLP adds to the stream in `work.delta`.
    pub(super) fn mlp(
        &self,
        machine: Machine,
        block: &Block,
        at: &mut At<'_>,
        work: &mut Workspace,
    ) -> Result<()> {
        let config = &self.config;
        match &block.mlp {
            Mlp::Dense(mlp) => {
                let Workspace {
                    resid,
                    x,
                    rounded,
                    delta,
                    gate_up,
                    neurons,
                    ..
                } = work;
                let input = normed(machine, config, block.mlp_norm.as_deref(), resid, x);
                let (d_model, d_mlp) = (config.d_model, config.d_mlp);
                neurons.resize(input.len() / d_model * d_mlp, 0.0);
                // Some rows at a time, so that gate and up stay in the cache.
                let n_rows = (GATE_UP_VALUES / (2 * d_mlp)).next_multiple_of(16);
                let inputs = input.chunks(n_rows * d_model);
                for (input, neurons) in inputs.zip(neurons.chunks_mut(n_rows * d_mlp)) {
                    mlp.gate_up.apply(machine, input, rounded, gate_up);
                    gate(machine, config, gate_up, neurons);
                }
                at(Site::MlpPost, neurons)?; // [row, d_mlp]
                mlp.down.apply(machine, neurons, rounded, delta);
            }
            Mlp::Mixture(mixture) => {
                let input = normed(
                    machine,
                    config,
                    block.mlp_norm.as_deref(),
                    &work.resid,
                    &mut work.x,
                );
                let input = input.to_vec();
                mixture.apply(machine, config, &input, at, work)?;
            }
        }
        let Workspace { delta, spare, .. } = work;
        post_norm(
            machine,
            config,
            block.post_mlp_norm.as_deref(),
            delta,
            spare,
        );
        Ok(())
    }
}

/// The stream after the block's leading norm, or as it is where there is none.
fn normed<'a>(
    machine: Machine,
    config: &DecoderConfig,
    weight: Option<&[f32]>,
    resid: &'a [f32],
    x: &'a mut Vec<f32>,
) -> &'a [f32] {
    match weight {
        None => resid,
        Some(weight) => {
            machine.norm(resid, weight, config.rms_eps, x);
            x
        }
    }
}

/// The norm of what is about to be added, where the architecture has one.
fn post_norm(
    machine: Machine,
    config: &DecoderConfig,
    weight: Option<&[f32]>,
    delta: &mut Vec<f32>,
    spare: &mut Vec<f32>,
) {
    debug_assert_eq!(weight.is_some(), config.norms != Norms::Pre);
    if let Some(weight) = weight {
        machine.norm(delta, weight, config.rms_eps, spare);
        std::mem::swap(delta, spare);
    }
}

/// `neurons = activation(gate) · up` from `[gate | up]`, `[row, 2 · d_mlp]`.
pub(super) fn gate(machine: Machine, config: &DecoderConfig, gate_up: &[f32], neurons: &mut [f32]) {
    let width = config.d_mlp;
    for_rows(machine.pool, neurons, width, &|first, out| {
        let both = &gate_up[2 * first * width..][..2 * out.len()];
        gated(machine.level, config.activation, both, width, out);
    });
}

/// Norms queries or keys of one row in place.
fn norm_heads(level: Level, config: &DecoderConfig, row: &mut [f32], weight: &[f32]) {
    debug_assert_eq!(
        weight.len() == config.d_head,
        config.qk_norm == Some(QkNorm::Head) || row.len() == config.d_head
    );
    let copy = row.to_vec();
    rms_norm(level, &copy, weight, config.rms_eps as f32, row);
}
