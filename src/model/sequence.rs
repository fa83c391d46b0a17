//! A sequence in the making, and snapshots of it.

use crate::cache::Cache;
use crate::error::{Error, Result};

/// The tokens of one sequence and what has been computed for them.
#[derive(Debug)]
pub struct Sequence {
    pub(crate) tokens: Vec<u32>,
    /// One cache per computed block. Steps of one sequence all run to the same depth, so that
    /// every cache covers every token.
    pub(crate) caches: Vec<Cache>,
}

impl Sequence {
    /// An empty sequence.
    pub fn new() -> Self {
        Self {
            tokens: Vec::new(),
            caches: Vec::new(),
        }
    }

    /// The tokens that went through the model so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Blocks computed for every token; 0 before the first step.
    pub fn depth(&self) -> usize {
        self.caches.len()
    }

    /// Forgets everything from token `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        for cache in &mut self.caches {
            cache.truncate(len);
        }
        if self.tokens.is_empty() {
            self.caches.clear();
        }
    }

    /// Makes sure there are `depth` caches like `empty` before the first step, and no others later.
    pub(crate) fn prepare(&mut self, depth: usize, empty: &Cache) -> Result<()> {
        if self.tokens.is_empty() {
            self.caches = vec![empty.clone(); depth];
        }
        if !self.caches.iter().all(|cache| cache.is_like(empty)) {
            return Err(Error::ForeignSequence);
        }
        if self.caches.len() == depth {
            Ok(())
        } else {
            Err(Error::ShallowCache {
                filled: self.caches.len(),
                wanted: depth,
            })
        }
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy of a sequence that later steps do not change. Belongs to one model.
///
/// Pooling state and token logits of the prefix belong to the probes and are kept with it by
/// `candor-detect`.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) tokens: Vec<u32>,
    pub(crate) caches: Vec<Cache>,
    /// SHA-256 over the fingerprint of the model that made it.
    pub(crate) model_key: String,
}

impl Snapshot {
    /// The tokens of the prefix.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Blocks computed for it.
    pub fn depth(&self) -> usize {
        self.caches.len()
    }

    /// Bytes of its keys and values.
    pub fn n_bytes(&self) -> usize {
        self.caches.iter().map(Cache::n_bytes).sum()
    }
}
