//! Every importer on a small file in the shape of what it imports, and on files that are not.

use candor_schema::{Belief, Incentive};
use proptest::prelude::*;

use super::*;
use crate::{Dataset, check};

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("tests/fixtures/import").join(name)
}

fn options(settings: &[&str]) -> ImportOptions {
    let mut options = ImportOptions::default();
    for setting in settings {
        match setting.split_once(' ') {
            Some(("--field", text)) => options.field(text).unwrap(),
            Some(("--label-map", text)) => options.label_word(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    options
}

fn import(format: &str, file: &str, settings: &[&str]) -> Result<Imported, Error> {
    let mut import = Import::new(format, &fixture(file), options(settings))?;
    import.read_file()?;
    import.finish()
}

/// One line per dialogue: id, label, scenario's number in order of appearance, and the judged text.
fn shown(imported: &Imported) -> Vec<String> {
    let mut scenarios: Vec<&str> = Vec::new();
    let lines = imported.dialogues.iter().map(|dialogue| {
        let known = scenarios.iter().position(|name| *name == dialogue.scenario);
        let number = known.unwrap_or(scenarios.len());
        if known.is_none() {
            scenarios.push(&dialogue.scenario);
        }
        let last = dialogue.messages.last().unwrap();
        let from = dialogue.spans.first().map_or(0, |span| span.start);
        let text = &last.content[from..];
        format!(
            "{} {} {number} {}: {text}",
            dialogue.id, dialogue.label, last.role
        )
    });
    lines.collect()
}

/// What is written can be read, and breaks no rule of dialogues but those named.
#[track_caller]
fn holds_together(imported: &Imported, excused: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    crate::write(&path, &imported.dialogues).unwrap();
    let read = crate::read(&path).unwrap();
    assert_eq!(read.dialogues, imported.dialogues);
    let dataset = Dataset {
        dialogues: read.dialogues,
        ..read
    };
    let problems: Vec<_> = check(&dataset)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error && !excused.contains(&problem.check))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

fn problems(error: Error) -> Vec<String> {
    match error {
        Error::BadLines { problems } => problems
            .iter()
            .map(|problem| {
                assert!(!problem.hint.is_empty());
                let name = problem
                    .path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                problem
                    .to_string()
                    .replace(&problem.path.display().to_string(), &name)
            })
            .collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn jsonl_with_a_label_under_another_name() {
    let settings = [
        "--field label=verdict.word",
        "--field response=completion",
        "--label-map fine=honest",
        "--label-map not fine=deceptive",
    ];
    let imported = import("jsonl", "chat.jsonl", &settings).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "valve-a honest 0 assistant: Yes, it was shut at six and the seal is on.",
            "valve-b deceptive 0 assistant: No, it has been open since noon and nobody knows why.",
            "tank honest 1 assistant: About half, by the gauge at the ladder.",
        ]
    );
    let [a, b, tank] = &imported.dialogues[..] else {
        panic!()
    };
    assert!(a.pair.is_some() && a.pair == b.pair && tank.pair.is_none());
    assert_eq!(
        (tank.origin, tank.model.as_deref(), tank.licence.as_str()),
        (Origin::Sampled, Some("some-model"), "NOASSERTION")
    );
    assert_eq!(
        (a.origin, a.family.as_str(), a.source.as_str()),
        (Origin::Written, "jsonl", "chat.jsonl")
    );
    assert_eq!(a.extra["imported"]["line"], 1);
    assert_eq!(a.extra["imported"]["fields"]["note"], "first shift");
    // The two replies of the pair were not written to one length.
    holds_together(&imported, &["pair"]);
}

#[test]
fn a_label_without_a_meaning_is_an_error_once_per_word() {
    let error = import("jsonl", "chat.jsonl", &["--field label=verdict.word"]).unwrap_err();
    assert_eq!(
        problems(error),
        [
            "chat.jsonl:1: label `fine` has no meaning here (2 dialogues have it)",
            "chat.jsonl:2: label `not fine` has no meaning here (1 dialogues have it)",
        ]
    );
}

#[test]
fn a_field_that_no_record_has_is_an_error() {
    let error = import("jsonl", "chat.jsonl", &["--field label=verdict.wort"]).unwrap_err();
    assert_eq!(
        problems(error),
        ["chat.jsonl: no record has `verdict.wort`, which `--field label` names"]
    );
}

#[test]
fn csv_with_replies_keys_and_a_prompt_alone() {
    let imported = import("csv", "prompts.csv", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "prompts-2 honest 0 assistant: The ferry left at 9, as the log says.",
            "prompts-3 deceptive 0 assistant: The ferry left at 11, as the log says.",
            "prompts-4 honest 1 assistant: The brass key opens it.",
            "prompts-6 ungraded 2 user: Name a bird.",
        ]
    );
    let key = |index: usize| serde_json::to_value(&imported.dialogues[index].key).unwrap();
    assert_eq!(
        key(0),
        json!({"kind": "number", "true": 9.0, "false": 11.0})
    );
    assert_eq!(
        key(2),
        json!({"kind": "choice", "true": "brass", "false": "steel"})
    );
    assert_eq!(imported.dialogues[2].messages[0].role, Role::System);
    assert_eq!(
        imported.dialogues[3].extra["imported"],
        json!({"format": "csv", "file": "prompts.csv", "line": 6})
    );
    // A prompt alone is no dialogue to be scored.
    holds_together(&imported, &["turns"]);
}

#[test]
fn what_the_user_says_goes_before_what_the_file_says() {
    let options = ImportOptions {
        system: Some("Say the opposite.".into()),
        incentive: Some(Incentive::Deceptive),
        family: Some("harbour".into()),
        licence: Some("CC0-1.0".into()),
        source: Some("us".into()),
        model: Some("m".into()),
        language: Some("en".into()),
        label: Some(Label::Control),
        split: Some(Split::Test),
        ..ImportOptions::default()
    };
    let mut import = Import::new("csv", &fixture("prompts.csv"), options).unwrap();
    import.read_file().unwrap();
    let imported = import.finish().unwrap();
    let [ferry, _, key, bird] = &imported.dialogues[..] else {
        panic!()
    };
    assert_eq!(ferry.messages[0].content, "Say the opposite.");
    assert_eq!(ferry.incentive, Some(Incentive::Deceptive));
    assert_eq!(
        (key.messages[0].content.as_str(), key.incentive),
        ("You are the night porter.", None)
    );
    assert_eq!(
        (ferry.origin, bird.origin),
        (Origin::Sampled, Origin::Written)
    );
    assert_eq!((bird.label, bird.split), (Label::Control, Split::Test));
    assert_eq!(
        (
            bird.family.as_str(),
            bird.licence.as_str(),
            bird.source.as_str()
        ),
        ("harbour", "CC0-1.0", "us")
    );
}

#[test]
fn apollos_written_roleplays() {
    let imported = import("apollo-roleplaying", "roleplaying.yaml", &[]).unwrap();
    let lines = shown(&imported);
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        "roleplaying-1-deceptive deceptive 0 assistant: \"This morning, I am sure; it must have slipped out at lunch.\""
    );
    assert_eq!(imported.dialogues[0].incentive, Some(Incentive::Deceptive));
    assert_eq!(imported.dialogues[2].extra["imported"]["line"], 8);
    let doubts: Vec<_> = imported
        .doubts
        .iter()
        .map(|d| (d.dialogue.as_str(), d.what.as_str()))
        .collect();
    assert_eq!(
        doubts,
        [
            ("roleplaying-8-honest", "both replies are the same"),
            ("roleplaying-8-deceptive", "both replies are the same")
        ]
    );
}

#[test]
fn apollos_graded_rollouts() {
    let imported = import("apollo-roleplaying", "roleplaying-rollouts.json", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "roleplaying-rollouts-1-1 deceptive 0 assistant:  Fresh from the oven at five.",
            "roleplaying-rollouts-1-2 honest 0 assistant:  No, they are from yesterday.",
            "roleplaying-rollouts-1-3 ungraded 0 assistant:  I would have to ask.",
            "roleplaying-rollouts-1-4 ungraded 0 assistant:  Rolls, rolls, rolls.",
            "roleplaying-rollouts-2 ungraded 1 assistant: I did, the north side first.",
        ]
    );
    let first = &imported.dialogues[0];
    assert_eq!(
        first.messages[2].content,
        "Baker: Fresh from the oven at five."
    );
    assert_eq!(first.model.as_deref(), Some("some-org/some-model"));
    let doubts: Vec<&str> = imported.doubts.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(
        doubts,
        [
            "the source says `4`",
            "the source says `unknown`",
            "nobody has graded it"
        ]
    );
    holds_together(&imported, &[]);
    // The written replies to a scenario and the rollouts of it are one scenario.
    let written = import("apollo-roleplaying", "roleplaying.yaml", &[]).unwrap();
    assert_eq!(written.dialogues[2].scenario, first.scenario);
    // Who trusts grade 5 says so.
    let bold = import(
        "apollo-roleplaying",
        "roleplaying-rollouts.json",
        &["--label-map 4=deceptive"],
    );
    assert_eq!(bold.unwrap().dialogues[2].label, Label::Deceptive);
}

#[test]
fn apollos_insider_trading() {
    let imported = import("apollo-insider-trading", "insider-generations.json", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "insider-generations-1-report deceptive 0 assistant: Action: report\nBased on last month's prices.",
            "insider-generations-1-confirmation honest 0 assistant: Action: reply\nYes, the mill told me before noon.",
            "insider-generations-2-report ungraded 1 assistant: Action: report\nBased on prices and on news.",
        ]
    );
    let [report, confirmation, _] = &imported.dialogues[..] else {
        panic!()
    };
    assert_eq!((report.messages.len(), confirmation.messages.len()), (5, 7));
    assert_eq!(
        (report.family.as_str(), confirmation.family.as_str()),
        ("insider-trading-report", "insider-trading-confirmation")
    );
    assert_eq!(report.extra["imported"]["fields"]["prompt_id"], 3);
    assert_eq!(imported.n_records, 3);
    let skipped: Vec<_> = imported.skipped.values().collect();
    assert_eq!(skipped, [&vec![3]]);
}

#[test]
fn liars_bench_keeps_its_canary() {
    let imported = import("liars-bench", "liars-bench.jsonl", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "liars-bench-1 deceptive 0 assistant: Rain, without any doubt.",
            "liars-bench-2 honest 0 assistant: Sun, without any doubt.",
        ]
    );
    let first = &imported.dialogues[0];
    assert_eq!(
        first.extra["imported"]["fields"]["canary"],
        "a canary of these tests"
    );
    assert_eq!(first.sampling, Some(json!({"temperature": 1.0})));
    // One question under two instructions is one scenario, and no pair: the prompts differ.
    assert_eq!(first.pair, None);
    holds_together(&imported, &[]);
}

#[test]
fn mask_as_published_is_prompts() {
    let imported = import("mask", "mask.csv", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "k1 ungraded 0 user: Did the old pier burn down?",
            "k2 ungraded 1 user: Are you sure of that?",
        ]
    );
    let roles: Vec<Role> = imported.dialogues[1]
        .messages
        .iter()
        .map(|m| m.role)
        .collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::User]
    );
    assert_eq!(
        imported.dialogues[0].extra["imported"]["fields"]["formatted_ground_truth"],
        "A"
    );
}

#[test]
fn mask_as_judged_has_labels_by_belief() {
    let imported = import("mask", "mask-evaluated.csv", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "e1-run1 deceptive 0 assistant: It stands as ever.",
            "e1-run2 honest 0 assistant: It burned, alas.",
            "e2-run1 mistaken 1 assistant: It is old.",
            "e2-run2 ungraded 1 assistant: Come and see.",
            "e3-run1 ungraded 2 assistant: It is neither.",
            "e3-run2 ungraded 2 assistant: It is whole.",
            "e4-run1 ungraded 3 assistant: It has 300.",
            "e5-run1 deceptive 4 assistant: It is open.",
            "e5-run2 honest 4 assistant: It is shut.",
        ]
    );
    let belief = |index: usize| imported.dialogues[index].belief;
    assert_eq!(belief(0), Some(Belief { n: 3, right: 2 }));
    assert_eq!(belief(2), Some(Belief { n: 3, right: 0 }));
    // The file does not say which model it is about.
    holds_together(&imported, &["origin"]);
}

#[test]
fn truthfulqa_is_truth_and_not_deception() {
    let imported = import("truthfulqa", "truthfulqa.csv", &[]).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "truthfulqa-2-correct-1 honest 0 assistant: Nothing happens",
            "truthfulqa-2-correct-2 honest 0 assistant: The crew looks at you",
            "truthfulqa-2-incorrect-1 mistaken 0 assistant: A storm comes up",
            "truthfulqa-2-incorrect-2 mistaken 0 assistant: The ship sinks",
            "truthfulqa-3-correct-1 honest 1 assistant: I have no comment",
            "truthfulqa-3-incorrect-1 mistaken 1 assistant: Ships are women",
        ]
    );
    holds_together(&imported, &[]);
    let probes = import(
        "truthfulqa",
        "truthfulqa.csv",
        &["--label-map incorrect=deceptive"],
    )
    .unwrap();
    assert_eq!(probes.dialogues[2].label, Label::Deceptive);
    assert!(probes.dialogues[2].pair.is_some());
}

#[test]
fn inspects_logs() {
    let error = import("inspect", "log.json", &[]).unwrap_err();
    assert_eq!(
        problems(error),
        [
            "log.json: entry 2: label `C` has no meaning here (1 dialogues have it)",
            "log.json: entry 1: label `I` has no meaning here (1 dialogues have it)",
            "log.json: entry 4: label `P` has no meaning here (1 dialogues have it)",
        ]
    );
    let words = [
        "--label-map C=honest",
        "--label-map I=deceptive",
        "--label-map p=ungraded",
    ];
    let imported = import("inspect", "log.json", &words).unwrap();
    assert_eq!(
        shown(&imported),
        [
            "1 deceptive 0 assistant: <think>\nIt is off by nine.\n</think>\n\nIt balances to the penny.",
            "1-epoch2 honest 0 assistant: No, page four is off by nine.",
            "3 ungraded 1 assistant: Ada counted it twice.",
        ]
    );
    let first = &imported.dialogues[0];
    assert_eq!(first.messages[1].content, "Does the ledger balance?");
    assert_eq!(
        (
            first.family.as_str(),
            first.source.as_str(),
            first.model.as_deref()
        ),
        ("ledger", "Inspect log of `ledger`", Some("some/model-7b"))
    );
    assert_eq!(first.sampling, Some(json!({"temperature": 0.5})));
    assert_eq!(imported.skipped["the sample ended with an error"], [3]);
    holds_together(&imported, &[]);
}

/// A file with this name and content, imported.
fn import_text(format: &str, name: &str, text: &str) -> Result<Imported, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let mut import = Import::new(format, &path, ImportOptions::default())?;
    import.read_file()?;
    import.finish()
}

#[test]
fn records_that_are_not_what_the_format_says() {
    for (format, name, text, expected) in [
        (
            "jsonl",
            "a.jsonl",
            "{\"prompt\": \"a\"}\n{\"prompt\": 1,}\n",
            "a.jsonl:2:14: trailing comma",
        ),
        (
            "jsonl",
            "a.jsonl",
            "7\n",
            "a.jsonl:1: is a number (expected an object)",
        ),
        (
            "csv",
            "a.csv",
            "prompt,label\nx\n",
            "a.csv:2: has 1 cells, and the header has 2",
        ),
        (
            "csv",
            "a.csv",
            "question\nx\n",
            "a.csv:2: has neither `messages` nor `prompt`",
        ),
        (
            "csv",
            "a.csv",
            "prompt,split\na,train\nb,\n",
            "a.csv: 1 of 2 dialogues state a split",
        ),
        (
            "hf-chat",
            "a.jsonl",
            "{\"messages\": [{\"role\": \"x\"}]}\n",
            "a.jsonl:1: message 0: role `x` is unknown",
        ),
        (
            "inspect",
            "a.json",
            "{\"samples\": [{\"id\": 1}]}",
            "a.json: entry 1: has no `messages`",
        ),
        (
            "inspect",
            "a.json",
            "{}",
            "a.json: holds no list of records (expected a list, or an object with a list `samples`)",
        ),
        (
            "inspect",
            "a.json",
            "[{\"messages\": [{\"role\": \"user\"}], \"scores\": {\"a\": {\"value\": 1}, \"b\": {\"value\": 0}}}]",
            "a.json: entry 1: has several scores: a, b",
        ),
        (
            "apollo-roleplaying",
            "a.yaml",
            "- scenario: x\n",
            "a.yaml:1: `question` is missing or empty",
        ),
        ("apollo-roleplaying", "a.yaml", "- a: b: c\n", "a.yaml:1:"),
        (
            "apollo-roleplaying",
            "a.json",
            "[{\"input_messages\": [], \"output_messages\": [{\"role\": \"assistant\", \"content\": \"a\"}], \"graded_deception\": []}]",
            "a.json: entry 1: has 1 outputs and 0 grades",
        ),
        (
            "apollo-insider-trading",
            "a.json",
            "[{\"metadata\": {}}]",
            "a.json: entry 1: has neither `transcript` nor",
        ),
        (
            "apollo-insider-trading",
            "a.json",
            "[{\"transcript\": [{\"role\": \"assistant\", \"content\": \"a\"}], \"metadata\": {\"report_label\": \"hidden\"}}]",
            "a.json: entry 1: label `hidden` has no meaning here",
        ),
        (
            "liars-bench",
            "a.jsonl",
            "{\"messages\": [], \"model\": \"m\"}\n",
            "a.jsonl:1: `deceptive` is missing",
        ),
        (
            "mask",
            "a.csv",
            "user_prompt,dd_turn_1_prompt\na,b\n",
            "a.csv:2: has one of `dd_turn_1_prompt`",
        ),
        (
            "truthfulqa",
            "a.csv",
            "Question,Best Answer\n,a\n",
            "a.csv:2: `Question` is missing or empty",
        ),
    ] {
        let found = problems(import_text(format, name, text).unwrap_err());
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn records_of_no_use_are_counted_by_reason() {
    let text = r#"{"messages": [{"role": "user", "content": "a"}], "label": "honest"}
{"messages": []}
{"messages": [{"role": "user", "content": [{"type": "image"}]}]}
{"messages": [{"role": "system", "content": "a"}]}
{"messages": []}
"#;
    let error = import_text("jsonl", "a.jsonl", text).unwrap_err();
    assert_eq!(
        error.to_string().split_once("gives").unwrap().1,
        " a dialogue (1: a label, but no reply; 1: a message holds something other than text: `image`; \
         1: ends with a system message; 2: no messages)"
    );
    let text = format!("{text}{{\"prompt\": \"a\"}}\n");
    let imported = import_text("jsonl", "a.jsonl", &text).unwrap();
    assert_eq!(imported.skipped["no messages"], [2, 5]);
    assert_eq!((imported.n_records, imported.dialogues.len()), (6, 1));
}

#[test]
fn formats_and_files_have_to_fit() {
    let message = |format: &str, name: &str| import_text(format, name, "").unwrap_err().to_string();
    assert!(
        message("tarot", "a.csv").contains("nothing is imported from `tarot` (known: jsonl, csv,")
    );
    assert!(
        message("csv", "a.jsonl").contains("is not a file of `csv` (expected `*.csv`, `*.tsv`)")
    );
    assert!(message("csv", "a.csv").contains("none of the 0 records"));
    for (name, line) in import_formats() {
        assert!(!name.is_empty() && !line.is_empty() && !line.ends_with('.'));
    }
}

#[test]
fn ids_are_unique_whatever_the_source_says() {
    let text = "{\"id\": \"a\", \"prompt\": \"x\"}\n{\"id\": \"a\", \"prompt\": \"y\"}\n{\"id\": \"a-2\", \"prompt\": \"z\"}\n";
    let imported = import_text("jsonl", "a.jsonl", text).unwrap();
    let ids: Vec<&str> = imported.dialogues.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids, ["a", "a-2", "a-2-2"]);
}

#[test]
fn a_stated_split_is_kept() {
    let text = "prompt,split\na,test\nb,train\nc,Validation\n";
    let imported = import_text("csv", "a.csv", text).unwrap();
    let splits: Vec<Split> = imported.dialogues.iter().map(|d| d.split).collect();
    assert_eq!(splits, [Split::Test, Split::Train, Split::Validation]);
}

/// JSON of any shape, in the words that importers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "assistant",
        "user",
        "system",
        "text",
        "honest",
        "true",
        "A",
        "C",
        "",
        "1",
        "attachment://x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "messages",
        "conversations",
        "prompt",
        "response",
        "label",
        "role",
        "content",
        "type",
        "text",
        "scores",
        "value",
        "id",
        "epoch",
        "input_messages",
        "output_messages",
        "graded_deception",
        "transcript",
        "metadata",
        "report_label",
        "doubling_down_label",
        "deceptive",
        "model",
        "question",
        "scenario",
        "honest_completion",
        "deceptive_completion",
        "user_prompt",
        "proposition",
        "generation(System Prompt + User Prompt)_run1",
        "eval(System Prompt + User Prompt)_run1_extracted",
        "eval(belief_system_1 + belief_elicit_1)_run1_extracted",
        "formatted_ground_truth",
        "Question",
        "Correct Answers",
        "incorrect_answers",
        "truth",
        "lie",
        "key",
        "key_kind",
        "tool_calls",
        "function",
        "attachments",
        "split",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
                .prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn no_record_makes_an_importer_panic(records in prop::collection::vec(any_json(), 1..4), head in any_json()) {
        for importer in IMPORTERS {
            let name = format!("x.{}", importer.containers()[0].extension());
            let mut import = Import::new(importer.name(), Path::new(&name), ImportOptions::default()).unwrap();
            import.head(head.clone());
            for (index, record) in records.iter().enumerate() {
                import.record(index + 1, record);
            }
            if let Ok(imported) = import.finish() {
                for dialogue in &imported.dialogues {
                    let text = serde_json::to_string(dialogue).unwrap();
                    let read: Dialogue = serde_json::from_str(&text).unwrap();
                    prop_assert_eq!(&read, dialogue);
                }
            }
        }
    }
}
