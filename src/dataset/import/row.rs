//! One dialogue per row, in fields with plain names: what `jsonl`, `csv` and `hf-chat` share.

use candor_schema::{Incentive, Key, KeyKind, Message, Role, Split};
use serde_json::{Map, Value};

use super::chat;
use super::draft::Draft;
use super::fields::{Fields, Refusal, kind, word};

/// Fields that become part of the dialogue; all others are kept beside it.
const READ: &[&str] = &[
    "messages",
    "conversations",
    "prompt",
    "system",
    "response",
    "label",
    "scenario",
    "family",
    "id",
    "truth",
    "lie",
    "key_kind",
    "key",
    "model",
    "split",
    "language",
    "licence",
    "source",
    "template",
    "incentive",
];

/// The dialogue of a row: `messages` (or `conversations`), or `prompt` with a `response` or without.
pub(super) fn read(fields: &Fields<'_>) -> Result<Vec<Draft>, Refusal> {
    let model = fields.text("model")?;
    let mut draft = Draft {
        messages: messages(fields)?,
        label: label(fields)?,
        id: fields.text("id")?,
        scenario: fields.text("scenario")?,
        family: fields.text("family")?,
        template: fields.text("template")?,
        incentive: one_of(fields, "incentive", Incentive::ALL, Incentive::as_str)?,
        split: one_of(fields, "split", Split::ALL, Split::as_str)?,
        key: key(fields)?,
        sampled: model.is_some(),
        model,
        language: fields.text("language")?,
        licence: fields.text("licence")?,
        source: fields.text("source")?,
        ..Draft::default()
    };
    let others = fields.all().iter();
    draft.keep(others.filter(|(name, _)| !READ.contains(&name.as_str()) && !fields.is_named(name)));
    Ok(vec![draft])
}

fn messages(fields: &Fields<'_>) -> Result<Vec<Message>, Refusal> {
    let nothing = Map::new();
    let listed = match fields.list("messages")? {
        Some(list) => Some(list),
        None => fields.list("conversations")?,
    };
    let mut messages = match (listed, fields.get("prompt")) {
        // A prompt may be a chat of its own.
        (Some(list), _) | (None, Some(Value::Array(list))) => chat::messages(list, &nothing)?,
        (None, Some(_)) => {
            let prompt = fields.required("prompt")?;
            Draft::chat(None, &prompt, None)
        }
        (None, None) => {
            return Err(Refusal::bad(
                "has neither `messages` nor `prompt`",
                "say where they stand, for example `--field prompt=question`",
            ));
        }
    };
    if let Some(system) = fields.text("system")? {
        if messages.first().is_some_and(|m| m.role == Role::System) {
            return Err(Refusal::bad(
                "has `system`, and its messages begin with one too",
                "keep one of the two",
            ));
        }
        messages.insert(0, Message::new(Role::System, system));
    }
    match fields.get("response") {
        Some(Value::String(reply)) if listed.is_none() && !reply.trim().is_empty() => {
            messages.push(Message::new(Role::Assistant, reply.clone()));
        }
        Some(Value::Array(list)) if listed.is_none() => {
            messages.extend(chat::messages(list, &nothing)?);
        }
        Some(Value::String(_)) | None => {}
        Some(other) => {
            return Err(Refusal::bad(
                format!("`response` is {} (expected a text)", kind(other)),
                "say where the reply stands with `--field response=…`",
            ));
        }
    }
    Ok(messages)
}

/// The label's word: a text, a number or a truth value.
fn label(fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
    let Some(value) = fields.get("label") else {
        return Ok(None);
    };
    word(value).map(Some).ok_or_else(|| {
        Refusal::bad(
            format!("`label` is {} (expected a word)", kind(value)),
            "say where the word stands, for example `--field label=scores.judge`",
        )
    })
}

/// The key: an object as the dialogue format has it, or `truth` and `lie` with a `key_kind`.
fn key(fields: &Fields<'_>) -> Result<Option<Key>, Refusal> {
    let hint = "`truth` is what an honest reply says, `lie` what a false one says; `key_kind` is choice, number or regex";
    if let Some(object) = fields.get("key") {
        let key = serde_json::from_value(object.clone());
        return key
            .map(Some)
            .map_err(|error| Refusal::bad(format!("`key`: {error}"), hint));
    }
    let (truth, lie) = (fields.text("truth")?, fields.text("lie")?);
    let Some(truth) = truth else {
        return match lie {
            None => Ok(None),
            Some(_) => Err(Refusal::bad("has `lie`, but no `truth`", hint)),
        };
    };
    let both = || std::iter::once(&truth).chain(&lie);
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let stated = one_of(fields, "key_kind", KeyKind::ALL, KeyKind::as_str)?;
    let kind = stated.unwrap_or(if both().all(|text| number(text).is_some()) {
        KeyKind::Number
    } else {
        KeyKind::Choice
    });
    let value = |text: &str| match kind {
        KeyKind::Choice | KeyKind::Regex => Ok(Value::from(text.trim())),
        KeyKind::Number => number(text).map(Value::from).ok_or_else(|| {
            let what = format!("`{text}` is not a number, and `key_kind` says number");
            Refusal::bad(what, hint)
        }),
        other => Err(Refusal::bad(
            format!("`key_kind` {other} does not fit into two fields"),
            "write `key` as an object, in JSONL",
        )),
    };
    Ok(Some(Key {
        kind,
        truth: value(&truth)?,
        lie: lie.as_deref().map(value).transpose()?.unwrap_or_default(),
    }))
}

/// A field that holds one of candor's own words.
fn one_of<T: Copy>(
    fields: &Fields<'_>,
    name: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> Result<Option<T>, Refusal> {
    let Some(text) = fields.text(name)? else {
        return Ok(None);
    };
    let folded = text.trim().to_lowercase();
    let found = all.iter().copied().find(|one| as_str(*one) == folded);
    found.map(Some).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
        Refusal::bad(
            format!(
                "`{name}` is `{text}` (expected one of {})",
                words.join(", ")
            ),
            "use one of the listed words, or leave the field out",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn draft(row: &Value) -> Result<Draft, String> {
        let paths = BTreeMap::new();
        let read = read(&Fields::new(row.as_object().unwrap(), &paths));
        read.map(|mut drafts| drafts.remove(0))
            .map_err(|refusal| match refusal {
                Refusal::Bad { what, .. } => what,
                Refusal::Unusable(reason) => reason,
            })
    }

    fn said(draft: &Draft) -> Vec<(Role, &str)> {
        let messages = draft.messages.iter();
        messages.map(|m| (m.role, m.content.as_str())).collect()
    }

    #[test]
    fn prompts_come_with_and_without_a_reply() {
        let with = draft(&json!({"prompt": "So?", "response": "No.", "system": "Be kind.", "label": true, "note": "n", "gap": ""})).unwrap();
        assert_eq!(
            said(&with),
            [
                (Role::System, "Be kind."),
                (Role::User, "So?"),
                (Role::Assistant, "No.")
            ]
        );
        assert_eq!(with.label.as_deref(), Some("true"));
        assert_eq!(Value::Object(with.kept), json!({"note": "n"}));
        let without = draft(&json!({"prompt": "So?", "response": " "})).unwrap();
        assert_eq!(said(&without), [(Role::User, "So?")]);
        let chat = draft(&json!({
            "prompt": [{"role": "user", "content": "So?"}],
            "response": [{"role": "assistant", "content": "No."}],
        }));
        assert_eq!(
            said(&chat.unwrap()),
            [(Role::User, "So?"), (Role::Assistant, "No.")]
        );
        let turns = draft(
            &json!({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "model": "m"}),
        );
        let turns = turns.unwrap();
        assert_eq!(said(&turns), [(Role::User, "a"), (Role::Assistant, "b")]);
        assert!(turns.sampled);
    }

    #[test]
    fn keys_are_numbers_where_both_sides_are() {
        let key = |row: Value| {
            let mut row = row;
            row["prompt"] = json!("So?");
            draft(&row).map(|draft| serde_json::to_value(draft.key).unwrap())
        };
        assert_eq!(
            key(json!({"truth": "7", "lie": "8.5"})).unwrap(),
            json!({"kind": "number", "true": 7.0, "false": 8.5})
        );
        assert_eq!(
            key(json!({"truth": "Paris", "lie": ""})).unwrap(),
            json!({"kind": "choice", "true": "Paris", "false": null})
        );
        assert_eq!(
            key(json!({"truth": "7", "lie": "8", "key_kind": "choice"})).unwrap()["kind"],
            "choice"
        );
        assert_eq!(
            key(json!({"key": {"kind": "set", "true": ["a"]}})).unwrap()["kind"],
            "set"
        );
        assert_eq!(key(json!({})).unwrap(), Value::Null);
        for (row, expected) in [
            (json!({"lie": "8"}), "has `lie`, but no `truth`"),
            (
                json!({"truth": "x", "key_kind": "number"}),
                "`x` is not a number",
            ),
            (
                json!({"truth": "x", "key_kind": "sum"}),
                "`key_kind` is `sum` (expected one of choice",
            ),
            (
                json!({"truth": "x", "key_kind": "set"}),
                "does not fit into two fields",
            ),
            (
                json!({"key": {"kind": "choice"}}),
                "`key`: missing field `true`",
            ),
        ] {
            let error = key(row).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        for (row, expected) in [
            (
                json!({"question": "So?"}),
                "neither `messages` nor `prompt`",
            ),
            (json!({"prompt": ""}), "`prompt` is missing or empty"),
            (
                json!({"prompt": "a", "response": 7}),
                "`response` is a number",
            ),
            (json!({"prompt": "a", "label": ["x"]}), "`label` is a list"),
            (
                json!({"prompt": "a", "split": "dev"}),
                "`split` is `dev` (expected one of train",
            ),
            (
                json!({"messages": [{"role": "system", "content": "a"}], "system": "b"}),
                "begin with one too",
            ),
        ] {
            let error = draft(&row).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
