//! The generic decoder: one forward pass over packed rows, with hooks at every site.

mod block;
mod load;
mod matrices;
mod mixture;

use std::sync::{Mutex, MutexGuard, PoisonError};

use candor_schema::{HookPoint, Site};

use crate::config::DecoderConfig;
use crate::error::Result;
use crate::hooks::Hooks;
use crate::kernel::{
    Input, Int8Rows, Level, Packed, Pool, add, for_rows, linear, rms_norm, softcap,
};
use crate::rope::Rope;
use crate::row_map::RowMap;
use crate::sequence::Sequence;

use block::Block;

pub use load::Compute;
pub(crate) use mixture::choose;

/// Weights, and the pass over them.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: DecoderConfig,
    rope: Rope,
    local_rope: Option<Rope>,
    embeddings: Packed, // [n_vocab, d_model]
    blocks: Vec<Block>,
    final_norm: Vec<f32>, // [d_model]
    /// `None` where the embeddings serve.
    unembed: Option<Packed>, // [n_vocab, d_model]
    /// Buffers, reused from step to step.
    workspace: Mutex<Workspace>,
}

/// The buffers of a pass, each as long as its rows need.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    resid: Vec<f32>, // [row, d_model]
    /// Input of a product.
    x: Vec<f32>,
    /// The same, rounded for quantised weights.
    rounded: Int8Rows,
    /// What attention or MLP add to the stream, `[row, d_model]`.
    delta: Vec<f32>,
    /// Queries, keys and values side by side.
    qkv: Vec<f32>,
    /// Attention's heads.
    heads: Vec<f32>,
    /// Gate and up side by side.
    gate_up: Vec<f32>,
    /// The MLP's neurons.
    neurons: Vec<f32>,
    logits: Vec<f32>,
    /// Rows of norms and of low-rank products.
    spare: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
    local_cos: Vec<f32>,
    local_sin: Vec<f32>,
}

/// What every operation needs.
#[derive(Debug, Clone, Copy)]
struct Machine {
    pool: &'static Pool,
    level: Level,
}

impl Machine {
    fn get() -> Self {
        Self {
            pool: Pool::global(),
            level: Level::detect(),
        }
    }

    /// `RMSNorm` of every row.
    fn norm(self, x: &[f32], weight: &[f32], eps: f64, out: &mut Vec<f32>) {
        let width = weight.len();
        out.resize(x.len(), 0.0);
        for_rows(self.pool, out, width, &|first, out| {
            let x = &x[first * width..][..out.len()];
            rms_norm(self.level, x, weight, eps as f32, out);
        });
    }

    /// `x ← x + y`.
    fn add(self, x: &mut [f32], y: &[f32], width: usize) {
        for_rows(self.pool, x, width, &|first, x| {
            add(self.level, x, &y[first * width..][..x.len()]);
        });
    }
}

impl Decoder {
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Every matrix.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Packed> {
        let blocks = self.blocks.iter().flat_map(Block::matrices);
        blocks.chain([&self.embeddings]).chain(&self.unembed)
    }

    /// The buffers, for one step.
    pub(crate) fn workspace(&self) -> MutexGuard<'_, Workspace> {
        self.workspace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs blocks `0..depth` over packed rows and leaves the residual stream in the workspace.
    /// Appends to the sequences' caches, but not to their tokens.
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
        depth: usize,
        hooks: &mut Hooks<'_>,
        work: &mut Workspace,
    ) -> Result<()> {
        let machine = Machine::get();
        self.rope.angles(rows, &mut work.cos, &mut work.sin);
        if let Some(rope) = &self.local_rope {
            rope.angles(rows, &mut work.local_cos, &mut work.local_sin);
        }
        let d_model = self.config.d_model;
        work.resid.resize(tokens.len() * d_model, 0.0);
        let scale = self.config.embedding_scale as f32;
        for_rows(machine.pool, &mut work.resid, d_model, &|first, rows| {
            for (index, row) in rows.chunks_exact_mut(d_model).enumerate() {
                self.embeddings
                    .read_row(tokens[first + index] as usize, row);
                // Times 1 is the same bits.
                for x in row {
                    *x *= scale;
                }
            }
        });
        for (layer, block) in self.blocks[..depth].iter().enumerate() {
            let mut at =
                |site, values: &mut [f32]| hooks.at(HookPoint::new(layer, site), values, rows);
            at(Site::ResidPre, &mut work.resid)?;
            self.attention(machine, block, layer, sequences, rows, &mut at, work)?;
            at(Site::AttnOut, &mut work.delta)?;
            machine.add(&mut work.resid, &work.delta, d_model);
            at(Site::ResidMid, &mut work.resid)?;
            self.mlp(machine, block, &mut at, work)?;
            at(Site::MlpOut, &mut work.delta)?;
            machine.add(&mut work.resid, &work.delta, d_model);
            at(Site::ResidPost, &mut work.resid)?;
        }
        Ok(())
    }

    /// Next-token logits of some rows of the stream that [`Self::forward`] left,
    /// `[chosen row, n_vocab]`.
    pub(crate) fn logits<'a>(&self, chosen: &[usize], work: &'a mut Workspace) -> &'a [f32] {
        let machine = Machine::get();
        let d_model = self.config.d_model;
        work.delta.clear();
        for &row in chosen {
            work.delta
                .extend_from_slice(&work.resid[row * d_model..(row + 1) * d_model]);
        }
        machine.norm(
            &work.delta,
            &self.final_norm,
            self.config.rms_eps,
            &mut work.x,
        );
        let unembed = self.unembed.as_ref().unwrap_or(&self.embeddings);
        let rounded = matrices::round(machine, &[unembed], &work.x, &mut work.rounded);
        work.logits.resize(chosen.len() * self.config.n_vocab, 0.0);
        let input = Input {
            dense: &work.x,
            rounded: rounded.then_some(&work.rounded),
        };
        linear(
            machine.pool,
            machine.level,
            input,
            &[unembed],
            &mut work.logits,
        );
        if let Some(cap) = self.config.logit_softcap {
            for_rows(
                machine.pool,
                &mut work.logits,
                self.config.n_vocab,
                &|_, logits| {
                    softcap(machine.level, logits, cap as f32);
                },
            );
        }
        &work.logits
    }
}
