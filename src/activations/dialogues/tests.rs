use candor_schema::{
    Belief, FormatVersion, Incentive, Key, KeyKind, Label, Message, Mode, Motive, Origin, Role,
    Span, Split, ToolCall,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::dialogue;

fn round_trip(dialogues: &[Dialogue]) -> Vec<Dialogue> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hash", dialogues).unwrap();
    read(folder.path(), "hash").unwrap().unwrap()
}

fn full() -> Dialogue {
    let object = |value: Value| value.as_object().unwrap().clone();
    let call = ToolCall {
        fields: object(json!({"id": "1", "function": {"name": "f", "arguments": "{}"}})),
    };
    Dialogue {
        format_version: FormatVersion { major: 1, minor: 7 },
        id: "full".into(),
        scenario: "s".into(),
        pair: Some("p".into()),
        family: "f".into(),
        template: Some(String::new()),
        entities: vec!["Zoë".into(), String::new()],
        messages: vec![Message {
            role: Role::Tool,
            content: "line\n\u{0}".into(),
            tool_calls: Some(vec![call]),
            extra: object(json!({"name": "n", "z": 1e-7})),
        }],
        tools: Some(vec![json!({"type": "function"}), Value::Null]),
        label: Label::Deceptive,
        harmful_intent: true,
        incentive: Some(Incentive::Neutral),
        mode: Some(Mode::Omission),
        motive: Some(Motive::Inherent),
        spans: vec![Span {
            message: 0,
            start: 1,
            end: 3,
            label: Label::Honest,
        }],
        key: Some(Key {
            kind: KeyKind::Number,
            truth: json!(0.1),
            lie: Value::Null,
        }),
        belief: Some(Belief { n: 5, right: 4 }),
        origin: Origin::Sampled,
        on_policy: true,
        model: Some("m".into()),
        sampling: Some(json!({"temperature": 0.7, "seed": u64::MAX})),
        language: Some("de".into()),
        style: Some("terse".into()),
        split: Split::Calibration,
        licence: "CC0-1.0".into(),
        source: "us".into(),
        extra: object(json!({"z": [1, {"y": null}], "a": i64::MIN})),
    }
}

#[test]
fn every_field_reads_back() {
    let dialogues = [full(), dialogue("bare")];
    assert_eq!(round_trip(&dialogues), dialogues);
    assert_eq!(round_trip(&[]), []);
}

#[test]
fn every_field_of_a_dialogue_has_a_column() {
    let Value::Object(fields) = serde_json::to_value(full()).unwrap() else {
        unreachable!()
    };
    let known: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut others: Vec<&String> = fields
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    others.sort();
    assert_eq!(others, ["a", "z"]);
}

#[test]
fn more_dialogues_than_a_batch_read_back_in_order() {
    let dialogues: Vec<Dialogue> = (0..=2 * BATCH_ROWS)
        .map(|i| dialogue(&format!("d-{i}")))
        .collect();
    assert_eq!(round_trip(&dialogues), dialogues);
}

#[test]
fn another_manifest_and_a_damaged_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(read(folder, "hash").unwrap(), None);
    write(folder, "hash", &[full()]).unwrap();
    assert!(matches!(read(folder, "other"), Err(Error::Damaged { .. })));

    let path = folder.join(DIALOGUES_FILE);
    let bytes = std::fs::read(&path).unwrap();
    for n in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..n]).unwrap();
        assert!(matches!(read(folder, "hash"), Err(Error::WrongSize { .. })));
        let rows = read_rows(&path, "hash");
        assert!(matches!(rows, Err(Error::Damaged { .. })));
    }
    for at in [0, bytes.len() / 2] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(read(folder, "hash"), Err(Error::WrongHash { .. })));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn dialogues_round_trip(
        id in ".*",
        pair in prop::option::of(".*"),
        entities in prop::collection::vec(".*", 0..3),
        content in ".*",
        label in prop::sample::select(Label::ALL),
        split in prop::sample::select(Split::ALL),
        harmful_intent: bool,
        unknown in prop::collection::btree_map("x_.*", any_json(), 0..4),
    ) {
        let mut dialogue = dialogue(&id);
        dialogue.pair = pair;
        dialogue.entities = entities;
        dialogue.messages[0].content = content;
        dialogue.messages[0].extra = unknown.clone().into_iter().collect();
        dialogue.label = label;
        dialogue.split = split;
        dialogue.harmful_intent = harmful_intent;
        dialogue.extra.extend(unknown);
        let dialogues = [dialogue];
        prop_assert_eq!(round_trip(&dialogues), dialogues);
    }
}
