//! Keys and values of one sequence in one block, of whichever decoder fills them.

use crate::device::TensorCache;
use crate::kv_cache::KvCache;

/// A cache; [`Sequence::prepare`](crate::sequence::Sequence::prepare) sees to it that a decoder only
/// meets its own.
#[derive(Debug, Clone)]
pub(crate) enum Cache {
    Cpu(KvCache),
    Tensors(TensorCache),
}

impl Cache {
    pub(crate) fn cpu(&self) -> &KvCache {
        match self {
            Self::Cpu(cache) => cache,
            Self::Tensors(_) => unreachable!("a sequence is prepared for its decoder"),
        }
    }

    pub(crate) fn cpu_mut(&mut self) -> &mut KvCache {
        match self {
            Self::Cpu(cache) => cache,
            Self::Tensors(_) => unreachable!("a sequence is prepared for its decoder"),
        }
    }

    pub(crate) fn tensors_mut(&mut self) -> &mut TensorCache {
        match self {
            Self::Tensors(cache) => cache,
            Self::Cpu(_) => unreachable!("a sequence is prepared for its decoder"),
        }
    }

    /// Whether the same decoder could go on with both.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Forgets everything from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        match self {
            Self::Cpu(cache) => cache.truncate(len),
            Self::Tensors(cache) => cache.truncate(len),
        }
    }

    /// Bytes held.
    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            Self::Cpu(cache) => cache.n_bytes(),
            Self::Tensors(cache) => cache.n_bytes(),
        }
    }
}
