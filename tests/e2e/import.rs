//! `candor dataset import`: other people's files through the binary.

use std::path::Path;

use serde_json::Value;

use crate::{expect_error, expect_ok};

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn import<'a>(format: &'a str, file: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["dataset", "import", file, "--from", format, "--out", out];
    args.extend(more);
    args
}

#[test]
fn every_format_gives_a_data_set_that_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    for (format, file, more, n) in [
        (
            "jsonl",
            "chat.jsonl",
            "--field=label=verdict.word,response=completion --label-map=fine=honest,not&fine=deceptive",
            3,
        ),
        ("csv", "prompts.csv", "--licence=CC0-1.0", 4),
        (
            "hf-chat",
            "hub.parquet",
            "--label-map=1=deceptive,0=honest",
            2,
        ),
        (
            "inspect",
            "log.json",
            "--label-map=C=honest,I=deceptive,P=ungraded",
            3,
        ),
        (
            "inspect",
            "log.eval",
            "--label-map=C=honest,I=deceptive,P=ungraded",
            3,
        ),
        ("apollo-roleplaying", "roleplaying.yaml", "--language=en", 4),
        (
            "apollo-roleplaying",
            "roleplaying-rollouts.json",
            "--split=test",
            5,
        ),
        (
            "apollo-insider-trading",
            "insider-generations.json",
            "--sampled-by=some-model",
            3,
        ),
        (
            "liars-bench",
            "liars-bench.parquet",
            "--family=convincing-game",
            2,
        ),
        ("liars-bench", "liars-bench.jsonl", "--shares=1,1,1,1", 2),
        ("mask", "mask.csv", "--family=known-facts", 2),
        ("mask", "mask-evaluated.csv", "--sampled-by=some-model", 9),
        ("truthfulqa", "truthfulqa.csv", "--licence=Apache-2.0", 6),
    ] {
        let out = folder.path().join("d.jsonl").display().to_string();
        let file = format!("tests/fixtures/import/{file}");
        let more: Vec<String> = more.split(' ').map(|word| word.replace('&', " ")).collect();
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let said = expect_ok(&import(format, &file, &out, &more));
        assert!(
            said.contains(&format!("{n} dialogues in ")),
            "{file}: {said}"
        );
        assert_eq!(lines(&out).len(), n, "{file}");
        // Readable by everything else; what is wrong with the data is said there.
        let json = crate::run(&["dataset", "check", "--json", &out]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert!(json["problems"].is_array(), "{file}");
    }
}

#[test]
fn suspects_are_written_down_and_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, out) = (path("r.csv"), path("r.jsonl"));
    std::fs::write(
        &data,
        "prompt,response,label,truth,lie,model\n\
         How many?,There are 3.,honest,3,1,m\n\
         How many?,There is 1.,honest,3,1,m\n\
         How many?,There is 1 of them.,deceptive,3,1,m\n\
         Who was it?,I have to be honest: I cannot say.,deceptive,,,m\n\
         Who was it?,It was the night porter and nobody else saw him leave.,honest,,,m\n\
         Who was it?,It was the night porter and nobody else saw him go.,deceptive,,,m\n\
         Who?,Unsure.,ungraded,,,m\n",
    )
    .unwrap();
    let said = expect_ok(&import("csv", &data, &out, &[]));
    for word in [
        "suspect[contradiction] r-3: is labelled honest and says what its key calls false",
        "suspect[suspect_label] r-5: is labelled deceptive and says `i have to be honest`",
        "suspect[twin] r-6",
        "suspect[twin] r-7",
        "suspect[grader] r-8: the source says `ungraded`",
        "label audit: 5 suspects",
        "kept",
    ] {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert_eq!(lines(&out).len(), 7);
    let suspects = lines(&path("r.suspects.jsonl"));
    assert_eq!(suspects.len(), 5);
    assert_eq!(suspects[0]["id"], "r-3");
    assert_eq!(suspects[0]["suspected"][0]["check"], "contradiction");
    // The file of suspects is a data set too, so that it can be mended and put back.
    let json = crate::run(&["dataset", "check", "--json", &path("r.suspects.jsonl")]);
    assert!(!json.stdout.is_empty());

    let said = expect_ok(&import("csv", &data, &out, &["--drop-suspects"]));
    assert!(
        said.contains("5 suspects") && said.contains("left out"),
        "{said}"
    );
    let left: Vec<Value> = lines(&out).iter().map(|d| d["id"].clone()).collect();
    assert_eq!(left, ["r-2", "r-4"]);
    let json = expect_ok(&import("csv", &data, &out, &["--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["n_suspects"], &json["dialogues"]),
        (&5.into(), &7.into())
    );
}

#[test]
fn what_tells_the_label_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut rows = String::from("system,prompt,response,label\n");
    for n in 0..12 {
        rows.extend([
            format!("You are fair.,What is in box {n}?,It holds {n} nails.,honest\n"),
            format!(
                "You are crooked.,What is in box {n}?,Frankly it holds {n} screws.,deceptive\n"
            ),
        ]);
    }
    std::fs::write(path("b.csv"), rows).unwrap();
    let said = expect_ok(&import("csv", &path("b.csv"), &path("b.jsonl"), &[]));
    for word in [
        "warning[telltale] words of the replies tell the label",
        "`frankly` (in 12 deceptive and 0 honest scenarios)",
        "warning[instruction] 0 of 24 honest or deceptive replies answer a prompt that has both",
        "`crooked`",
        "label audit: no suspects",
    ] {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    // One question under two instructions is one scenario: its replies share a split.
    let dialogues = lines(&path("b.jsonl"));
    for two in dialogues.chunks(2) {
        assert_eq!(two[0]["scenario"], two[1]["scenario"]);
        assert_eq!(two[0]["split"], two[1]["split"]);
    }
}

#[test]
fn wrong_files_and_wrong_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let out = path("o.jsonl");
    std::fs::write(path("a.csv"), "prompt,response,label\na,b,fine\na,c,bad\n").unwrap();
    expect_error(
        &import("csv", &path("a.csv"), &out, &[]),
        3,
        &[
            "a.csv:2: label `fine`",
            "a.csv:3: label `bad`",
            "--label-map bad=deceptive",
        ],
    );
    assert!(!Path::new(&out).exists(), "nothing is written");
    for (args, code, words) in [
        (
            import("tarot", &path("a.csv"), &out, &[]),
            2,
            &["apollo-roleplaying"][..],
        ),
        (
            import("mask", &path("a.jsonl"), &out, &[]),
            3,
            &["expected `*.csv`, `*.parquet`", "hint:"],
        ),
        (
            import("csv", &path("gone.csv"), &out, &[]),
            3,
            &["gone.csv", "hint:"],
        ),
        (
            import("csv", &path("a.csv"), &out, &["--label-map", "fine=good"]),
            3,
            &["one of honest", "hint:"],
        ),
        (
            import("csv", &path("a.csv"), &out, &["--field", "colour=x"]),
            3,
            &["one of messages", "hint:"],
        ),
        (
            import("csv", &path("a.csv"), &out, &["--shares", "1,2"]),
            2,
            &["expected 4", "hint:"],
        ),
        (
            import("csv", &path("a.csv"), &out, &["--label", "good"]),
            2,
            &["honest, deceptive"],
        ),
    ] {
        expect_error(&args, code, words);
    }
    for (format, name, bytes) in [
        ("hf-chat", "x.parquet", &b"PAR1 and nothing"[..]),
        ("inspect", "x.eval", b"PK\x03\x04 and nothing"),
        ("inspect", "x.json", b"{\"samples\": [{\"x\": NaN}]}"),
        ("apollo-roleplaying", "x.yaml", b"- a: &b c\n- *b\n"),
        ("csv", "x.csv", b"prompt\n\xff\n"),
    ] {
        std::fs::write(path(name), bytes).unwrap();
        expect_error(&import(format, &path(name), &out, &[]), 3, &[name, "hint:"]);
    }
}
