//! Rivals from files: scores that anything else gave to the same replies.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use candor_probe::Bundle;
use candor_schema::DetectorKind;

use super::{Data, Measured};
use crate::exit::{Exit, Failure};
use crate::replies::Reply;

/// `--rival NAME=FILE`.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    name: String,
    path: PathBuf,
}

/// Parses `--rival`.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => Ok(Named {
            name: name.trim().to_owned(),
            path: path.into(),
        }),
        _ => Err("write a name and a file, like `judge=scores.jsonl`".to_owned()),
    }
}

/// What one rival says.
#[derive(Debug)]
pub(crate) struct Rival {
    name: String,
    description: String,
    scores: HashMap<String, f64>,
}

/// Reads the files of all rivals.
pub(crate) fn open(rivals: &[Named]) -> anyhow::Result<Vec<Rival>> {
    let mut open: Vec<Rival> = Vec::new();
    for Named { name, path } in rivals {
        if open.iter().any(|other| other.name == *name) {
            return Err(Failure::error(
                Exit::Usage,
                format!("two rivals are named `{name}`"),
                "give each `--rival` a name of its own",
            ));
        }
        let scores = candor_dataset::read_scores(path)?;
        let models: BTreeSet<&str> = scores.iter().filter_map(|s| s.model.as_deref()).collect();
        let by: Vec<&str> = models.into_iter().collect();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let description = match by.as_slice() {
            [] => format!("scores from `{file}`; nothing is fitted here"),
            by => format!(
                "scores that {} gave, from `{file}`; nothing is fitted here",
                by.join(", ")
            ),
        };
        open.push(Rival {
            name: name.clone(),
            description,
            scores: scores
                .into_iter()
                .map(|score| (score.id, score.score))
                .collect(),
        });
    }
    Ok(open)
}

/// A row for each rival.
pub(super) fn rows(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Vec<Measured>> {
    let rivals = data.beside.rivals.iter();
    rivals.map(|rival| row(data, rival)).collect()
}

fn row(data: &Data<'_>, rival: &Rival) -> anyhow::Result<Measured> {
    let logits = rival.of(&data.split, &format!("replies of the {} split", data.name))?;
    // Without controls there is no threshold, and with some of them there is one for another traffic.
    let both = || data.calibration.iter().chain(&data.test_controls);
    let scored = both().any(|reply| rival.scores.contains_key(&reply.dialogue.id));
    let controls = |replies: &[&Reply]| {
        if scored {
            rival.of(replies, "ordinary replies, of which it has some")
        } else {
            Ok(Vec::new())
        }
    };
    data.measured(
        &rival.name,
        DetectorKind::Rival,
        &rival.description,
        &logits,
        &controls(&data.calibration)?,
        &controls(&data.test_controls)?,
    )
}

impl Rival {
    /// Its scores of these replies: of all of them, or it is an error.
    fn of(&self, replies: &[&Reply], what: &str) -> anyhow::Result<Vec<f64>> {
        let score = |reply: &&Reply| self.scores.get(&reply.dialogue.id).copied();
        let missing: Vec<&&Reply> = replies.iter().filter(|r| score(r).is_none()).collect();
        if let Some(first) = missing.first() {
            return Err(Failure::error(
                Exit::BadInput,
                format!(
                    "rival `{}` has no score for {} of {} {what}, among them `{}`",
                    self.name,
                    missing.len(),
                    replies.len(),
                    first.dialogue.id
                ),
                "score every reply of the split; of ordinary replies all or none, and without them there is no threshold",
            ));
        }
        Ok(replies.iter().filter_map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_has_a_name_and_a_file() {
        let rival = named(" judge =out/a=b.jsonl").unwrap();
        assert_eq!(rival.name, "judge");
        assert_eq!(rival.path, PathBuf::from("out/a=b.jsonl"));
        for text in ["scores.jsonl", "=scores.jsonl", " =x", "judge=", ""] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
