//! What leaves unlikely tokens out before one is drawn: top-k, top-p, min-p.

/// A token that may be drawn, and its weight: its probability times an unknown factor. The weights of
/// a list are at most 1, and the highest is 1.
pub(super) type Candidate = (u32, f64);

/// Tokens that top-p sorts at first. Most predictions need fewer.
const FIRST_SORTED: usize = 128;

/// Keeps the `k` highest weights and what equals the last of them, as transformers'
/// `TopKLogitsWarper` does. 0 keeps all.
pub(super) fn top_k(candidates: &mut Vec<Candidate>, weights: &mut Vec<f64>, k: u32) {
    let k = k as usize;
    if k == 0 || k >= candidates.len() {
        return;
    }
    weights.clear();
    weights.extend(candidates.iter().map(|candidate| candidate.1));
    let (_, &mut smallest, _) = weights.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    candidates.retain(|candidate| candidate.1 >= smallest);
}

/// Keeps a token where those before it, in falling order of weight and rising order of id, have less
/// than `p` of the whole. That is transformers' `TopPLogitsWarper`, which adds the tail up to `1 - p`
/// from the other end; ties, which it leaves open, go to the lowest id. 1 keeps all.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f64) {
    if p >= 1.0 {
        return;
    }
    let budget = p * candidates.iter().map(|candidate| candidate.1).sum::<f64>();
    let mut n_sorted = FIRST_SORTED;
    loop {
        // The order is total, so any partition and sort by it gives the same list.
        if n_sorted < candidates.len() {
            candidates.select_nth_unstable_by(n_sorted, falling);
        }
        let end = n_sorted.min(candidates.len());
        candidates[..end].sort_unstable_by(falling);
        let mut sum = 0.0;
        let n_kept = candidates[..end]
            .iter()
            .take_while(|candidate| {
                let keep = sum < budget;
                sum += candidate.1;
                keep
            })
            .count();
        if n_kept < end || end == candidates.len() {
            candidates.truncate(n_kept);
            return;
        }
        n_sorted *= 4;
    }
}

/// Keeps the weights that are at least `p` times the highest. 0 keeps all.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f64) {
    if p > 0.0 {
        candidates.retain(|candidate| candidate.1 >= p);
    }
}

fn falling(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}
