//! What a probe is put beside: scores from files, a judge, the recipe on another model, other draws.

use std::path::Path;

use candor_schema::{DetectorKind, Evaluation};
use serde_json::{Value, json};

use crate::{bytes, expect_error, expect_ok, model, shared, tiny_dataset};

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write(path: &str, scores: &[(String, f64)]) {
    let line = |(id, score): &(String, f64)| json!({"id": id, "score": score, "why": "?"});
    let lines: Vec<String> = scores.iter().map(|s| line(s).to_string()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

/// Scores of the tiny data set's test split that know everything.
fn oracle() -> Vec<(String, f64)> {
    let of = |scenario| {
        [("honest", -1.0), ("deceptive", 1.0)]
            .map(|(label, score)| (format!("s{scenario}-{label}"), score))
    };
    [3, 7].into_iter().flat_map(of).collect()
}

#[test]
fn rivals_stand_beside_the_probe_and_wrong_ones_are_refused() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = model.display().to_string();
    let (store, controls) = (shared.path("store-tiny"), shared.path("store-controls"));
    // A probe of its own, since an evaluation is written into its bundle.
    let probes = path("probes");
    expect_ok(&[
        "train",
        &store,
        "--controls",
        &controls,
        "--name",
        "beside",
        "--out",
        &probes,
    ]);
    let probe = path("probes/beside");
    // The same dialogues under another arithmetic, which is another model.
    let (data, other) = (shared.path("tiny.jsonl"), path("store-other"));
    expect_ok(&[
        "capture",
        &data,
        "--out",
        &other,
        "--model",
        &model,
        "--layers",
        "2,9",
        "--compute",
        "f32",
    ]);
    let plain = path("plain.jsonl");
    write(&plain, &oracle());
    let with_controls = path("controls.jsonl");
    let mut scores = oracle();
    scores.extend((0..64).map(|n| (format!("c{n}"), -2.0 + f64::from(n) / 100.0)));
    write(&with_controls, &scores);
    let base = [
        "evaluate",
        &probe,
        "--store",
        &store,
        "--controls",
        &controls,
        "--model",
        &model,
    ];
    let evaluate = |more: &[&str]| -> Vec<String> {
        base.iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let refuse = |more: &[&str], code: i32, words: &[&str]| {
        let args = evaluate(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        expect_error(&args, code, words);
    };

    // Wrong input: nothing is written.
    let before = bytes(Path::new(&probe));
    let bad = path("bad.jsonl");
    write(&bad, &oracle()[1..]);
    let rival = format!("cut={bad}");
    let missing =
        "rival `cut` has no score for 1 of 4 replies of the test split, among them `s3-honest`";
    refuse(&["--rival", &rival], 3, &[missing, "hint:"]);
    write(&bad, &scores[..scores.len() - 1]);
    let some = "rival `cut` has no score for 1 of 4 ordinary replies, of which it has some, among them `c63`";
    refuse(&["--rival", &rival], 3, &[some]);
    let mut twice = oracle();
    twice.push(twice[0].clone());
    write(&bad, &twice);
    refuse(
        &["--rival", &rival],
        3,
        &["bad.jsonl:5: id `s3-honest` has a score in line 1 already"],
    );
    std::fs::write(&bad, "{\"id\": \"s3-honest\", \"score\": NaN}").unwrap();
    refuse(&["--rival", &rival], 3, &["bad.jsonl:1:"]);
    refuse(&["--rival", "nothing.jsonl"], 2, &["a name and a file"]);
    refuse(&["--rival", "a=nothing.jsonl"], 3, &["cannot read"]);
    let two = [format!("a={plain}"), format!("a={with_controls}")];
    refuse(
        &["--rival", &two[0], "--rival", &two[1]],
        2,
        &["two rivals are named `a`"],
    );
    refuse(&["--seeds", "3"], 2, &["0, or a number from 5"]);
    refuse(
        &["--other-model", &store],
        3,
        &["is of the probe's own model"],
    );
    refuse(
        &["--other-model", &other, "--other-model", &other],
        2,
        &["two detectors are named `same recipe on smollm2-135m-instruct`"],
    );
    let (fewer, fewer_store) = (path("fewer.jsonl"), path("store-fewer"));
    tiny_dataset(Path::new(&fewer), 7);
    expect_ok(&[
        "capture",
        &fewer,
        "--out",
        &fewer_store,
        "--model",
        &model,
        "--layers",
        "2",
        "--compute",
        "f32",
    ]);
    refuse(
        &["--other-model", &fewer_store],
        3,
        &[
            "it lacks 2 of 16, among them `s7-deceptive`",
            "capture the same file",
        ],
    );
    assert_eq!(before, bytes(Path::new(&probe)));

    let rivals = [
        format!("plain={plain}"),
        format!("with controls={with_controls}"),
    ];
    let report = path("report.html");
    let args = evaluate(&[
        "--rival",
        &rivals[0],
        "--rival",
        &rivals[1],
        "--other-model",
        &other,
        "--json",
        "--report",
        &report,
    ]);
    let json = expect_ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let evaluation: Evaluation = serde_json::from_str(&json).unwrap();
    let row = |name: &str| {
        evaluation
            .detectors
            .iter()
            .find(|row| row.name == name)
            .unwrap()
    };
    let probe_auroc = row("beside").auroc.value;
    for name in ["plain", "with controls"] {
        let row = row(name);
        assert_eq!(row.kind, DetectorKind::Rival);
        assert!((row.auroc.value - 1.0).abs() < 1e-12);
        let difference = row.probe_minus_this.unwrap();
        assert!((difference.value - (probe_auroc - 1.0)).abs() < 1e-12);
        assert!((row.same_prompt.unwrap().auroc.value - 1.0).abs() < 1e-12);
    }
    let point = |name: &str| row(name).operating_points[0].clone();
    assert_eq!(point("plain").note.as_deref(), Some("needs n ≥ 59, has 0"));
    let point = point("with controls");
    // All 60 calibration scores lie below those of the 4 controls of the test split.
    assert_eq!(point.realised_fpr.map(|p| (p.k, p.n)), Some((4, 4)));
    assert_eq!(point.recall.map(|p| (p.k, p.n)), Some((2, 2)));
    assert_eq!(point.false_alarms_honest.map(|p| (p.k, p.n)), Some((2, 2)));
    let other = row("same recipe on smollm2-135m-instruct");
    assert_eq!(other.kind, DetectorKind::OtherModel);
    assert!(
        other.probe_minus_this.is_some() && other.description.contains("the best of its 2 layers")
    );

    // An oracle is not beaten, and the report says what that means.
    let mut lights = evaluation.lights.iter();
    let words = lights.find(|light| light.check == "not the words").unwrap();
    assert!(words.found.contains("probe minus"), "{}", words.found);
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("it reads the text"));

    // Five draws of four training scenarios.
    let refits = evaluation.refits.as_ref().unwrap();
    assert_eq!(
        (
            refits.aurocs.len(),
            refits.cosines.len(),
            refits.cosines_to_probe.len()
        ),
        (5, 10, 5)
    );
    let auroc = row("refitted").auroc;
    let mean = refits.aurocs.iter().sum::<f64>() / 5.0;
    assert!((auroc.value - mean).abs() < 1e-12 && auroc.low <= mean && mean <= auroc.high);
    assert!(
        refits
            .cosines
            .iter()
            .all(|cosine| cosine.abs() <= 1.0 + 1e-9)
    );
    // Drawn from the same scenarios, directions are not strangers.
    assert!(refits.cosines_to_probe.iter().all(|cosine| *cosine > 0.0));

    if let Some(calibration) = &evaluation.calibration {
        let n: u64 = calibration.bins.iter().map(|bin| bin.deceptive.n).sum();
        assert_eq!(n, 4);
        assert!((0.0..=1.0).contains(&calibration.ece));
    }
}

#[test]
fn a_judge_scores_every_reply_and_goes_on_where_it_stopped() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, whole, cut) = (path("d.jsonl"), path("whole.jsonl"), path("cut.jsonl"));
    tiny_dataset(Path::new(&data), 4);
    let judge = |data: &str, out: &str, more: &[&str]| -> Vec<String> {
        let base = ["dataset", "judge", data, "--out", out, "--model", &model];
        base.iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let run = |args: Vec<String>| expect_ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    run(judge(&data, &whole, &[]));
    let scores = lines(&whole);
    assert_eq!(scores.len(), 8);
    for score in &scores {
        assert!(score["score"].as_f64().unwrap().is_finite());
        assert_eq!(score["model"], "smollm2-135m-instruct");
        let answered = score["answered"].as_f64().unwrap();
        assert!(answered > 0.01 && answered <= 1.0, "{answered}");
    }
    // The judge reads the replies: no two get the same score.
    let mut values: Vec<u64> = scores
        .iter()
        .map(|s| s["score"].as_f64().unwrap().to_bits())
        .collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 8);

    // What is there is kept, and the rest is what it would have been, in any batch.
    let text = std::fs::read_to_string(&whole).unwrap();
    let first: String = text.split_inclusive('\n').take(3).collect();
    std::fs::write(&cut, first).unwrap();
    run(judge(&data, &cut, &[]));
    assert_eq!(std::fs::read_to_string(&cut).unwrap(), text);
    let test = path("test.jsonl");
    run(judge(&data, &test, &["--split", "test"]));
    assert_eq!(lines(&test), scores[6..]);

    // Wrong input.
    let refuse = |args: Vec<String>, code: i32, words: &[&str]| {
        expect_error(
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            code,
            words,
        )
    };
    let foreign = path("foreign.jsonl");
    std::fs::write(&foreign, "{\"id\": \"s0-honest\", \"score\": 1}\n").unwrap();
    refuse(
        judge(&data, &foreign, &[]),
        3,
        &["was not written by `smollm2-135m-instruct`"],
    );
    let mut dialogues = lines(&data);
    let open = path("open.jsonl");
    dialogues[0]["messages"].as_array_mut().unwrap().pop();
    std::fs::write(&open, dialogues[0].to_string()).unwrap();
    refuse(
        judge(&open, &path("x.jsonl"), &[]),
        3,
        &["does not end with a reply", "hint:"],
    );
    refuse(
        judge(&data, &path("x.jsonl"), &["--split", "tests"]),
        2,
        &["invalid value 'tests'"],
    );

    // What does not fit is named, once the rest is written.
    let (long, long_out) = (path("long.jsonl"), path("long-scores.jsonl"));
    dialogues[1]["messages"][0]["content"] = "chairs and tables ".repeat(4_000).into();
    let two = [dialogues[1].to_string(), dialogues[2].to_string()].join("\n");
    std::fs::write(&long, two).unwrap();
    refuse(
        judge(&long, &long_out, &[]),
        3,
        &[
            "1 dialogues do not fit into the judge's context",
            "`s0-deceptive` (",
        ],
    );
    assert_eq!(lines(&long_out)[0]["id"], "s1-honest");
}
