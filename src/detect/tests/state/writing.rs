//! Writing: stop strings, whole characters, what is kept and scored, and the prefix cache.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candor_detect::{Detector, Error, FinishReason, Generated, ReadOptions, WriteOptions};
use candor_model::Sampling;
use candor_schema::{Message, Role};

use super::{TOLERANCE, bits, detector, difference, ids, real_model, tiny, tiny_model};

fn ask() -> Vec<Message> {
    vec![Message::new(Role::User, "Is the pump on?")]
}

/// Replies over a few letters, one of which is spread over two tokens.
fn letters(seed: u64) -> WriteOptions {
    let bytes = "abé".bytes();
    let logit_bias: BTreeMap<u32, f32> = bytes.map(|byte| (tiny::byte(byte), 40.0)).collect();
    WriteOptions {
        sampling: Sampling {
            temperature: 2.0,
            seed,
            logit_bias,
            ..Sampling::default()
        },
        max_tokens: 40,
        stop: Vec::new(),
    }
}

/// Writes, and checks that the pieces are the text.
fn write(detector: &Detector, options: &WriteOptions) -> Generated {
    let mut pieces = Vec::new();
    let mut n_tokens = 0;
    let generated = detector
        .write(&ask(), options, detector.probes(), &mut |progress| {
            pieces.push(progress.text.to_owned());
            for probe in progress.probes {
                assert_eq!(probe.tokens().len(), progress.n_tokens);
            }
            n_tokens = progress.n_tokens;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(pieces.concat(), generated.text);
    assert_eq!(n_tokens, generated.tokens.len());
    assert_eq!(generated.scored.texts.len(), generated.tokens.len());
    generated
}

#[test]
fn a_reply_is_cut_before_the_first_stop_string() {
    let detector = detector(&tiny_model());
    let mut n_stopped = 0;
    for seed in 0..12 {
        let whole = write(&detector, &letters(seed));
        assert_eq!(whole.finish, FinishReason::Length);
        assert_eq!(whole.tokens.len(), 40);
        assert_eq!(
            whole.text,
            detector.model().tokenizer().decode(&whole.tokens).unwrap()
        );
        for stop in [
            vec!["bb"],
            vec!["éa", "ab"],
            vec!["é"],
            vec!["abéb", "b"],
            vec!["xyz"],
        ] {
            let stop: Vec<String> = stop.into_iter().map(str::to_owned).collect();
            let options = WriteOptions {
                stop: stop.clone(),
                ..letters(seed)
            };
            let found = write(&detector, &options);
            let at = stop.iter().filter_map(|stop| whole.text.find(stop)).min();
            assert_eq!(found.text, whole.text[..at.unwrap_or(whole.text.len())]);
            match (at, found.finish) {
                (Some(at), FinishReason::StopString(index)) => {
                    assert!(whole.text[at..].starts_with(&stop[index]));
                    n_stopped += 1;
                }
                (None, FinishReason::Length) => {}
                other => panic!("{other:?}"),
            }
            // The tokens are those of the text, and their scores are those of the longer reply.
            let n = found.tokens.len();
            assert_eq!(found.tokens, whole.tokens[..n]);
            let text = detector.model().tokenizer().decode(&found.tokens).unwrap();
            assert_eq!(text, found.text);
            for (found, whole) in found.scored.probes.iter().zip(&whole.scored.probes) {
                assert_eq!(found.intent(), whole.intent());
                assert_eq!(found.tokens(), &whole.tokens()[..n]);
            }
        }
    }
    assert!(n_stopped > 20, "{n_stopped}");
}

#[test]
fn characters_over_tokens_are_never_shown_broken() {
    let detector = detector(&tiny_model());
    let mut options = letters(3);
    // Only the two halves of one letter, in any order: broken ones are shown as such, once.
    options.sampling.logit_bias.remove(&tiny::byte(b'a'));
    options.sampling.logit_bias.remove(&tiny::byte(b'b'));
    let generated = write(&detector, &options);
    assert_eq!(
        generated.text,
        detector
            .model()
            .tokenizer()
            .decode(&generated.tokens)
            .unwrap()
    );
    assert!(generated.text.contains('é'));
}

#[test]
fn a_written_reply_has_the_scores_of_a_read_one() {
    let detector = detector(&tiny_model());
    let generated = write(&detector, &letters(5));
    let prompt = detector.model().encode_dialogue(&ask(), &[]).unwrap().ids;
    let read = detector.read(
        &[ids(&prompt, &generated.tokens)],
        detector.probes(),
        ReadOptions::default(),
    );
    let read = read.into_iter().next().unwrap().unwrap();
    assert!(difference(&generated.scored.probes, &read.probes) <= TOLERANCE);
}

#[test]
fn what_was_written_is_reused() {
    let fresh = detector(&tiny_model());
    let cached = fresh.clone().with_prefix_cache(1 << 30);
    let expected = write(&fresh, &letters(1));
    let written = write(&cached, &letters(1));
    let again = write(&cached, &letters(1));
    assert_eq!(cached.prefix_cache().stats().hits, 1);
    for found in [&written, &again] {
        assert_eq!(found.tokens, expected.tokens);
        assert!(difference(&found.scored.probes, &expected.scored.probes) <= TOLERANCE);
    }

    // Reading what was written restores the scores that it had at first.
    let prompt = cached.model().encode_dialogue(&ask(), &[]).unwrap().ids;
    let input = [ids(&prompt, &written.tokens)];
    let read = cached.read(&input, cached.probes(), ReadOptions::default());
    let read = read.into_iter().next().unwrap().unwrap();
    let n = prompt.len() + written.tokens.len();
    assert_eq!(read.usage.computed_tokens, n % candor_detect::PREFIX_BLOCK);
    let n_same = written.tokens.len() - read.usage.computed_tokens;
    for (written, read) in written.scored.probes.iter().zip(&read.probes) {
        assert_eq!(written.tokens()[..n_same], read.tokens()[..n_same]);
        assert_eq!(bits(written).len(), bits(read).len());
    }
}

#[test]
fn the_caller_and_the_context_end_a_reply() {
    let detector = detector(&tiny_model());
    let options = WriteOptions {
        max_tokens: 10_000,
        ..letters(2)
    };
    let full = write(&detector, &options);
    assert_eq!(full.finish, FinishReason::Length);
    let prompt = detector.model().encode_dialogue(&ask(), &[]).unwrap().ids;
    assert_eq!(prompt.len() + full.tokens.len(), tiny::N_CTX);

    let mut shown = String::new();
    let cut = detector
        .write(&ask(), &options, detector.probes(), &mut |progress| {
            shown.push_str(progress.text);
            if progress.n_tokens == 7 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(cut.finish, FinishReason::Cancelled);
    assert_eq!(cut.tokens, full.tokens[..7]);
    assert_eq!(cut.text, shown);
}

#[test]
fn the_model_ends_its_turn() {
    let detector = detector(&tiny_model());
    let mut options = letters(2);
    let eos = detector.model().tokenizer().eos().unwrap();
    options.sampling.logit_bias.insert(eos, 42.0);
    let generated = write(&detector, &options);
    assert_eq!(generated.finish, FinishReason::EndOfTurn);
    assert!(generated.tokens.len() < 40);
    assert!(!generated.tokens.contains(&eos));
}

#[test]
fn bad_options_are_refused_before_anything_runs() {
    let detector = detector(&tiny_model());
    let stop = WriteOptions {
        stop: vec![String::new()],
        ..letters(0)
    };
    let found = detector.generate(&ask(), &stop, detector.probes());
    assert!(matches!(found, Err(Error::StopString { .. })));
    let mut hot = letters(0);
    hot.sampling.temperature = f64::NAN;
    assert!(detector.generate(&ask(), &hot, detector.probes()).is_err());
}

#[test]
fn the_real_model_stops() {
    let Some(model) = real_model() else { return };
    let detector = detector(&model);
    let options = WriteOptions {
        max_tokens: 24,
        ..WriteOptions::default()
    };
    let whole = write(&detector, &options);
    let middle: Vec<char> = whole.text.chars().collect();
    let stop: String = middle[middle.len() / 3..middle.len() / 2].iter().collect();
    let options = WriteOptions {
        stop: vec![stop.clone()],
        ..options
    };
    let found = write(&detector, &options);
    assert_eq!(found.finish, FinishReason::StopString(0));
    assert_eq!(found.text, whole.text[..whole.text.find(&stop).unwrap()]);
}
