//! Rewinding and branching restore tokens, scores and predictions.

use candor_detect::{Error, LiveReply, ReadOptions};
use proptest::prelude::*;

use super::{TOLERANCE, bits, detector, difference, ids, tiny_model, tokens};

fn all_bits(reply: &LiveReply) -> Vec<Vec<u64>> {
    reply.probes().iter().map(bits).collect()
}

#[test]
fn going_back_restores_the_scores_to_the_bit() {
    let detector = detector(&tiny_model());
    let (mut reply, _) = detector
        .start(&tokens(10, 1), detector.probes(), false)
        .unwrap();
    let response = tokens(20, 2);
    let mut history = vec![all_bits(&reply)];
    let mut logits = Vec::new();
    for &token in &response {
        logits.push(reply.push(&[token]).unwrap().unwrap());
        history.push(all_bits(&reply));
    }
    for n in [20, 13, 12, 1, 0] {
        reply.truncate(n).unwrap();
        assert_eq!(reply.tokens(), &response[..n]);
        assert_eq!(all_bits(&reply), history[n]);
        assert_eq!(reply.scored().texts.len(), n);
        if n > 0 {
            let again = reply.next_logits().unwrap().unwrap();
            for (a, b) in again.iter().zip(&logits[n - 1]) {
                assert!((a - b).abs() <= 1e-4);
            }
            assert_eq!(all_bits(&reply), history[n]);
        }
    }
    assert!(matches!(
        reply.truncate(1),
        Err(Error::NoSuchToken {
            n_tokens: 0,
            wanted: 1
        })
    ));
}

#[test]
fn logits_after_a_prompt_can_be_had_again() {
    let detector = detector(&tiny_model());
    for n_prompt in [1, 7] {
        let (mut reply, logits) = detector
            .start(&tokens(n_prompt, 1), detector.probes(), false)
            .unwrap();
        let again = reply.next_logits().unwrap().unwrap();
        for (a, b) in again.iter().zip(&logits.unwrap()) {
            assert!((a - b).abs() <= 1e-4);
        }
        reply.push(&[5]).unwrap();
    }
    let early = detector
        .start(&tokens(7, 1), detector.probes(), true)
        .unwrap();
    assert!(early.1.is_none());
    let mut early = early.0;
    assert!(early.next_logits().unwrap().is_none());
}

#[test]
fn a_failing_push_changes_nothing() {
    let detector = detector(&tiny_model());
    let (mut reply, _) = detector
        .start(&tokens(10, 1), detector.probes(), true)
        .unwrap();
    reply.push(&[3, 4]).unwrap();
    let before = all_bits(&reply);
    for tokens in [vec![], vec![5, 999], vec![5; 300]] {
        assert!(reply.push(&tokens).is_err());
        assert_eq!(reply.tokens(), [3, 4]);
        assert_eq!(all_bits(&reply), before);
    }
    reply.push(&[6]).unwrap();
}

#[test]
fn a_snapshot_of_a_shorter_prompt_restores_its_own_reply() {
    let detector = detector(&tiny_model());
    let (mut long, _) = detector
        .start(&tokens(30, 1), detector.probes(), true)
        .unwrap();
    let (mut short, _) = detector
        .start(&tokens(10, 1), detector.probes(), true)
        .unwrap();
    short.push(&[7, 8]).unwrap();
    long.rewind(&short.snapshot()).unwrap();
    assert_eq!(long.tokens(), [7, 8]);
    assert_eq!(all_bits(&long), all_bits(&short));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Branches made anywhere, grown and cut in any order, score as if each were read by itself.
    #[test]
    fn branches_are_replies_of_their_own(
        n_prompt in 1usize..40,
        early_exit in any::<bool>(),
        steps in prop::collection::vec((0usize..4, 0usize..8, 1usize..12, 0usize..40), 1..14),
    ) {
        let detector = detector(&tiny_model());
        let prompt = tokens(n_prompt, 1);
        let (reply, _) = detector.start(&prompt, detector.probes(), early_exit).unwrap();
        let mut branches = vec![reply];
        for (kind, which, n, seed) in steps {
            let which = which % branches.len();
            match kind {
                0 => {
                    let branch = branches[which].snapshot().branch().unwrap();
                    branches.push(branch);
                }
                1 => {
                    let keep = branches[which].tokens().len().saturating_sub(n);
                    branches[which].truncate(keep).unwrap();
                }
                _ => _ = branches[which].push(&tokens(n, seed)).unwrap(),
            }
        }
        for branch in &branches {
            if branch.tokens().is_empty() {
                continue;
            }
            let input = [ids(&prompt, branch.tokens())];
            let read = detector.read(&input, detector.probes(), ReadOptions::default());
            let expected = read.into_iter().next().unwrap().unwrap();
            prop_assert!(difference(branch.probes(), &expected.probes) <= TOLERANCE);
            prop_assert_eq!(branch.scored().texts, expected.texts);
        }
    }
}
