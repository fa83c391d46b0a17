//! The step: batches, caches, interleaving, snapshots, early exit and edits.

use candor_model::{
    Ablate, Device, Edit, Error, History, Hooks, LogitRows, Model, Patch, Recorder, Sampler,
    Sampling, Sequence, Steer, StepItem,
};
use candor_schema::{HookPoint, Site};

use crate::{assert_same, models, relative_l2, rows, run};

const TEXTS: [&str; 4] = [
    "The ward has 14 patients, and nobody asked for help.",
    "Yes.",
    "据报告，共有 3 份副本。",
    "fn main() { println!(\"{}\", 6 * 7); } // prints the answer to a question that was never asked in full",
];

fn tokens(model: &Model) -> Vec<Vec<u32>> {
    TEXTS
        .iter()
        .map(|text| model.encode_text("", text).unwrap().ids)
        .collect()
}

fn step(model: &Model, sequence: &mut Sequence, tokens: &[u32]) -> Vec<f32> {
    let item = StepItem {
        sequence,
        tokens,
        logits: LogitRows::Last,
    };
    model
        .step(&mut [item], model.config().n_layers, &mut Hooks::none())
        .unwrap()
        .remove(0)
        .remove(0)
}

#[test]
fn a_prompt_in_a_mixed_batch_is_the_prompt_alone() {
    for model in models() {
        let tokens = tokens(model);
        let prompts: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let (batch, logits) = run(model, &prompts, LogitRows::Last);
        for (item, prompt) in prompts.iter().enumerate() {
            let (alone, alone_logits) = run(model, &[prompt], LogitRows::Last);
            for layer in 0..model.config().n_layers {
                let point = HookPoint::resid_post(layer);
                assert_same(model, rows(&batch, point, item), rows(&alone, point, 0));
            }
            assert_same(model, &logits[item][0], &alone_logits[0][0]);
        }
    }
}

#[test]
fn two_interleaved_sequences_equal_each_alone() {
    for model in models() {
        let tokens = tokens(model);
        let (a, b) = (&tokens[0], &tokens[3]);
        let n_layers = model.config().n_layers;
        let (mut first, mut second) = (Sequence::new(), Sequence::new());
        // The first enters alone, both go on together in steps of other sizes, the second ends alone.
        step(model, &mut first, &a[..3]);
        let mut last = Vec::new();
        for i in 0..a.len() - 3 {
            let mut items = [
                StepItem {
                    sequence: &mut first,
                    tokens: &a[3 + i..4 + i],
                    logits: LogitRows::Last,
                },
                StepItem {
                    sequence: &mut second,
                    tokens: &b[2 * i..2 * i + 2],
                    logits: LogitRows::None,
                },
            ];
            last = model
                .step(&mut items, n_layers, &mut Hooks::none())
                .unwrap()
                .remove(0)
                .remove(0);
        }
        let done = second.tokens().len();
        let second_last = step(model, &mut second, &b[done..]);

        assert_same(model, &last, &step(model, &mut Sequence::new(), a));
        assert_same(model, &second_last, &step(model, &mut Sequence::new(), b));
    }
}

#[test]
fn long_steps_are_cut_without_a_difference() {
    for model in models() {
        // Longer than one pass, but where that would take minutes.
        let own = model.device() == Device::Cpu;
        let text = TEXTS[0].repeat(if own { 50 } else { 8 });
        let tokens = model.encode_text("", &text).unwrap().ids;
        assert!(!own || tokens.len() > model.max_rows());
        let whole = step(model, &mut Sequence::new(), &tokens);
        for size in [100, 7] {
            let mut sequence = Sequence::new();
            let mut last = Vec::new();
            for chunk in tokens.chunks(size) {
                last = step(model, &mut sequence, chunk);
            }
            assert_same(model, &last, &whole);
        }
    }
}

#[test]
fn snapshots_branch_and_rewind() {
    for model in models() {
        let tokens = tokens(model);
        let mut sequence = Sequence::new();
        step(model, &mut sequence, &tokens[0]);
        let snapshot = model.snapshot(&sequence);
        let straight = step(model, &mut sequence, &tokens[1]);
        // Going on wrote into the sequence's caches, not into the snapshot's.
        step(model, &mut sequence, &tokens[2]);
        let mut branch = model.restore(&snapshot).unwrap();
        assert_eq!(branch.tokens(), tokens[0]);
        assert_eq!(step(model, &mut branch, &tokens[1]), straight);
        branch.truncate(tokens[0].len());
        assert_eq!(step(model, &mut branch, &tokens[1]), straight);
    }
}

#[test]
fn stopping_early_gives_the_same_vectors() {
    for model in models() {
        let tokens = tokens(model);
        let (full, _) = run(model, &[&tokens[0]], LogitRows::None);
        let point = HookPoint::resid_post(7);
        let mut recorder = Recorder::new(&[point], vec![0; 1]);
        let mut sequence = Sequence::new();
        let item = StepItem {
            sequence: &mut sequence,
            tokens: &tokens[0],
            logits: LogitRows::None,
        };
        model
            .step(&mut [item], 8, &mut Hooks::none().observe(&mut recorder))
            .unwrap();
        assert_eq!(rows(&recorder, point, 0), rows(&full, point, 0));

        // What was computed to layer 8 cannot go on to layer 30, and logits need every layer.
        let item = StepItem {
            sequence: &mut sequence,
            tokens: &tokens[1],
            logits: LogitRows::None,
        };
        let error = model.step(&mut [item], 30, &mut Hooks::none()).unwrap_err();
        assert!(
            matches!(
                error,
                Error::ShallowCache {
                    filled: 8,
                    wanted: 30
                }
            ),
            "{error}"
        );
        let item = StepItem {
            sequence: &mut Sequence::new(),
            tokens: &tokens[1],
            logits: LogitRows::Last,
        };
        assert!(model.step(&mut [item], 8, &mut Hooks::none()).is_err());
    }
}

/// Next-token logits of two items, of which the second is edited.
fn edited(model: &Model, tokens: &[u32], edit: &dyn Edit) -> (Vec<f32>, Vec<f32>) {
    let (mut plain, mut other) = (Sequence::new(), Sequence::new());
    let mut items = [
        StepItem {
            sequence: &mut plain,
            tokens,
            logits: LogitRows::Last,
        },
        StepItem {
            sequence: &mut other,
            tokens,
            logits: LogitRows::Last,
        },
    ];
    let mut logits = model
        .step(
            &mut items,
            model.config().n_layers,
            &mut Hooks::none().edit(1, edit),
        )
        .unwrap();
    let second = logits.remove(1).remove(0);
    (logits.remove(0).remove(0), second)
}

#[test]
fn edits_change_their_item_only() {
    for model in models() {
        let tokens = tokens(model);
        let point = HookPoint::resid_post(10);
        let d_model = model.config().d_model;
        let direction: Vec<f32> = (0..d_model)
            .map(|i| if i % 7 == 0 { 1.0 } else { -0.2 })
            .collect();

        let mut none = [Sequence::new(), Sequence::new()];
        let mut items: Vec<StepItem<'_>> = none
            .iter_mut()
            .map(|sequence| StepItem {
                sequence,
                tokens: &tokens[0],
                logits: LogitRows::Last,
            })
            .collect();
        let unedited = model
            .step(&mut items, 30, &mut Hooks::none())
            .unwrap()
            .remove(0)
            .remove(0);

        let still = Steer {
            point,
            direction: direction.clone(),
            alpha: 0.0,
        };
        assert_eq!(
            edited(model, &tokens[0], &still),
            (unedited.clone(), unedited.clone())
        );
        let steered = Steer {
            point,
            direction: direction.clone(),
            alpha: 4.0,
        };
        let (plain, changed) = edited(model, &tokens[0], &steered);
        assert_eq!(plain, unedited);
        assert!(relative_l2(&changed, &unedited) > 1e-3);
        let (plain, changed) = edited(model, &tokens[0], &Ablate::new(point, &direction));
        assert_eq!(plain, unedited);
        assert_ne!(changed, unedited);

        // Patching a run's own vectors changes nothing, to the bit, at any site.
        for site in [
            Site::ResidPre,
            Site::AttnZ,
            Site::AttnOut,
            Site::ResidMid,
            Site::MlpPost,
            Site::MlpOut,
            Site::ResidPost,
        ] {
            let point = HookPoint::new(10, site);
            let mut recorder = Recorder::new(&[point], vec![0; 2]);
            let mut sequences = [Sequence::new(), Sequence::new()];
            let mut items: Vec<StepItem<'_>> = sequences
                .iter_mut()
                .map(|sequence| StepItem {
                    sequence,
                    tokens: &tokens[0],
                    logits: LogitRows::None,
                })
                .collect();
            model
                .step(&mut items, 30, &mut Hooks::none().observe(&mut recorder))
                .unwrap();
            let width = model.hook_width(point).unwrap();
            let vectors = rows(&recorder, point, 1)
                .chunks_exact(width)
                .map(<[f32]>::to_vec)
                .enumerate()
                .collect();
            assert_eq!(
                edited(
                    model,
                    &tokens[0],
                    &Patch {
                        point,
                        width,
                        vectors
                    }
                )
                .1,
                unedited,
                "{point}"
            );
        }
    }
}

#[test]
fn the_stream_is_the_sum_of_its_parts() {
    for model in models() {
        let tokens = tokens(model);
        let sites = [
            Site::ResidPre,
            Site::AttnOut,
            Site::ResidMid,
            Site::MlpOut,
            Site::ResidPost,
        ];
        let points: Vec<HookPoint> = sites.iter().map(|&site| HookPoint::new(3, site)).collect();
        let mut recorder = Recorder::new(&points, vec![0]);
        let item = StepItem {
            sequence: &mut Sequence::new(),
            tokens: &tokens[0],
            logits: LogitRows::None,
        };
        model
            .step(&mut [item], 4, &mut Hooks::none().observe(&mut recorder))
            .unwrap();
        let at = |site| rows(&recorder, HookPoint::new(3, site), 0);
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        assert_eq!(
            sum(at(Site::ResidPre), at(Site::AttnOut)),
            at(Site::ResidMid)
        );
        assert_eq!(
            sum(at(Site::ResidMid), at(Site::MlpOut)),
            at(Site::ResidPost)
        );
    }
}

#[test]
fn what_the_model_lacks_is_refused_when_planned() {
    for model in models() {
        let error = model.hook_width(HookPoint::resid_post(30)).unwrap_err();
        assert!(error.to_string().contains("30 layers"), "{error}");
        assert!(error.hint().unwrap().contains("candor model info"));
        assert!(
            model
                .hook_width(HookPoint::new(0, Site::MlpRouterLogits))
                .is_err()
        );
    }
}

#[test]
fn a_failed_step_leaves_the_sequence_as_it_was() {
    for model in models() {
        let mut sequence = Sequence::new();
        step(model, &mut sequence, &[19556]);
        let mut try_step = |tokens: &[u32]| {
            let item = StepItem {
                sequence: &mut sequence,
                tokens,
                logits: LogitRows::None,
            };
            let error = model.step(&mut [item], 30, &mut Hooks::none()).unwrap_err();
            assert_eq!(sequence.tokens(), [19556]);
            error
        };
        assert!(matches!(try_step(&[]), Error::Empty { .. }));
        assert!(matches!(
            try_step(&[49_152]),
            Error::TokenId {
                token: 49_152,
                n_vocab: 49_152
            }
        ));
        assert!(matches!(
            try_step(&vec![1; 8_192]),
            Error::ContextLength {
                n_tokens: 8_193,
                n_ctx: 8_192
            }
        ));
    }
}

#[test]
fn greedy_decoding_is_repeatable_and_sensible() {
    for model in models() {
        let mut sampler = Sampler::new(Sampling::GREEDY).unwrap();
        let mut sequence = Sequence::new();
        let mut tokens = model
            .encode_text("", "The capital of France is")
            .unwrap()
            .ids;
        let mut text = Vec::new();
        for _ in 0..6 {
            let logits = step(model, &mut sequence, &tokens);
            tokens = vec![sampler.sample(&logits, History::default()).unwrap()];
            text.extend(&tokens);
        }
        assert!(model.tokenizer().decode(&text).unwrap().contains("Paris"));
    }
}
