//! Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) of one sequence's rows over its
//! cache.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::TensorCache;
use super::linear::{times, times_transposed};
use crate::error::Result;
use crate::tensor::from_host;

/// Scores that are held at a time: 128 MB of f32. Rows of a longer step are taken in turns.
pub(super) const MAX_SCORES: usize = 1 << 25;

/// What one layer's attention needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) d_head: usize,
    /// Factor on the product of query and key.
    pub(super) scale: f64,
    /// Bound of the scores before the softmax.
    pub(super) softcap: Option<f64>,
    /// How many keys a query sees, itself included.
    pub(super) window: Option<usize>,
    /// Most scores, `[head, row, key]`, at a time.
    pub(super) max_scores: usize,
}

/// What hides keys from rows, made once per step: layers and sequences of the same size share it.
#[derive(Debug, Default)]
pub(super) struct Masks(BTreeMap<Span, Tensor>);

/// Which rows look at which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    n_rows: usize,
    /// Keys before the first row's own.
    n_before: usize,
    window: Option<usize>,
}

impl Span {
    fn n_keys(self) -> usize {
        self.n_before + self.n_rows
    }

    /// Row-major `[row, key]`: 0 where a row sees the key, `-∞` where it does not.
    fn mask(self) -> Vec<f32> {
        let rows = self.n_before..self.n_keys();
        rows.flat_map(|own| {
            (0..self.n_keys()).map(move |key| {
                let seen = key <= own && self.window.is_none_or(|window| key + window > own);
                if seen { 0.0 } else { f32::NEG_INFINITY }
            })
        })
        .collect()
    }
}

impl Masks {
    /// `[row, key]`.
    fn get(&mut self, span: Span, device: &candle_core::Device) -> Result<Tensor> {
        if let Some(mask) = self.0.get(&span) {
            return Ok(mask.clone());
        }
        let shape = (span.n_rows, span.n_keys());
        let mask = from_host(span.mask(), shape, device)?;
        self.0.insert(span, mask.clone());
        Ok(mask)
    }
}

impl Attention {
    /// `z`, f32 `[row, n_heads · d_head]`, from f32 queries `[row, n_heads, d_head]` of the last
    /// rows of a cache.
    pub(super) fn attend(
        self,
        queries: &Tensor,
        cache: &TensorCache,
        masks: &mut Masks,
    ) -> Result<Tensor> {
        let n_rows = queries.dim(0)?;
        let first = cache.len() - n_rows;
        let n_at_once = (self.max_scores / (self.n_heads * cache.len())).clamp(1, n_rows);
        let mut parts = Vec::new();
        for start in (0..n_rows).step_by(n_at_once) {
            let n = n_at_once.min(n_rows - start);
            let queries = queries.narrow(0, start, n)?;
            parts.push(self.attend_part(&queries, first + start, cache, masks)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// The same for rows from position `position` on, over the keys that any of them sees.
    fn attend_part(
        self,
        queries: &Tensor,
        position: usize,
        cache: &TensorCache,
        masks: &mut Masks,
    ) -> Result<Tensor> {
        let Self {
            n_heads,
            n_kv_heads,
            d_head,
            ..
        } = self;
        let (n_rows, group) = (queries.dim(0)?, n_heads / n_kv_heads);
        let first_key = match self.window {
            Some(window) => (position + 1).saturating_sub(window),
            None => 0,
        };
        let span = Span {
            n_rows,
            n_before: position - first_key,
            window: self.window,
        };
        let keys = cache.keys(first_key)?.narrow(1, 0, span.n_keys())?;
        let values = cache.values(first_key)?.narrow(1, 0, span.n_keys())?;

        // The heads of a group stand one under the other, so that keys are read and not copied.
        let queries = (queries * self.scale)?.to_dtype(keys.dtype())?;
        let queries = queries
            .reshape((n_rows, n_kv_heads, group, d_head))?
            .permute((1, 2, 0, 3))?
            .reshape((n_kv_heads, group * n_rows, d_head))?;
        let scores = times_transposed(&queries, &keys)?; // [n_kv_heads, group * row, key]
        let mut scores = scores
            .to_dtype(DType::F32)?
            .reshape((n_heads, n_rows, span.n_keys()))?;
        if let Some(cap) = self.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        // A single row sees every key that was taken.
        if n_rows > 1 {
            scores = scores.broadcast_add(&masks.get(span, scores.device())?)?;
        }
        let shares = softmax_last_dim(&scores)?
            .to_dtype(values.dtype())?
            .reshape((n_kv_heads, group * n_rows, span.n_keys()))?;
        let z = times(&shares, &values)?; // [n_kv_heads, group * row, d_head]
        Ok(z.to_dtype(DType::F32)?
            .reshape((n_kv_heads, group, n_rows, d_head))?
            .permute((2, 0, 1, 3))?
            .reshape((n_rows, n_heads * d_head))?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const N_HEADS: usize = 4;
    const N_KV_HEADS: usize = 2;
    const D_HEAD: usize = 8;

    fn numbers(shape: [usize; 3], seed: f32) -> Tensor {
        let n = shape.iter().product::<usize>();
        let values = (0..n).map(|i| (i as f32 * 0.37 + seed).sin());
        from_host(values.collect(), &shape, &Device::Cpu).unwrap()
    }

    /// The definition, one query and one key at a time.
    fn reference(attention: Attention, q: &Tensor, k: &Tensor, v: &Tensor) -> Vec<f32> {
        let [q, k, v] = [q, k, v].map(|tensor| tensor.to_vec3::<f32>().unwrap());
        let n_before = k[0].len() - q.len();
        let mut z = Vec::new();
        for (row, heads) in q.iter().enumerate() {
            for (head, query) in heads.iter().enumerate() {
                let (keys, values) = (
                    &k[head * N_KV_HEADS / N_HEADS],
                    &v[head * N_KV_HEADS / N_HEADS],
                );
                let own = n_before + row;
                let first = attention
                    .window
                    .map_or(0, |window| (own + 1).saturating_sub(window));
                let dot = |key: &[f32]| -> f64 {
                    let products = query.iter().zip(key).map(|(q, k)| f64::from(q * k));
                    let score = products.sum::<f64>() * attention.scale;
                    attention
                        .softcap
                        .map_or(score, |cap| cap * (score / cap).tanh())
                };
                let shares: Vec<f64> = keys[first..=own].iter().map(|key| dot(key).exp()).collect();
                let total: f64 = shares.iter().sum();
                z.extend((0..D_HEAD).map(|i| {
                    let parts = shares.iter().zip(&values[first..=own]);
                    (parts
                        .map(|(share, value)| share * f64::from(value[i]))
                        .sum::<f64>()
                        / total) as f32
                }));
            }
        }
        z
    }

    #[test]
    fn turns_windows_and_caps_are_the_definition() {
        let (keys, values) = (
            numbers([N_KV_HEADS, 21, D_HEAD], 0.5),
            numbers([N_KV_HEADS, 21, D_HEAD], 2.0),
        );
        let mut cache = TensorCache::default();
        cache.append(&keys, &values).unwrap();
        for n_rows in [21, 7, 1] {
            let queries = numbers([n_rows, N_HEADS, D_HEAD], 1.0);
            for (window, softcap) in [
                (None, None),
                (Some(5), None),
                (Some(1), Some(0.7)),
                (Some(30), Some(0.7)),
            ] {
                // All rows at once, three at a time, one at a time.
                for max_scores in [usize::MAX, 3 * N_HEADS * 21, 1] {
                    let attention = Attention {
                        n_heads: N_HEADS,
                        n_kv_heads: N_KV_HEADS,
                        d_head: D_HEAD,
                        scale: 0.9,
                        softcap,
                        window,
                        max_scores,
                    };
                    let z = attention
                        .attend(&queries, &cache, &mut Masks::default())
                        .unwrap();
                    assert_eq!(z.dims(), [n_rows, N_HEADS * D_HEAD]);
                    let found = crate::tensor::to_host(&z).unwrap();
                    let expected = reference(attention, &queries, &keys, &values);
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!(
                            (found - expected).abs() < 2e-6,
                            "{attention:?}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
