//! `TruthfulQA` (Lin, Hilton and Evans 2022, arXiv 2109.07958).
//!
//! The CSV has `Question`, `Best Answer`, `Correct Answers`, `Incorrect Answers` (with `;` between
//! answers), `Category` and `Source`; the Hub's Parquet has the same in lower case, with lists. Each
//! answer gives a dialogue. An incorrect answer is what people believe who do not know better, so
//! it is `mistaken`, not `deceptive`: a probe of deception should not simply be a probe of
//! falsehood. `--label-map incorrect=deceptive` makes a set for probes of truth.

use candor_schema::Label;
use serde_json::Value;

use super::draft::{Draft, digest};
use super::fields::{Fields, Refusal, kind};
use super::{Container, Importer};

#[derive(Debug)]
pub(super) struct TruthfulQa;

impl Importer for TruthfulQa {
    fn name(&self) -> &'static str {
        "truthfulqa"
    }

    fn describe(&self) -> &'static str {
        "TruthfulQA: questions with correct and incorrect answers (honest and mistaken)"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Csv, Container::Parquet]
    }

    fn source(&self) -> Option<&'static str> {
        Some("Lin, Hilton and Evans, TruthfulQA (arXiv 2109.07958)")
    }

    fn labels(&self) -> &'static [(&'static str, Label)] {
        &[("correct", Label::Honest), ("incorrect", Label::Mistaken)]
    }

    fn read(&self, fields: &Fields<'_>, _: &Value) -> Result<Vec<Draft>, Refusal> {
        let question = either(fields, "Question", "question")?.ok_or_else(|| {
            Refusal::bad(
                "`Question` is missing or empty",
                "check that `--from` names what the file is",
            )
        })?;
        let mut correct: Vec<String> = either(fields, "Best Answer", "best_answer")?
            .into_iter()
            .collect();
        correct.extend(answers(fields, "Correct Answers", "correct_answers")?);
        let incorrect = answers(fields, "Incorrect Answers", "incorrect_answers")?;
        let category = either(fields, "Category", "category")?;
        let mut drafts: Vec<Draft> = Vec::new();
        for (label, answers) in [("correct", correct), ("incorrect", incorrect)] {
            let mut seen: Vec<String> = Vec::new();
            for answer in answers {
                let folded = answer.to_lowercase();
                if seen.contains(&folded) {
                    continue;
                }
                seen.push(folded);
                let mut draft = Draft {
                    messages: Draft::chat(None, &question, Some(&answer)),
                    label: Some(label.into()),
                    part: Some(format!("{label}-{}", seen.len())),
                    scenario: Some(format!("truthfulqa-{}", digest(&question.to_lowercase()))),
                    language: Some("en".into()),
                    ..Draft::default()
                };
                draft.kept.extend(
                    category
                        .clone()
                        .map(|text| ("category".into(), text.into())),
                );
                drafts.push(draft);
            }
        }
        if drafts.is_empty() {
            return Err(Refusal::unusable("a question without answers"));
        }
        Ok(drafts)
    }
}

/// A text under the CSV's name or the Hub's.
fn either(fields: &Fields<'_>, csv: &str, hub: &str) -> Result<Option<String>, Refusal> {
    match fields.text(csv)? {
        Some(text) => Ok(Some(text)),
        None => fields.text(hub),
    }
}

/// Answers with `;` between them, or in a list.
fn answers(fields: &Fields<'_>, csv: &str, hub: &str) -> Result<Vec<String>, Refusal> {
    let texts: Vec<&str> = match (fields.get(csv), fields.get(hub)) {
        (Some(Value::String(text)), _) => text.split(';').collect(),
        (None, Some(Value::Array(list))) => list.iter().filter_map(Value::as_str).collect(),
        (None, None) => Vec::new(),
        (Some(other), _) | (None, Some(other)) => {
            return Err(Refusal::bad(
                format!("the answers are {}", kind(other)),
                "answers are a text with `;` between them, or a list of texts",
            ));
        }
    };
    let texts = texts.into_iter().map(str::trim);
    Ok(texts
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect())
}
