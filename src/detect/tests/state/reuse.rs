//! The prefix cache: hits are fresh runs, misses are where they must be, memory is bounded.

use candor_detect::{Detector, PREFIX_BLOCK, PrefixCacheStats, ReadOptions, ScoreInput, Scored};
use proptest::prelude::*;

use super::{assert_agree, bits, detector, ids, probes, real_model, tiny_model, tokens};

/// Room for everything.
const ROOM: usize = 1 << 30;

/// Fresh, and with the cache.
fn pair() -> (Detector, Detector) {
    let fresh = detector(&tiny_model());
    let cached = fresh.clone().with_prefix_cache(ROOM);
    (fresh, cached)
}

fn read(detector: &Detector, input: &ScoreInput, names: &[&str]) -> Scored {
    let probes = probes(detector, names);
    detector
        .read(std::slice::from_ref(input), &probes, ReadOptions::default())
        .remove(0)
        .unwrap()
}

/// Reads with and without the cache and returns how many tokens were computed with it.
#[track_caller]
fn check(pair: &(Detector, Detector), prompt: &[u32], response: &[u32], names: &[&str]) -> usize {
    let input = ids(prompt, response);
    let expected = read(&pair.0, &input, names);
    let found = read(&pair.1, &input, names);
    assert_agree(&found, &expected);
    assert_eq!(
        expected.usage.computed_tokens,
        prompt.len() + response.len()
    );
    found.usage.computed_tokens
}

#[test]
fn a_growing_conversation_is_computed_once() {
    let pair = pair();
    let text = tokens(200, 1);
    let turns = [(20, 45), (60, 90), (100, 170), (180, 200)];
    let mut known = 0;
    for (n_prompt, n) in turns {
        let computed = check(&pair, &text[..n_prompt], &text[n_prompt..n], &["alpha"]);
        assert_eq!(computed, n - known);
        known = n / PREFIX_BLOCK * PREFIX_BLOCK;
    }
    let stats = pair.1.prefix_cache().stats();
    assert_eq!((stats.hits, stats.misses), (3, 1));
    assert_eq!(stats.reused_tokens, 32 + 80 + 160);
    // Each turn continues the last one, so one entry holds all.
    assert_eq!(stats.entries, 1);
    assert!(stats.bytes > 0 && stats.bytes <= stats.budget);
}

#[test]
fn a_growing_reply_keeps_its_scores_to_the_bit() {
    let pair = pair();
    let (prompt, response) = (tokens(21, 2), tokens(100, 3));
    let names = &["alpha", "beta", "gamma"];
    let first = read(&pair.1, &ids(&prompt, &response[..70]), names);
    assert_eq!(check(&pair, &prompt, &response, names), 121 - 80);
    let second = read(&pair.1, &ids(&prompt, &response), names);
    for (first, second) in first.probes.iter().zip(&second.probes) {
        assert_eq!(first.intent(), second.intent());
        // 80 tokens of the text are in whole blocks, 59 of them in the reply.
        assert_eq!(first.tokens()[..59], second.tokens()[..59]);
    }
}

#[test]
fn a_text_of_whole_blocks_is_not_computed_again() {
    let pair = pair();
    let (prompt, response) = (tokens(PREFIX_BLOCK, 2), tokens(2 * PREFIX_BLOCK, 3));
    let names = &["beta", "gamma"];
    let first = read(&pair.1, &ids(&prompt, &response), names);
    let again = read(&pair.1, &ids(&prompt, &response), names);
    assert_eq!(again.usage.computed_tokens, 0);
    for (first, again) in first.probes.iter().zip(&again.probes) {
        assert_eq!(bits(first), bits(again));
        assert_eq!(first.first_flag_token(), again.first_flag_token());
    }
}

#[test]
fn another_reply_to_the_same_prompt_shares_the_prompt_only() {
    let pair = pair();
    let prompt = tokens(40, 4);
    assert_eq!(check(&pair, &prompt, &tokens(30, 5), &["alpha"]), 70);
    assert_eq!(check(&pair, &prompt, &tokens(30, 6), &["alpha"]), 70 - 32);
    // The end of the prompt is read for the intent, unless a probe has read it before.
    let prompt = tokens(48, 7);
    assert_eq!(check(&pair, &prompt, &tokens(30, 5), &["alpha"]), 78);
    assert_eq!(check(&pair, &prompt, &tokens(30, 6), &["alpha"]), 78 - 48);
    assert_eq!(
        check(&pair, &prompt, &tokens(30, 6), &["alpha", "beta"]),
        78
    );
    assert_eq!(check(&pair, &prompt, &tokens(30, 5), &["beta"]), 78 - 48);
}

#[test]
fn a_reply_that_begins_elsewhere_is_read_anew() {
    let pair = pair();
    let text = tokens(96, 8);
    assert_eq!(check(&pair, &text[..40], &text[40..], &["alpha"]), 96);
    // Keys and values are reused up to the block in which the prompt ends; the scores are not.
    assert_eq!(check(&pair, &text[..60], &text[60..], &["alpha"]), 96 - 48);
    assert_eq!(check(&pair, &text[..40], &text[40..], &["alpha"]), 0);
    assert_eq!(check(&pair, &text[..60], &text[60..], &["alpha"]), 0);
    assert_eq!(check(&pair, &[], &text, &["alpha"]), 96);
    assert_eq!(check(&pair, &[], &text, &["alpha"]), 0);
}

#[test]
fn probes_without_a_state_are_computed() {
    let pair = pair();
    let (prompt, response) = (tokens(32, 9), tokens(64, 10));
    let check = |names: &[&str]| check(&pair, &prompt, &response, names);
    assert_eq!(check(&["alpha"]), 96);
    // `gamma` reads a deeper layer than was run.
    assert_eq!(check(&["gamma"]), 96);
    // Its entry is deep enough for all; `alpha` has read the reply, `beta` has not.
    assert_eq!(check(&["alpha", "gamma"]), 0);
    assert_eq!(check(&["alpha", "beta"]), 96 - 16);
    assert_eq!(check(&["gamma", "beta", "alpha"]), 0);
    assert_eq!(pair.1.prefix_cache().stats().entries, 1);
}

#[test]
fn a_probe_loaded_again_has_no_state() {
    let pair = pair();
    let (prompt, response) = (tokens(32, 9), tokens(64, 10));
    assert_eq!(check(&pair, &prompt, &response, &["alpha"]), 96);
    // The same bundle in another detector: the cache is that of the clone, the probe is not.
    let again = detector(&tiny_model());
    let scored = pair
        .1
        .read(
            &[ids(&prompt, &response)],
            &probes(&again, &["alpha"]),
            ReadOptions::default(),
        )
        .remove(0)
        .unwrap();
    assert_eq!(scored.usage.computed_tokens, 96 - 16);
}

#[test]
fn nothing_is_kept_without_a_budget_or_on_request() {
    let fresh = detector(&tiny_model());
    let text = ids(&tokens(40, 1), &tokens(40, 2));
    for detector in [fresh.clone(), fresh.clone().with_prefix_cache(0)] {
        for _ in 0..2 {
            assert_eq!(read(&detector, &text, &[]).usage.computed_tokens, 80);
        }
        assert_eq!(detector.prefix_cache().stats(), PrefixCacheStats::default());
    }
    let cached = fresh.with_prefix_cache(ROOM);
    let options = ReadOptions {
        reuse: false,
        ..ReadOptions::default()
    };
    for _ in 0..2 {
        let scored = cached.read(std::slice::from_ref(&text), cached.probes(), options);
        assert_eq!(scored[0].as_ref().unwrap().usage.computed_tokens, 80);
    }
    let stats = cached.prefix_cache().stats();
    assert_eq!((stats.entries, stats.hits, stats.misses), (0, 0, 0));
}

#[test]
fn the_least_recently_used_goes_and_the_budget_is_kept() {
    let one = {
        let pair = pair();
        check(&pair, &tokens(40, 0), &tokens(40, 1), &["alpha"]);
        pair.1.prefix_cache().stats().bytes
    };
    let fresh = detector(&tiny_model());
    let budget = 3 * one + one / 2;
    let pair = (fresh.clone(), fresh.with_prefix_cache(budget));
    let read = |seed: usize| check(&pair, &tokens(40, seed), &tokens(40, 1), &["alpha"]);
    for seed in 0..3 {
        assert_eq!(read(seed), 80);
    }
    // The first is of use again, so the second is the oldest.
    assert_eq!(read(0), 0);
    assert_eq!(read(3), 80);
    let stats = pair.1.prefix_cache().stats();
    assert_eq!((stats.entries, stats.evictions), (3, 1));
    assert_eq!(read(0), 0);
    assert_eq!(read(2), 0);
    assert_eq!(read(1), 80);
    for seed in 10..30 {
        read(seed);
        let stats = pair.1.prefix_cache().stats();
        assert!(stats.bytes <= budget, "{stats:?}");
    }
    pair.1.prefix_cache().clear();
    let stats = pair.1.prefix_cache().stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
    assert_eq!(stats.hits, 3);

    // What does not fit at all pushes nothing out.
    let small = pair.0.clone().with_prefix_cache(one / 2);
    read_ids(&small, 80);
    assert_eq!(small.prefix_cache().stats().entries, 0);
    assert_eq!(small.prefix_cache().stats().evictions, 0);
}

fn read_ids(detector: &Detector, n: usize) {
    read(
        detector,
        &ids(&tokens(n / 2, 1), &tokens(n / 2, 2)),
        &["alpha"],
    );
}

#[test]
fn every_item_of_a_batch_has_its_own_prefix() {
    let (fresh, cached) = pair();
    let prompts = [tokens(33, 1), tokens(50, 2), tokens(64, 3), tokens(5, 4)];
    let response = tokens(40, 5);
    read(
        &cached,
        &ids(&prompts[0], &response),
        &["alpha", "beta", "gamma"],
    );
    read(&cached, &ids(&prompts[2], &response), &["alpha"]);
    let inputs: Vec<ScoreInput> = prompts
        .iter()
        .chain(&prompts[..2])
        .map(|prompt| ids(prompt, &response))
        .collect();
    let names = ["alpha", "beta"];
    for split_at_response in [false, true] {
        let options = ReadOptions {
            split_at_response,
            ..ReadOptions::default()
        };
        let expected = fresh.read(&inputs, &probes(&fresh, &names), options);
        let found = cached.read(&inputs, &probes(&cached, &names), options);
        for (expected, found) in expected.iter().zip(&found) {
            assert_agree(found.as_ref().unwrap(), expected.as_ref().unwrap());
        }
    }
}

#[test]
fn debug_shows_no_tokens() {
    let (_, cached) = pair();
    read(&cached, &ids(&[201; 40], &[202; 40]), &["alpha"]);
    let text = format!("{:?}", cached.prefix_cache());
    assert!(text.contains("entries: 1"), "{text}");
    assert!(!text.contains("201") && !text.contains("202"), "{text}");
}

#[test]
fn the_real_model_agrees() {
    let Some(model) = real_model() else { return };
    let fresh = detector(&model);
    let cached = fresh.clone().with_prefix_cache(256 << 20);
    let pair = (fresh, cached);
    let text = tokens(150, 1);
    for (n_prompt, n) in [(20, 45), (60, 90), (100, 150), (100, 140)] {
        let names = ["alpha", "beta", "gamma"];
        check(&pair, &text[..n_prompt], &text[n_prompt..n], &names);
    }
    assert_eq!(pair.1.prefix_cache().stats().hits, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Texts that share beginnings, read in any order, by any probes, with any budget.
    #[test]
    fn any_order_gives_the_scores_of_fresh_runs(
        reads in prop::collection::vec(
            (0usize..90, 1usize..60, 0usize..2, 0usize..90, 1u8..8, any::<bool>()),
            1..12,
        ),
        budget in prop::sample::select(vec![30_000usize, 120_000, ROOM]),
    ) {
        let fresh = detector(&tiny_model());
        let cached = fresh.clone().with_prefix_cache(budget);
        for (n_prompt, n_response, seed, n_shared, names, early_exit) in reads {
            let n = n_prompt + n_response;
            let n_shared = n_shared.min(n);
            let text = [&tokens(n_shared, 0), &tokens(n, seed + 1)[n_shared..]].concat();
            let all = ["alpha", "beta", "gamma"];
            let names: Vec<&str> = (0..3).filter(|i| names >> i & 1 == 1).map(|i| all[i]).collect();
            let input = [ids(&text[..n_prompt], &text[n_prompt..])];
            let options = ReadOptions { early_exit, ..ReadOptions::default() };
            let expected = fresh.read(&input, &probes(&fresh, &names), options).remove(0).unwrap();
            let found = cached.read(&input, &probes(&cached, &names), options).remove(0).unwrap();
            assert_agree(&found, &expected);
            let stats = cached.prefix_cache().stats();
            prop_assert!(stats.bytes <= budget);
            prop_assert_eq!(stats.entries == 0, stats.bytes == 0);
        }
    }
}
