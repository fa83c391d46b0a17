//! Prefixes that were computed before, with their scores, in bounded memory.

mod chain;
mod store;

pub(crate) use chain::{Chain, Root};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candor_model::{Model, Sequence};

use crate::detector::LoadedProbe;
use crate::error::Result;
use crate::running::RunningProbe;
use store::{Computed, Store};

/// Tokens of a block. A prefix is found again at the end of each of its blocks, so at most this many
/// tokens less one are computed a second time. One SHA-256 per block is paid for it.
pub const PREFIX_BLOCK: usize = 16;

/// Computed prefixes: keys and values, and what probes said about them.
///
/// A text is looked up by a chain of hashes over (fingerprint, edits, token ids), one per block of
/// [`PREFIX_BLOCK`] tokens, and the longest usable prefix is taken. It is usable
/// - where it was computed at least as deep as is needed now, and
/// - where it ends within the prompt, or every probe asked for has read the reply up to there, from the
///   same beginning.
///
/// What is restored are the stored scores, to the bit; everything else is computed anew. An entry that
/// another one continues is merged into it, so a growing conversation is held once. Where the budget
/// is exceeded, the least recently used entry goes. Clones are the same cache.
#[derive(Clone)]
pub struct PrefixCache {
    /// Zero bytes turn it off.
    budget: usize,
    store: Arc<Mutex<Store>>,
}

/// What a [`PrefixCache`] has done and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixCacheStats {
    /// Texts of which a prefix was found.
    pub hits: u64,
    /// Texts of which none was.
    pub misses: u64,
    /// Tokens that were not computed again.
    pub reused_tokens: u64,
    /// Entries that went because the budget was exceeded.
    pub evictions: u64,
    /// Entries now.
    pub entries: usize,
    /// Bytes that the entries are taken to need.
    pub bytes: usize,
    /// Most bytes.
    pub budget: usize,
}

/// What to look for.
pub(crate) struct Wanted<'a> {
    pub(crate) chain: &'a Chain,
    /// Blocks of the model that must have been run.
    pub(crate) depth: usize,
    /// Where the reply begins.
    pub(crate) n_prompt: usize,
    /// Longest prefix that is of use.
    pub(crate) at_most: usize,
    pub(crate) probes: &'a [Arc<LoadedProbe>],
}

/// A prefix that needs no computing.
pub(crate) struct Reused {
    /// As deep as wanted or deeper.
    pub(crate) sequence: Sequence,
    /// One per wanted probe, where the prefix holds the whole prompt.
    pub(crate) probes: Option<Vec<RunningProbe>>,
}

impl std::fmt::Debug for PrefixCache {
    /// Counts only: tokens are user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stats().fmt(f)
    }
}

impl PrefixCache {
    /// An empty cache of at most `budget` bytes; 0 turns it off.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            store: Arc::default(),
        }
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.budget > 0
    }

    /// Counts so far.
    pub fn stats(&self) -> PrefixCacheStats {
        PrefixCacheStats {
            budget: self.budget,
            ..self.lock().stats()
        }
    }

    /// Forgets every entry. The counts go on.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The longest usable prefix.
    pub(crate) fn find(&self, model: &Model, wanted: &Wanted<'_>) -> Result<Option<Reused>> {
        if !self.is_on() {
            return Ok(None);
        }
        // Copied outside the lock: other threads need not wait for it.
        let Some(found) = self.lock().find(wanted) else {
            return Ok(None);
        };
        let mut sequence = model.restore(&found.snapshot)?;
        sequence.truncate(found.n_tokens);
        Ok(Some(Reused {
            sequence,
            probes: found.probes,
        }))
    }

    /// Keeps a sequence, which the chain is of, and the scores of its reply, which begins at `n_prompt`.
    /// What comes after its last whole block cannot be found again.
    pub(crate) fn keep(
        &self,
        model: &Model,
        chain: &Chain,
        sequence: &Sequence,
        n_prompt: usize,
        mut probes: Vec<RunningProbe>,
    ) {
        let n_tokens = chain.n_tokens();
        if !self.is_on() || n_tokens == 0 {
            return;
        }
        for probe in &mut probes {
            probe.truncate(n_tokens.saturating_sub(n_prompt));
        }
        if n_tokens < n_prompt {
            probes.clear();
        }
        let depth = sequence.depth();
        let n_bytes = cache_bytes(model, sequence);
        // No copy is made that would be thrown away.
        let mut store = self.lock();
        if store.merge(chain, depth, n_prompt, &probes, self.budget) || n_bytes > self.budget {
            return;
        }
        drop(store);
        let computed = Computed {
            snapshot: Arc::new(model.snapshot(sequence)),
            depth,
            n_bytes,
        };
        self.lock()
            .insert(chain, computed, n_prompt, probes, self.budget);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // Every change is complete before the next one begins, so a panic elsewhere spoils nothing.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a sequence's keys and values. Their buffers double as they grow.
fn cache_bytes(model: &Model, sequence: &Sequence) -> usize {
    let n_rows = sequence.tokens().len().next_power_of_two();
    n_rows * model.cache_bytes_per_token() / model.config().n_layers * sequence.depth()
}
