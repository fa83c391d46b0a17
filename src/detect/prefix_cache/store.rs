//! The entries of the cache and who finds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candor_model::Snapshot;

use super::chain::{Chain, Link};
use super::{PREFIX_BLOCK, PrefixCacheStats, Wanted};
use crate::running::RunningProbe;

/// What the model computed for a prefix.
pub(crate) struct Computed {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Blocks of the model that were run.
    pub(crate) depth: usize,
    pub(crate) n_bytes: usize,
}

/// What probes said about a reply that begins somewhere in an entry.
struct ReadReply {
    n_prompt: usize,
    /// One per probe. None goes past the entry's last block.
    probes: Vec<RunningProbe>,
}

struct Entry {
    chain: Chain,
    computed: Computed,
    replies: Vec<ReadReply>,
    /// When it was last of use.
    used: u64,
}

/// A prefix, before it is copied.
pub(super) struct Found {
    pub(super) snapshot: Arc<Snapshot>,
    /// How much of the snapshot is meant.
    pub(super) n_tokens: usize,
    pub(super) probes: Option<Vec<RunningProbe>>,
}

/// Entries, and the links by which they are found.
#[derive(Default)]
pub(super) struct Store {
    entries: BTreeMap<u64, Entry>,
    /// Every link of every entry, and the entries that have it.
    index: HashMap<Link, Vec<u64>>,
    /// Counts calls; the age of entries.
    clock: u64,
    next_id: u64,
    /// Sum over the entries.
    bytes: usize,
    hits: u64,
    misses: u64,
    reused_tokens: u64,
    evictions: u64,
}

impl Entry {
    fn n_bytes(&self) -> usize {
        let probes = self.replies.iter().flat_map(|reply| &reply.probes);
        // Token ids in the snapshot, links here and in the index.
        let per_block = PREFIX_BLOCK * size_of::<u32>() + 4 * size_of::<Link>();
        self.computed.n_bytes
            + size_of::<Self>()
            + self.chain.links().len() * per_block
            + probes.map(RunningProbe::n_bytes).sum::<usize>()
    }

    /// The states of all wanted probes after `n_tokens`, where each has read the reply so far.
    fn probes(&self, n_tokens: usize, wanted: &Wanted<'_>) -> Option<Vec<RunningProbe>> {
        let n_read = n_tokens - wanted.n_prompt;
        let replies = self.replies.iter();
        let replies: Vec<&ReadReply> = replies
            .filter(|reply| reply.n_prompt == wanted.n_prompt)
            .collect();
        let find = |probe| {
            let mut all = replies.iter().flat_map(|reply| &reply.probes);
            let found = all.find(|running: &&RunningProbe| {
                running.is_by(probe) && running.tokens().len() >= n_read
            })?;
            let mut running = found.clone();
            running.truncate(n_read);
            Some(running)
        };
        wanted.probes.iter().map(find).collect()
    }

    /// Adds scores of a reply; of two by one probe the longer is kept.
    fn add(&mut self, n_prompt: usize, probes: Vec<RunningProbe>) {
        if probes.is_empty() {
            return;
        }
        let index = self
            .replies
            .iter()
            .position(|reply| reply.n_prompt == n_prompt);
        let index = index.unwrap_or_else(|| {
            self.replies.push(ReadReply {
                n_prompt,
                probes: Vec::new(),
            });
            self.replies.len() - 1
        });
        let known = &mut self.replies[index].probes;
        for running in probes {
            match known.iter_mut().find(|known| known.is_same_probe(&running)) {
                Some(known) if known.tokens().len() >= running.tokens().len() => {}
                Some(known) => *known = running,
                None => known.push(running),
            }
        }
    }
}

impl Store {
    pub(super) fn stats(&self) -> PrefixCacheStats {
        PrefixCacheStats {
            hits: self.hits,
            misses: self.misses,
            reused_tokens: self.reused_tokens,
            evictions: self.evictions,
            entries: self.entries.len(),
            bytes: self.bytes,
            budget: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
        self.bytes = 0;
    }

    /// The longest prefix that is usable; of several the least deep, then the oldest.
    pub(super) fn find(&mut self, wanted: &Wanted<'_>) -> Option<Found> {
        let now = self.tick();
        for (n_blocks, link) in wanted.chain.links().iter().enumerate().rev() {
            let n_tokens = (n_blocks + 1) * PREFIX_BLOCK;
            if n_tokens > wanted.at_most {
                continue;
            }
            let ids = self.index.get(link).map_or(&[][..], Vec::as_slice);
            let usable = ids.iter().filter_map(|id| {
                let entry = &self.entries[id];
                if entry.computed.depth < wanted.depth {
                    return None;
                }
                // The row before the reply is read too: the intent.
                let probes = if n_tokens < wanted.n_prompt {
                    None
                } else {
                    Some(entry.probes(n_tokens, wanted)?)
                };
                Some((entry.computed.depth, *id, probes))
            });
            if let Some((_, id, probes)) = usable.min_by_key(|(depth, id, _)| (*depth, *id)) {
                self.hits += 1;
                self.reused_tokens += n_tokens as u64;
                let entry = self.entries.get_mut(&id).expect("the index names entries");
                entry.used = now;
                return Some(Found {
                    snapshot: Arc::clone(&entry.computed.snapshot),
                    n_tokens,
                    probes,
                });
            }
        }
        self.misses += 1;
        None
    }

    /// Adds the scores to an entry that holds this prefix at this depth; false where there is none.
    pub(super) fn merge(
        &mut self,
        chain: &Chain,
        depth: usize,
        n_prompt: usize,
        probes: &[RunningProbe],
        budget: usize,
    ) -> bool {
        let now = self.tick();
        let ids = chain.links().last().and_then(|last| self.index.get(last));
        let id = ids.into_iter().flatten().copied();
        let Some(id) = id
            .into_iter()
            .find(|id| self.entries[id].computed.depth >= depth)
        else {
            return false;
        };
        let entry = self.entries.get_mut(&id).expect("the index names entries");
        let before = entry.n_bytes();
        entry.used = now;
        entry.add(n_prompt, probes.to_vec());
        self.bytes = self.bytes - before + entry.n_bytes();
        self.make_room(budget);
        true
    }

    /// Adds an entry, takes in those that it continues, and makes room.
    pub(super) fn insert(
        &mut self,
        chain: &Chain,
        computed: Computed,
        n_prompt: usize,
        probes: Vec<RunningProbe>,
        budget: usize,
    ) {
        let used = self.tick();
        let mut entry = Entry {
            chain: chain.clone(),
            computed,
            replies: Vec::new(),
            used,
        };
        entry.add(n_prompt, probes);
        if entry.n_bytes() > budget {
            return;
        }
        for link in chain.links() {
            let ids = self.index.get(link).cloned().unwrap_or_default();
            for id in ids {
                let other = &self.entries[&id];
                if other.chain.links().last() == Some(link)
                    && other.computed.depth <= entry.computed.depth
                {
                    for reply in self.remove(id).replies {
                        entry.add(reply.n_prompt, reply.probes);
                    }
                }
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        self.bytes += entry.n_bytes();
        for link in chain.links() {
            self.index.entry(*link).or_default().push(id);
        }
        self.entries.insert(id, entry);
        self.make_room(budget);
    }

    /// Removes what was least recently of use until the budget is kept.
    fn make_room(&mut self, budget: usize) {
        while self.bytes > budget {
            // Entries are few: each holds at least a block of keys and values.
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some((&id, _)) = oldest else { return };
            self.remove(id);
            self.evictions += 1;
        }
    }

    fn remove(&mut self, id: u64) -> Entry {
        let entry = self
            .entries
            .remove(&id)
            .expect("only entries that are there are removed");
        self.bytes -= entry.n_bytes();
        for link in entry.chain.links() {
            if let Some(ids) = self.index.get_mut(link) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.index.remove(link);
                }
            }
        }
        entry
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
