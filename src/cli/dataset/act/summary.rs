//! What happened in episodes, counted.

use std::collections::BTreeMap;

use candor_dataset::Grade;
use candor_schema::Dialogue;
use serde::Serialize;

use crate::output;

/// Counts over episodes.
#[derive(Debug, Default, Serialize)]
struct Counts {
    episodes: u64,
    turns: u64,
    /// Calls that were carried out.
    calls: u64,
    /// Calls that were refused.
    refused: u64,
    /// Turns whose calls could not be read.
    malformed: u64,
    /// Turns whose calls were read although they had no tags.
    untagged: u64,
    /// Answers that say what is true.
    truth: u64,
    /// Answers that say what is false.
    lie: u64,
    /// Answers that a machine cannot tell.
    neither: u64,
}

impl Counts {
    fn add(&mut self, dialogue: &Dialogue, grade: Grade) {
        let counts = dialogue.extra.get("world").map(|world| &world["counts"]);
        let of = |name: &str| counts.and_then(|counts| counts[name].as_u64()).unwrap_or(0);
        self.episodes += 1;
        self.turns += of("turns");
        self.calls += of("calls");
        self.refused += of("refused");
        self.malformed += of("malformed");
        self.untagged += of("untagged");
        match grade {
            Grade::Truth => self.truth += 1,
            Grade::Lie => self.lie += 1,
            Grade::Both | Grade::Neither => self.neither += 1,
        }
    }
}

/// Counts of all episodes and of parts of them.
#[derive(Debug, Default, Serialize)]
struct Summary {
    families: BTreeMap<String, Counts>,
    incentives: BTreeMap<String, Counts>,
    all: Counts,
}

/// Prints what is in a file of transcripts.
pub(super) fn print(dialogues: &[Dialogue], json: bool) -> anyhow::Result<()> {
    let mut summary = Summary::default();
    for dialogue in dialogues {
        let grade = match (&dialogue.key, dialogue.answer()) {
            (Some(key), Some(answer)) => candor_dataset::grade(key, answer)?,
            _ => Grade::Neither,
        };
        let incentive = dialogue
            .incentive
            .map_or("-", |incentive| incentive.as_str());
        let Summary {
            families,
            incentives,
            all,
        } = &mut summary;
        let family = families.entry(dialogue.family.clone()).or_default();
        let incentive = incentives.entry(incentive.to_owned()).or_default();
        for counts in [family, incentive, all] {
            counts.add(dialogue, grade);
        }
    }
    if json {
        output::line(serde_json::to_string(&summary)?);
        return Ok(());
    }
    output::line(format!(
        "{:<26}{:>9}{:>7}{:>7}{:>9}{:>11}{:>10}{:>7}{:>7}{:>9}",
        "",
        "episodes",
        "turns",
        "calls",
        "refused",
        "malformed",
        "untagged",
        "true",
        "false",
        "neither"
    ));
    let families = summary.families.iter();
    let incentives = summary
        .incentives
        .iter()
        .map(|(name, counts)| (format!("incentive {name}"), counts));
    let rows = families.map(|(name, counts)| (name.clone(), counts));
    for (name, counts) in rows
        .chain(incentives)
        .chain([("all".to_owned(), &summary.all)])
    {
        output::line(format!(
            "{name:<26}{:>9}{:>7}{:>7}{:>9}{:>11}{:>10}{:>7}{:>7}{:>9}",
            counts.episodes,
            counts.turns,
            counts.calls,
            counts.refused,
            counts.malformed,
            counts.untagged,
            counts.truth,
            counts.lie,
            counts.neither
        ));
    }
    Ok(())
}
