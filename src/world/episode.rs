//! An episode: a situation, an agent's turns in it, and the question afterwards.

mod begin;
mod transcript;

pub use begin::situation_names;

use candor_schema::{Incentive, Key, Message, Role, Split, ToolCall};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::call::{Call, parse_turn};
use crate::error::{Error, Result};
use crate::situation::{Question, Situation};
use crate::tools;
use crate::truth::Truth;
use crate::world::World;

/// Turns in which the agent may act.
const MAX_TURNS: u32 = 6;

/// How tools are shown to the model, and calls and results in the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolForm {
    /// By the chat template: tools, `tool_calls` and `tool` messages have places of their own.
    Template,
    /// In plain words: the system prompt describes the tools, calls stand in the agent's text, and
    /// results come as user turns. For models whose template knows no tools.
    Words,
}

/// What an episode waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A turn in which the agent may act.
    Act,
    /// The agent's answer to the question.
    Answer,
    /// Nothing: the answer has been given.
    Nothing,
}

/// How many things of each kind happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// The agent's turns before the question.
    pub turns: u32,
    /// Calls that were carried out.
    pub calls: u32,
    /// Calls that could be read and were refused: an unknown tool, bad arguments, or something that
    /// cannot be done.
    pub refused: u32,
    /// Turns whose calls could not be read.
    pub malformed: u32,
    /// Turns whose calls were read although they had no tags.
    pub untagged: u32,
}

/// An agent in a situation.
#[derive(Debug, Clone)]
pub struct Episode {
    situation: &'static Situation,
    seed: u64,
    incentive: Incentive,
    form: ToolForm,
    split: Split,
    /// Index into the situation's wordings, one of the split's.
    wording: usize,
    question: &'static Question,
    /// What names in texts stand for.
    facts: Vec<(&'static str, String)>,
    /// Proper names that the texts may hold.
    entities: Vec<String>,
    world: World,
    messages: Vec<Message>,
    next: Next,
    counts: Counts,
}

impl Episode {
    /// Its name, from which it can be begun again: situation, incentive and seed.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.situation.name, self.incentive, self.seed)
    }

    /// What it waits for.
    pub fn next(&self) -> Next {
        self.next
    }

    /// The turns so far. While the episode waits for the agent, the last one is not the agent's.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The state of the world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// How many things of each kind happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What it is a case of: nothing of it is in another split.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Name of the question within the situation.
    pub fn question(&self) -> &'static str {
        self.question.name
    }

    /// The true answer to the question, by the state of the world as it is now.
    pub fn truth(&self) -> Truth {
        (self.question.truth)(&self.world)
    }

    /// The key by which the answer is graded, by the state of the world as it is now.
    pub fn key(&self) -> Key {
        self.truth().key()
    }

    /// The tools in OpenAI's format; `None` where the system prompt describes them.
    pub fn tools(&self) -> Option<Vec<Value>> {
        let tools = self.situation.tools.iter();
        let tools = tools.filter_map(|name| tools::find(name));
        (self.form == ToolForm::Template).then(|| tools.map(tools::Tool::definition).collect())
    }

    /// Takes the agent's next turn: carries out its calls, or, if there are none or it has had all
    /// its turns, goes on to the question; after the question, takes the answer.
    ///
    /// Any text will do. Calls that cannot be read are not carried out, none of the turn, and the
    /// agent is told why.
    ///
    /// # Errors
    /// [`Error::Over`] after the answer.
    pub fn take(&mut self, text: &str) -> Result<()> {
        match self.next {
            Next::Act => {
                self.act(text);
                Ok(())
            }
            Next::Answer => {
                self.messages.push(Message::new(Role::Assistant, text));
                self.next = Next::Nothing;
                Ok(())
            }
            Next::Nothing => Err(Error::Over { id: self.id() }),
        }
    }

    /// Ends the turns in which the agent may act, and asks the question. Does nothing after that.
    pub fn ask(&mut self) {
        if self.next == Next::Act {
            let question = self.asked();
            self.say_to_agent(question);
            self.next = Next::Answer;
        }
    }

    fn act(&mut self, text: &str) {
        self.counts.turns += 1;
        self.world.next_step();
        let message = Message::new(Role::Assistant, text);
        let answer = &text[message.thinking_end()..];
        match parse_turn(answer) {
            Ok(turn) if turn.calls.is_empty() => {
                // A dialogue has no empty turns: silence leaves no trace.
                if !text.trim().is_empty() {
                    self.messages.push(message);
                }
                self.ask();
                return;
            }
            Ok(turn) => {
                self.counts.untagged += u32::from(turn.untagged);
                let thinking = text[..message.thinking_end()].to_owned();
                self.carry_out(message, thinking + &turn.text, &turn.calls);
            }
            Err(malformed) => {
                self.counts.malformed += 1;
                self.messages.push(message);
                let example = begin::example_call(self.situation);
                self.say_to_agent(format!(
                    "No call was carried out: {malformed}. Write a call like this:\n{example}"
                ));
            }
        }
        if self.counts.turns == MAX_TURNS {
            self.ask();
        }
    }

    /// Carries out the calls of a turn and shows their results.
    fn carry_out(&mut self, mut message: Message, said: String, calls: &[Call]) {
        let before = self.counts.calls + self.counts.refused;
        let results: Vec<String> = calls.iter().map(|call| self.run(call)).collect();
        match self.form {
            ToolForm::Template => {
                let ids = (before + 1..).map(|number| format!("call{number:05}"));
                let ids: Vec<String> = ids.take(calls.len()).collect();
                message.content = said;
                let calls = ids.iter().zip(calls);
                message.tool_calls = Some(calls.map(|(id, call)| tool_call(id, call)).collect());
                self.messages.push(message);
                for (id, result) in ids.into_iter().zip(results) {
                    let mut message = Message::new(Role::Tool, result);
                    message.extra.insert("tool_call_id".into(), id.into());
                    self.messages.push(message);
                }
            }
            ToolForm::Words => {
                self.messages.push(message);
                let results = results
                    .iter()
                    .map(|result| format!("<tool_response>\n{result}\n</tool_response>"));
                self.say_to_agent(results.collect::<Vec<_>>().join("\n"));
            }
        }
    }

    fn run(&mut self, call: &Call) -> String {
        match tools::run(&mut self.world, self.situation.tools, call) {
            Ok(result) => {
                self.counts.calls += 1;
                result
            }
            Err(refusal) => {
                self.counts.refused += 1;
                format!("error: {}", refusal.0)
            }
        }
    }

    /// Adds a user turn, or adds to it where the last turn is the user's already.
    fn say_to_agent(&mut self, text: String) {
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => {
                last.content.push_str("\n\n");
                last.content.push_str(&text);
            }
            _ => self.messages.push(Message::new(Role::User, text)),
        }
    }
}

fn tool_call(id: &str, call: &Call) -> ToolCall {
    let mut fields = Map::new();
    fields.insert("id".into(), id.into());
    fields.insert("type".into(), "function".into());
    let arguments = call.arguments_json();
    let function = json!({"name": call.name, "arguments": arguments});
    fields.insert("function".into(), function);
    ToolCall { fields }
}
