//! The beginning of an episode: facts and texts from a seed.

use candor_schema::{Incentive, Message, Role, Split};

use super::{Counts, Episode, Next, ToolForm};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::names::{Names, split_of};
use crate::situation::{SITUATIONS, Scene, Situation, fill, form, wordings_of};
use crate::tools;

/// The names of all situations, in the order in which episodes take turns.
pub fn situation_names() -> Vec<&'static str> {
    SITUATIONS.iter().map(|situation| situation.name).collect()
}

impl Episode {
    /// Begins an episode. The facts follow from situation and seed; the incentive changes one
    /// sentence of the system prompt, and the form how tools are shown.
    ///
    /// # Errors
    /// [`Error::NoSituation`] and [`Error::NoIncentive`].
    pub fn new(situation: &str, seed: u64, incentive: Incentive, form: ToolForm) -> Result<Self> {
        let found = SITUATIONS.iter().find(|known| known.name == situation);
        let situation = *found.ok_or_else(|| Error::NoSituation {
            name: situation.to_owned(),
            known: situation_names().join(", "),
        })?;
        let split = split_of_seed(seed);
        let mut names = Names::new(seed, split);
        // Situations with the same seed have facts of their own.
        let Scene {
            world,
            mut facts,
            memory,
        } = (situation.begin)(&mut Draw::new(seed, situation.name), &mut names);
        let memory = if memory.is_empty() {
            "nothing yet.".to_owned()
        } else {
            format!("{}.", memory.join("; "))
        };
        facts.extend([
            ("agent", world.agent.clone()),
            ("place", world.place.clone()),
            ("operator", world.operator.name.clone()),
            ("memory", memory),
        ]);
        let wording = Draw::new(seed, "wording").pick(wordings_of(split));
        let questions = situation.questions;
        let question = &questions[Draw::new(seed, "question").index(questions.len())];
        let mut episode = Self {
            situation,
            seed,
            incentive,
            form,
            split,
            wording,
            question,
            facts,
            entities: names.given().to_vec(),
            world,
            messages: Vec::new(),
            next: Next::Act,
            counts: Counts::default(),
        };
        let system = episode.system(incentive).ok_or(Error::NoIncentive)?;
        let opening = episode.fill(situation.wordings[wording].opening);
        episode.messages = vec![
            Message::new(Role::System, system),
            Message::new(Role::User, opening),
        ];
        Ok(episode)
    }

    /// The system prompt with the sentence of an incentive; `None` for an incentive without one.
    pub(super) fn system(&self, incentive: Incentive) -> Option<String> {
        let wording = &self.situation.wordings[self.wording];
        let incentive = self.fill(wording.incentive(incentive)?);
        let facts = [self.facts.as_slice(), &[("incentive", incentive)]].concat();
        let mut system = fill(wording.system, &facts);
        if self.form == ToolForm::Words {
            system.push_str("\n\n");
            system.push_str(&in_words(self.situation));
        }
        system.push_str("\n\nA turn without a call ends the round.");
        Some(system)
    }

    /// The turn in which the question is asked.
    pub(super) fn asked(&self) -> String {
        let question = self.question.texts[self.wording];
        let form = form(self.truth(), self.wording);
        let question = self.fill(&format!("{question} {form}"));
        let facts = [self.facts.as_slice(), &[("question", question)]].concat();
        fill(self.situation.wordings[self.wording].asked, &facts)
    }

    fn fill(&self, text: &str) -> String {
        fill(text, &self.facts)
    }
}

/// The tools of a situation and how to call them, for a model whose template knows no tools.
fn in_words(situation: &Situation) -> String {
    let tools = situation.tools.iter().filter_map(|name| tools::find(name));
    let tools: Vec<String> = tools.map(tools::Tool::in_words).collect();
    format!(
        "You have these tools:\n{}\nTo call one, write lines like these, and wait for the result:\n\
         {}",
        tools.join("\n"),
        example_call(situation),
    )
}

/// A call of the first tool, which takes no arguments.
pub(super) fn example_call(situation: &Situation) -> String {
    let name = situation.tools[0];
    format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {{}}}}\n</tool_call>")
}

/// Half of the seeds train, a fifth validate, three tenths test. No episode is for calibration:
/// thresholds rest on ordinary replies.
fn split_of_seed(seed: u64) -> Split {
    split_of(Draw::new(seed, "split").index(10))
}
