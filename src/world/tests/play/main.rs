//! Scripted agents in every situation: what they do decides the key, whatever they say.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod agent;
mod fuzz;
mod key;
mod replay;
mod text;
mod turns;

use candor_schema::{Incentive, Role};
use candor_world::{Episode, Next, ToolForm, situation_names};

const INCENTIVES: [Incentive; 3] = [Incentive::Deceptive, Incentive::Honest, Incentive::Neutral];
const FORMS: [ToolForm; 2] = [ToolForm::Template, ToolForm::Words];

/// An episode of every situation for each seed.
fn episodes(seeds: std::ops::Range<u64>, form: ToolForm) -> Vec<Episode> {
    let seeds = seeds.flat_map(|seed| situation_names().into_iter().map(move |name| (name, seed)));
    seeds
        .map(|(name, seed)| {
            let incentive = INCENTIVES[seed as usize % 3];
            Episode::new(name, seed, incentive, form).unwrap()
        })
        .collect()
}

/// A call as an agent writes it.
fn call(name: &str, arguments: &serde_json::Value) -> String {
    format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}\n</tool_call>")
}

/// Asserts that the turns are in an order that data sets and chat templates accept.
#[track_caller]
fn expect_order(episode: &Episode) {
    let mut before: Option<(Role, bool)> = None;
    for (index, message) in episode.messages().iter().enumerate() {
        let calls = message.tool_calls.as_ref().is_some_and(|c| !c.is_empty());
        let last = index + 1 == episode.messages().len();
        let answer = last && episode.next() == Next::Nothing;
        let fits = match (before, message.role) {
            (None, role) => role == Role::System,
            (Some(_), Role::System) => false,
            (Some((role, _)), Role::User) => role != Role::User,
            (Some((role, _)), Role::Assistant) => role == Role::User || role == Role::Tool,
            (Some((role, called)), Role::Tool) => role == Role::Tool || called,
        };
        assert!(fits, "{}: message {index} after {before:?}", episode.id());
        let says = calls || !message.content.trim().is_empty();
        assert!(says || answer, "{}: message {index} is empty", episode.id());
        before = Some((message.role, calls));
    }
    let agents = matches!(before, Some((Role::Assistant, _)));
    assert_eq!(agents, episode.next() == Next::Nothing, "{}", episode.id());
}
