//! Round trips, and one test per malformed bundle.

use std::collections::BTreeMap;
use std::fs;

use candor_schema::{
    DatasetSummary, DetectorKind, FormatVersion, GroupRow, HookPoint, Interval, ModelFingerprint,
    ModelSummary, Openings, ProbeSummary, Split, SplitCounts,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::*;
use crate::combiner::CombinerKind;
use crate::evaluate::{Detector, FPR_BUDGETS, Scored, auroc_difference, detector_row};
use crate::reading::Logit;

type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

fn fingerprint() -> ModelFingerprint {
    ModelFingerprint {
        format_version: FormatVersion::CURRENT,
        base: "Toy-1M-Instruct".into(),
        architecture: "llama".into(),
        config_sha256: "c".into(),
        weights_sha256: "w".into(),
        quantisation: "Q4_1".into(),
        tokenizer_sha256: "t".into(),
        template_sha256: "p".into(),
        adapters: Vec::new(),
        compute: "f32".into(),
    }
}

fn config() -> BundleConfig {
    let controls: Vec<f64> = (0..100).map(f64::from).collect();
    BundleConfig {
        format_version: FormatVersion::CURRENT,
        name: "toy-v1".into(),
        version: "1.0.0".into(),
        candor_version: "0.1.0".into(),
        targets: vec![Target::Deception],
        kind: "logistic".into(),
        hook_points: vec![HookPoint::resid_post(3), HookPoint::resid_post(1)],
        pooling: "mean".into(),
        combiner: CombinerKind::WeightedSum,
        calibration: Some(Platt { a: 1.5, b: -0.1 }),
        threshold: Some(
            crate::threshold::threshold(&controls, 0.05, 0.05)
                .unwrap()
                .named("everyday-v1"),
        ),
        control_quantiles: Some(ControlQuantiles::from_scores(&controls).unwrap()),
        model: "toy-1m".into(),
        fingerprint: fingerprint(),
        data: BTreeMap::from([("toy-data".into(), "ab12".into())]),
        seed: 7,
        command: "candor train --data datasets/toy --out probes".into(),
        metrics: BTreeMap::from([("auroc_validation".into(), 0.875)]),
        model_sha256: None,
        extra: serde_json::Map::new(),
    }
}

fn readings() -> Vec<Reading> {
    [(3, 4), (1, 2)]
        .map(|(layer, width)| {
            let column = |offset: f32| (0..width).map(|i| i as f32 + offset).collect();
            let point = HookPoint::resid_post(layer);
            Reading::new(point, column(0.5), column(1.0), column(-1.5), vec![0.25]).unwrap()
        })
        .to_vec()
}

fn combiner() -> Combiner {
    Combiner::WeightedSum {
        weight: vec![0.75, 0.25],
        bias: 0.125,
    }
}

fn bundle() -> Bundle {
    Bundle::new(config(), readings(), combiner()).unwrap()
}

fn evaluation() -> Evaluation {
    let scored = |noise: f64| -> Vec<Scored> {
        (0..40)
            .map(|i| Scored {
                scenario: format!("s{}", i / 2),
                deceptive: i % 2 == 0,
                logit: f64::from(i % 2) * -4.0 + noise * f64::from(i * 7 % 11),
            })
            .collect()
    };
    let controls: Vec<f64> = (0..100).map(|i| f64::from(i) / 50.0 - 4.0).collect();
    let row = |name: &str, kind, scored: &[Scored]| {
        let detector = Detector {
            name,
            kind,
            description: "Made for a test.",
            scored,
            calibration_controls: &controls,
            test_controls: &controls,
        };
        detector_row(&detector, &FPR_BUDGETS, 1).unwrap()
    };
    let probe = row("probe", DetectorKind::Probe, &scored(0.1));
    let mut text = row("tf-idf", DetectorKind::Text, &scored(3.0));
    text.probe_minus_this = Some(auroc_difference(&scored(0.1), &scored(3.0), 1).unwrap());
    let mut surface = row("length", DetectorKind::Surface, &scored(0.1));
    surface.probe_minus_this = Some(auroc_difference(&scored(0.1), &scored(0.1), 1).unwrap());
    let counts = SplitCounts {
        test: 40,
        ..SplitCounts::default()
    };
    let dataset = |name: &str| DatasetSummary {
        name: name.into(),
        sha256: "ab12".into(),
        n_dialogues: counts,
        n_scenarios: SplitCounts { test: 20, ..counts },
    };
    Evaluation {
        format_version: FormatVersion::CURRENT,
        candor_version: "0.1.0".into(),
        command: "candor evaluate".into(),
        seed: 1,
        model: ModelSummary {
            name: "toy-1m".into(),
            fingerprint: fingerprint(),
        },
        probe: ProbeSummary {
            name: "toy-v1".into(),
            version: "1.0.0".into(),
            hook_points: config().hook_points,
            kind: "logistic".into(),
            pooling: "mean".into(),
        },
        dataset: dataset("toy-data"),
        controls: dataset("everyday-v1"),
        split: Split::Test,
        openings: Openings::default(),
        detectors: vec![probe, text, surface],
        layers: vec![],
        groups: vec![GroupRow {
            by: "family".into(),
            group: "sandbagging|x".into(),
            n_scenarios: 9,
            auroc: Interval {
                value: 0.55,
                low: 0.4,
                high: 0.7,
                level: 0.95,
            },
        }],
        calibration: None,
        refits: None,
        lights: vec![],
        divergence: None,
        hard_negatives: vec![],
        scores: vec![],
        traces: vec![],
        caveats: vec!["Replies were written by hand.".into()],
    }
}

/// Reads a bundle after its parts went through `change`; the recorded hash follows the tensors.
fn read_changed(
    change_config: impl FnOnce(&mut Value),
    change_tensors: impl FnOnce(&mut Vec<Tensor>),
    change_bytes: impl FnOnce(&mut Vec<u8>),
) -> Result<Bundle> {
    let root = tempfile::tempdir().unwrap();
    let dir = bundle().write(root.path()).unwrap();
    let original = fs::read(dir.join(TENSORS)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&original).unwrap();
    let mut tensors: Vec<Tensor> = file
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name.into(), view.dtype(), shape, view.data().to_vec())
        })
        .collect();
    change_tensors(&mut tensors);
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    let mut bytes = safetensors::serialize(views, None).unwrap();
    change_bytes(&mut bytes);
    fs::write(dir.join(TENSORS), &bytes).unwrap();

    let mut config: Value = serde_json::from_slice(&fs::read(dir.join(CONFIG)).unwrap()).unwrap();
    config["model_sha256"] = json!(hex_sha256(&bytes));
    change_config(&mut config);
    fs::write(dir.join(CONFIG), config.to_string()).unwrap();
    Bundle::read(&dir)
}

fn with_config(change: impl FnOnce(&mut Value)) -> Result<Bundle> {
    read_changed(change, |_| {}, |_| {})
}

fn with_tensors(change: impl FnOnce(&mut Vec<Tensor>)) -> Result<Bundle> {
    read_changed(|_| {}, change, |_| {})
}

fn with_bytes(change: impl FnOnce(&mut Vec<u8>)) -> Result<Bundle> {
    read_changed(|_| {}, |_| {}, change)
}

fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
}

const WEIGHT: &str = "blocks.3.hook_resid_post.weight";
const MEAN: &str = "blocks.3.hook_resid_post.mean";

#[test]
fn what_is_written_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let written = bundle().with_evaluation(Some(evaluation()));
    let dir = written.write(root.path()).unwrap();
    assert_eq!(dir, root.path().join("toy-v1"));
    let read = Bundle::read(&dir).unwrap();
    assert_eq!(read.config(), written.config());
    assert_eq!(read.probe().readings(), written.probe().readings());
    assert_eq!(read.probe().combiner(), written.probe().combiner());
    assert_eq!(read.evaluation(), written.evaluation());
    assert_eq!(read.sha256(), written.sha256());
    let bytes = fs::read(dir.join(TENSORS)).unwrap();
    assert_eq!(read.sha256(), hex_sha256(&bytes));
    assert!((read.percentile(49.5).unwrap() - 0.5).abs() < 1e-9);
    let vectors: [&[f32]; 2] = [&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0]];
    let logit = read.probe().score(&vectors).unwrap().logit;
    assert_eq!(logit, written.probe().score(&vectors).unwrap().logit);
    assert_eq!(read.probe().flags(Logit(99.0)), Some(true));
}

#[test]
fn equal_bundles_give_equal_bytes_and_no_other_files() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |root: &Path| {
        let written = bundle().with_evaluation(Some(evaluation()));
        let dir = written.write(root).unwrap();
        // A second time over itself changes nothing, and neither does reading in between.
        Bundle::read(&dir).unwrap().write(root).unwrap();
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(path).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let (first, second) = (write(a.path()), write(b.path()));
    assert_eq!(first, second);
    let names: Vec<&str> = first.iter().map(|file| file.0.as_str()).collect();
    assert_eq!(names, [CARD, CONFIG, EVALUATION, TENSORS]);
}

#[test]
fn tensors_have_the_names_and_shapes_of_the_design() {
    let bytes = tensors::encode(&readings(), &combiner()).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec()))
        .collect();
    shapes.sort();
    let expected = [
        ("blocks.1.hook_resid_post.bias", vec![1]),
        ("blocks.1.hook_resid_post.mean", vec![2]),
        ("blocks.1.hook_resid_post.scale", vec![2]),
        ("blocks.1.hook_resid_post.weight", vec![1, 2]),
        ("blocks.3.hook_resid_post.bias", vec![1]),
        ("blocks.3.hook_resid_post.mean", vec![4]),
        ("blocks.3.hook_resid_post.scale", vec![4]),
        ("blocks.3.hook_resid_post.weight", vec![1, 4]),
        ("combiner.bias", vec![1]),
        ("combiner.weight", vec![2]),
    ];
    assert_eq!(
        shapes,
        expected.map(|(name, shape)| (name.to_owned(), shape))
    );
}

#[test]
fn a_new_probe_leaves_no_old_evaluation_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = bundle()
        .with_evaluation(Some(evaluation()))
        .write(root.path())
        .unwrap();
    bundle().write(root.path()).unwrap();
    assert_eq!(Bundle::read(&dir).unwrap().evaluation(), None);
}

#[test]
fn recalibration_keeps_the_tensors() {
    let before = bundle();
    let sha256 = before.sha256().to_owned();
    let threshold = crate::threshold::threshold(&[2.0; 299], 0.01, 0.05).unwrap();
    let unnamed = before
        .clone()
        .recalibrated(None, Some(threshold.clone()), None);
    assert!(matches!(
        unnamed,
        Err(Error::Config {
            field: "threshold.calibrated_on",
            ..
        })
    ));
    let after = before
        .recalibrated(None, Some(threshold.named("site")), None)
        .unwrap();
    assert_eq!(after.sha256(), sha256);
    assert_eq!(after.probe().flags(Logit(2.0)), Some(false));
    assert_eq!(after.probe().probability(Logit(2.0)), None);
    assert_eq!(after.percentile(2.0), None);
}

#[test]
fn unknown_fields_and_newer_minors_are_kept() {
    let changed = with_config(|config| {
        config["format_version"] = json!("1.9");
        config["colour"] = json!({"hue": 3});
    })
    .unwrap();
    assert_eq!(changed.config().extra["colour"], json!({"hue": 3}));
    let root = tempfile::tempdir().unwrap();
    let dir = changed.write(root.path()).unwrap();
    let again = Bundle::read(&dir).unwrap();
    assert_eq!(again.config(), changed.config());
}

#[test]
fn newer_major_is_refused_whatever_else_it_holds() {
    let error = with_config(|config| *config = json!({"format_version": "2.0"})).unwrap_err();
    assert!(matches!(
        &error,
        Error::Format {
            source: candor_schema::Error::NewerFormat {
                what: "probe bundle",
                ..
            },
            ..
        }
    ));
    assert!(error.hint().contains("update candor"));
}

#[test]
fn missing_or_malformed_version_is_refused() {
    let missing = with_config(|config| {
        config.as_object_mut().unwrap().remove("format_version");
    });
    assert!(matches!(missing, Err(Error::Json { .. })));
    let malformed = with_config(|config| config["format_version"] = json!("one"));
    assert!(matches!(malformed, Err(Error::Format { .. })));
}

#[test]
fn missing_tensor() {
    let result = with_tensors(|tensors| tensors.retain(|tensor| tensor.0 != MEAN));
    assert!(matches!(result, Err(Error::MissingTensor { name }) if name == MEAN));
}

#[test]
fn tensor_of_an_undeclared_hook_point() {
    let result = with_tensors(|tensors| {
        let mut extra = find(tensors, MEAN).clone();
        extra.0 = "blocks.9.hook_resid_post.mean".into();
        tensors.push(extra);
    });
    assert!(matches!(result, Err(Error::UnexpectedTensor { .. })));
    // The other way round: a hook point without tensors.
    let result = with_config(|config| {
        config["hook_points"][1] = json!("blocks.8.hook_resid_post");
    });
    assert!(matches!(result, Err(Error::MissingTensor { .. })));
}

#[test]
fn nan_and_infinity_in_any_tensor() {
    for name in [WEIGHT, MEAN, "combiner.weight", "combiner.bias"] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let result = with_tensors(|tensors| {
                find(tensors, name).3[..4].copy_from_slice(&bad.to_le_bytes());
            });
            assert!(
                matches!(&result, Err(Error::NonFinite { what, index: 0 }) if what.contains(name)),
                "{name}"
            );
        }
    }
}

#[test]
fn wrong_width() {
    let result = with_tensors(|tensors| {
        let mean = find(tensors, MEAN);
        mean.2 = vec![3];
        mean.3.truncate(12);
    });
    assert!(matches!(result, Err(Error::TensorShape { name, found, .. })
        if name == MEAN && found == [3]));
}

#[test]
fn wrong_rank_or_empty_weight() {
    for shape in [vec![4], vec![2, 2], vec![4, 1], vec![1, 1, 4]] {
        let result = with_tensors(|tensors| find(tensors, WEIGHT).2.clone_from(&shape));
        assert!(
            matches!(result, Err(Error::TensorShape { name, .. }) if name == WEIGHT),
            "{shape:?}"
        );
    }
    let result = with_tensors(|tensors| {
        let weight = find(tensors, WEIGHT);
        weight.2 = vec![1, 0];
        weight.3.clear();
    });
    assert!(matches!(result, Err(Error::TensorShape { .. })));
}

#[test]
fn wrong_type() {
    let result = with_tensors(|tensors| {
        let weight = find(tensors, WEIGHT);
        weight.1 = Dtype::I32;
    });
    assert!(matches!(result, Err(Error::TensorType { found, .. }) if found == "I32"));
}

#[test]
fn scale_that_is_not_positive() {
    let result = with_tensors(|tensors| {
        find(tensors, "blocks.3.hook_resid_post.scale").3[..4].fill(0);
    });
    assert!(matches!(result, Err(Error::Scale { index: 0, .. })));
}

#[test]
fn truncated_or_padded_tensors() {
    for cut in [1, 40] {
        let result = with_bytes(|bytes| bytes.truncate(bytes.len() - cut));
        assert!(matches!(result, Err(Error::TensorDataLength { .. })));
    }
    let result = with_bytes(|bytes| bytes.extend([0; 4]));
    assert!(matches!(result, Err(Error::TensorDataLength { .. })));
    for length in 0..8 {
        let result = with_bytes(|bytes| bytes.truncate(length));
        assert!(matches!(result, Err(Error::TensorDataLength { .. })));
    }
}

#[test]
fn hostile_header_length() {
    for declared in [u64::MAX, u64::MAX - 7, 1 << 40] {
        let result = with_bytes(|bytes| bytes[..8].copy_from_slice(&declared.to_le_bytes()));
        assert!(
            matches!(result, Err(Error::TensorHeaderLength { declared: d, .. }) if d == declared)
        );
    }
    let result = with_bytes(|bytes| bytes[8..12].copy_from_slice(b"\xff\xfe{{"));
    assert!(matches!(result, Err(Error::TensorHeader { .. })));
}

#[test]
fn hostile_shape_and_offsets() {
    for header in [
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        "[]",
    ] {
        let result = with_bytes(|bytes| {
            bytes.clear();
            bytes.extend((header.len() as u64).to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend([0; 4]);
        });
        assert!(
            matches!(
                result,
                Err(Error::TensorHeader { .. } | Error::TensorDataLength { .. })
            ),
            "{header}"
        );
    }
}

#[test]
fn tensors_of_another_bundle() {
    let result = with_config(|config| config["model_sha256"] = json!("00"));
    assert!(matches!(result, Err(Error::TensorHash { expected, .. }) if expected == "00"));
}

#[test]
fn names_that_lead_elsewhere() {
    for name in ["..", "../toy", "/tmp/toy", "a/b", ""] {
        let result = with_config(|config| config["name"] = json!(name));
        assert!(matches!(result, Err(Error::BundleName { .. })), "{name}");
        let named = BundleConfig {
            name: name.into(),
            ..config()
        };
        let result = Bundle::new(named, readings(), combiner());
        assert!(matches!(result, Err(Error::BundleName { .. })), "{name}");
    }
}

#[test]
fn configurations_that_make_no_sense() {
    let check = |change: &dyn Fn(&mut Value), field: &str| match with_config(change) {
        Err(Error::Config { field: found, .. }) => assert_eq!(found, field),
        other => panic!("{field}: {other:?}"),
    };
    check(&|c| c["hook_points"] = json!([]), "hook_points");
    check(&|c| c["targets"] = json!([]), "targets");
    check(&|c| c["version"] = json!(" "), "version");
    check(&|c| c["threshold"]["n"] = json!(58), "threshold");
    check(&|c| c["threshold"]["n"] = json!(u64::MAX), "threshold.n");
    check(
        &|c| c["threshold"]["allowed_exceedances"] = json!(50),
        "threshold",
    );
    check(
        &|c| c["threshold"]["calibrated_on"] = json!(""),
        "threshold.calibrated_on",
    );
    check(
        &|c| c["control_quantiles"] = json!([1.0, 2.0]),
        "control_quantiles",
    );
}

#[test]
fn parts_that_probes_refuse() {
    let pooling = with_config(|c| c["pooling"] = json!("median"));
    assert!(matches!(pooling, Err(Error::UnknownName { .. })));
    let slope = with_config(|c| c["calibration"]["a"] = json!(-1.0));
    assert!(matches!(slope, Err(Error::InvertedCalibration { .. })));
    let budget = with_config(|c| c["threshold"]["fpr_budget"] = json!(0.0));
    assert!(matches!(budget, Err(Error::Setting { .. })));
    let combiner = with_config(|c| c["combiner"] = json!("vote"));
    assert!(matches!(combiner, Err(Error::Json { .. })));
    let point = with_config(|c| c["hook_points"][0] = json!("layer_12_out"));
    assert!(matches!(point, Err(Error::Json { .. })));
    let twice = with_config(|c| c["hook_points"][1] = c["hook_points"][0].clone());
    assert!(twice.is_err());
}

#[test]
fn configuration_and_readings_must_agree() {
    let mut swapped = readings();
    swapped.reverse();
    assert!(matches!(
        Bundle::new(config(), swapped, combiner()),
        Err(Error::Config {
            field: "hook_points",
            ..
        })
    ));
    assert!(matches!(
        Bundle::new(config(), readings(), Combiner::Single),
        Err(Error::Config {
            field: "combiner",
            ..
        })
    ));
}

#[test]
fn absolute_paths_are_not_published() {
    for command in [
        "candor train --data /home/me/x",
        "candor train --data=/home/me/x",
        "candor train --data ~/x",
        "candor train --data \"C:\\x\"",
    ] {
        let config = BundleConfig {
            command: command.into(),
            ..config()
        };
        assert!(matches!(
            Bundle::new(config, readings(), combiner()),
            Err(Error::Config {
                field: "command",
                ..
            })
        ));
    }
}

#[test]
fn damaged_files() {
    let root = tempfile::tempdir().unwrap();
    let dir = bundle().write(root.path()).unwrap();
    fs::write(dir.join(EVALUATION), "{\"format_version\": \"1.0\"}").unwrap();
    assert!(matches!(Bundle::read(&dir), Err(Error::Json { .. })));
    fs::remove_file(dir.join(EVALUATION)).unwrap();
    let config = fs::read_to_string(dir.join(CONFIG)).unwrap();
    fs::write(dir.join(CONFIG), &config[..config.len() / 2]).unwrap();
    assert!(matches!(Bundle::read(&dir), Err(Error::Json { .. })));
    fs::write(
        dir.join(CONFIG),
        vec![b' '; (MAX_CONFIG_BYTES + 1) as usize],
    )
    .unwrap();
    assert!(matches!(
        Bundle::read(&dir),
        Err(Error::FileTooLarge { .. })
    ));
    fs::remove_file(dir.join(CONFIG)).unwrap();
    assert!(matches!(Bundle::read(&dir), Err(Error::Io { .. })));
}

#[test]
fn the_card_says_what_a_reader_must_know() {
    let card = bundle().with_evaluation(Some(evaluation())).card();
    for part in [
        "must not be used as a training reward",
        "`blocks.3.hook_resid_post`, `blocks.1.hook_resid_post`",
        "toy-1m",
        "`toy-data` (40 dialogues in 20 scenarios)",
        "| probe | activations | 1.000 [1.000, 1.000] |",
        "| tf-idf | words |",
        "`everyday-v1`",
        "needs n ≥ 299, has 100",
        "## Known failures",
        "Cannot be told from length by AUROC",
        "family sandbagging\\|x, AUROC 0.550 [0.400, 0.700] on 9 scenarios",
        "Replies were written by hand.",
        "candor train --data datasets/toy --out probes",
        "ab12",
    ] {
        assert!(card.contains(part), "`{part}` is not in\n{card}");
    }
    let card = bundle().card();
    assert!(card.contains("Not evaluated. Do not rely on it."));
    let config = BundleConfig {
        threshold: None,
        ..config()
    };
    let card = Bundle::new(config, readings(), combiner()).unwrap().card();
    assert!(card.contains("None is certified"));
}
