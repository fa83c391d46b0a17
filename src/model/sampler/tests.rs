use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling).unwrap()
}

/// Draws `n` tokens from the same logits, without a history.
fn draw(sampling: &Sampling, logits: &[f32], n: usize) -> Vec<u32> {
    let mut sampler = sampler(sampling.clone());
    let draws = (0..n).map(|_| sampler.sample(logits, History::default()).unwrap());
    draws.collect()
}

#[derive(serde::Deserialize)]
struct Case {
    logits: Vec<f32>,
    prompt: Vec<u32>,
    reply: Vec<u32>,
    sampling: Sampling,
    greedy: u32,
    scores: BTreeMap<u32, f64>,
}

#[test]
fn scores_are_those_of_transformers() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/sampler/expected.json"
    );
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 26);
    for case in cases {
        let history = History {
            prompt: &case.prompt,
            reply: &case.reply,
        };
        let about = format!("{:?}", case.sampling);
        let greedy = Sampling {
            temperature: 0.0,
            ..case.sampling.clone()
        };
        assert_eq!(
            sampler(greedy).sample(&case.logits, history).unwrap(),
            case.greedy,
            "{about}"
        );

        let mut sampler = sampler(case.sampling);
        let best = sampler.score(&case.logits, history).unwrap();
        sampler.keep_likely(best);
        let found: BTreeMap<u32, f64> = sampler.candidates.iter().copied().collect();
        let tokens = |map: &BTreeMap<u32, f64>| map.keys().copied().collect::<Vec<_>>();
        assert_eq!(tokens(&found), tokens(&case.scores), "{about}");
        let max = case.scores.values().copied().fold(f64::MIN, f64::max);
        for (token, weight) in found {
            let expected = case.scores[&token] - max;
            // The reference divides by the temperature in f32.
            assert!(
                (weight.ln() - expected).abs() < 1e-5,
                "{about}: token {token} has {}, expected {expected}",
                weight.ln()
            );
        }
    }
}

#[test]
fn greedy_takes_the_first_of_equals() {
    assert_eq!(draw(&Sampling::GREEDY, &[0.0, 3.0, 3.0], 1), [1]);
    assert_eq!(draw(&Sampling::GREEDY, &[-0.0, 0.0], 1), [0]);
}

#[test]
fn a_seed_repeats_and_frequencies_follow_the_logits() {
    let sampling = Sampling {
        seed: 7,
        ..Sampling::default()
    };
    let logits = [0.0, f32::ln(3.0)];
    assert_eq!(draw(&sampling, &logits, 50), draw(&sampling, &logits, 50));
    let draws = draw(&sampling, &logits, 10_000);
    let ones = draws.iter().filter(|&&id| id == 1).count();
    assert!((7_300..7_700).contains(&ones), "{ones}");
    let other = Sampling {
        seed: 8,
        ..Sampling::default()
    };
    assert_ne!(draw(&sampling, &logits, 50), draw(&other, &logits, 50));
}

#[test]
fn a_clone_draws_what_the_original_draws() {
    let mut original = sampler(Sampling::default());
    let logits = [0.5; 64];
    original.sample(&logits, History::default()).unwrap();
    let mut clone = original.clone();
    for _ in 0..20 {
        assert_eq!(
            original.sample(&logits, History::default()).unwrap(),
            clone.sample(&logits, History::default()).unwrap()
        );
    }
}

#[test]
fn ties_at_top_p_go_to_the_lowest_ids() {
    let sampling = Sampling {
        top_p: 0.5,
        ..Sampling::default()
    };
    let drawn: BTreeSet<u32> = draw(&sampling, &[1.0; 1000], 5_000).into_iter().collect();
    assert_eq!(drawn.last(), Some(&499));
}

#[test]
fn settings_out_of_range_are_refused() {
    type Set = fn(&mut Sampling, f64);
    let cases: [(&str, Set, &[f64]); 7] = [
        ("temperature", |s, x| s.temperature = x, &[-1.0, 100.1]),
        ("top_p", |s, x| s.top_p = x, &[0.0, 1.5]),
        ("min_p", |s, x| s.min_p = x, &[-0.1, 1.1]),
        (
            "repetition_penalty",
            |s, x| s.repetition_penalty = x,
            &[0.0, -1.0, 101.0],
        ),
        (
            "presence_penalty",
            |s, x| s.presence_penalty = x,
            &[-2.1, 2.1],
        ),
        (
            "frequency_penalty",
            |s, x| s.frequency_penalty = x,
            &[-2.1, 2.1],
        ),
        (
            "logit_bias",
            |s, x| _ = s.logit_bias.insert(4, x as f32),
            &[-101.0, 101.0],
        ),
    ];
    for (expected, set, values) in cases {
        for &value in values.iter().chain(&[f64::NAN, f64::INFINITY]) {
            let mut sampling = Sampling::GREEDY;
            set(&mut sampling, value);
            let found = Sampler::new(sampling).unwrap_err();
            assert!(
                matches!(found, Error::Sampling { name, .. } if name == expected),
                "{expected} {value}: {found}"
            );
        }
    }
}

#[test]
fn logits_and_tokens_that_cannot_be_used_are_refused() {
    let none = History::default();
    let mut plain = sampler(Sampling::default());
    for (logits, index) in [
        (vec![0.0, f32::NAN], 1),
        (vec![f32::INFINITY, 0.0], 0),
        (vec![f32::NEG_INFINITY; 3], 0),
        (vec![], 0),
    ] {
        let found = plain.sample(&logits, none).unwrap_err();
        assert!(
            matches!(found, Error::NextLogit { index: at } if at == index),
            "{found}"
        );
    }
    assert_eq!(plain.sample(&[f32::NEG_INFINITY, 0.0], none).unwrap(), 1);

    let biased = Sampling {
        logit_bias: BTreeMap::from([(5, 1.0)]),
        ..Sampling::default()
    };
    let outside = |error| {
        matches!(
            error,
            Error::TokenId {
                token: 5,
                n_vocab: 2
            }
        )
    };
    assert!(outside(
        sampler(biased).sample(&[0.0; 2], none).unwrap_err()
    ));
    let history = History {
        prompt: &[5],
        reply: &[],
    };
    assert!(outside(plain.sample(&[0.0; 2], history).unwrap_err()));
}

#[test]
fn settings_in_json_are_neutral_where_nothing_is_said() {
    let sampling: Sampling =
        serde_json::from_str(r#"{"temperature": 0, "logit_bias": {"17": -2.5}}"#).unwrap();
    let expected = Sampling {
        logit_bias: BTreeMap::from([(17, -2.5)]),
        ..Sampling::GREEDY
    };
    assert_eq!(sampling, expected);
    let text = serde_json::to_string(&sampling).unwrap();
    assert_eq!(serde_json::from_str::<Sampling>(&text).unwrap(), expected);
}

/// Any settings in range, over a vocabulary of 50.
fn settings() -> impl Strategy<Value = Sampling> {
    (
        (0.01..5.0, 0u32..60, 0.01..=1.0, 0.0..=1.0),
        (0.5..2.0, -2.0..=2.0, -2.0..=2.0),
        prop::collection::btree_map(0u32..50, -10.0f32..10.0, 0..4),
        any::<u64>(),
    )
        .prop_map(
            |((temperature, top_k, top_p, min_p), penalties, logit_bias, seed)| Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty: penalties.0,
                presence_penalty: penalties.1,
                frequency_penalty: penalties.2,
                logit_bias,
                seed,
            },
        )
}

proptest! {
    /// The steps as they are defined, on sorted lists, against what the sampler does in place.
    #[test]
    fn candidates_follow_the_definitions(
        sampling in settings(),
        logits in prop::collection::vec(-8.0f32..8.0, 50),
        prompt in prop::collection::vec(0u32..50, 0..20),
        reply in prop::collection::vec(0u32..50, 0..20),
    ) {
        let history = History { prompt: &prompt, reply: &reply };
        let mut scores = logits.clone();
        for (&token, bias) in &sampling.logit_bias {
            scores[token as usize] += bias;
        }
        for (score, id) in scores.iter_mut().zip(0u32..) {
            if prompt.contains(&id) || reply.contains(&id) {
                let penalty = sampling.repetition_penalty as f32;
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
            let count = reply.iter().filter(|&&token| token == id).count();
            if count > 0 {
                *score -= count as f32 * sampling.frequency_penalty as f32
                    + sampling.presence_penalty as f32;
            }
        }
        let mut order: Vec<usize> = (0..50).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        if sampling.top_k > 0 && (sampling.top_k as usize) < 50 {
            let smallest = scores[order[sampling.top_k as usize - 1]];
            order.retain(|&id| scores[id] >= smallest);
        }
        let weight = |id: usize| {
            (f64::from(scores[id] - scores[order[0]]) / sampling.temperature).exp()
        };
        let total: f64 = order.iter().map(|&id| weight(id)).sum();
        let mut before = 0.0;
        let mut expected = BTreeSet::new();
        let mut unclear = BTreeSet::new();
        for &id in &order {
            // Rounding decides where a sum or a ratio meets its bound.
            let near = |a: f64, b: f64| (a - b).abs() < 1e-5;
            if near(before / total, sampling.top_p) || near(weight(id), sampling.min_p) {
                unclear.insert(id as u32);
            }
            if before / total < sampling.top_p && weight(id) >= sampling.min_p {
                expected.insert(id as u32);
            }
            before += weight(id);
        }

        let mut sampler = sampler(sampling.clone());
        let best = sampler.score(&logits, history).unwrap();
        prop_assert_eq!(best as usize, order[0]);
        sampler.keep_likely(best);
        let found: BTreeSet<u32> = sampler.candidates.iter().map(|entry| entry.0).collect();
        if unclear.is_empty() {
            prop_assert_eq!(&found, &expected);
        }
        prop_assert!(found.contains(&best));

        let token = sampler.sample(&logits, history).unwrap();
        prop_assert!(found.contains(&token));
        let mut again = super::Sampler::new(sampling).unwrap();
        prop_assert_eq!(again.sample(&logits, history).unwrap(), token);
        prop_assert!(sampler.counts.are_zero());
    }

    #[test]
    fn buffers_are_reused(sampling in settings(), logits in prop::collection::vec(-8.0f32..8.0, 50)) {
        let mut sampler = sampler(sampling);
        let history = History { prompt: &[1, 2], reply: &[3] };
        sampler.sample(&logits, history).unwrap();
        let capacities = |sampler: &Sampler| {
            (sampler.scores.capacity(), sampler.candidates.capacity(), sampler.weights.capacity())
        };
        let before = capacities(&sampler);
        for _ in 0..5 {
            sampler.sample(&logits, history).unwrap();
        }
        prop_assert_eq!(before, capacities(&sampler));
    }
}
