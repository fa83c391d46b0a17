//! Tools: what an agent can do, how it is described, and what it does to the world.

#![expect(
    clippy::unnecessary_wraps,
    reason = "tools have one form, those that never refuse among them"
)]

mod access;
mod arguments;
mod ledger;
mod log;
mod machine;
mod notice;
mod people;
mod quiz;
mod scan;
mod ward;

pub(crate) use arguments::Arguments;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::world::World;

/// Every tool, by what it is about.
const TOOLS: &[&[Tool]] = &[
    access::TOOLS,
    ledger::TOOLS,
    log::TOOLS,
    machine::TOOLS,
    notice::TOOLS,
    people::TOOLS,
    quiz::TOOLS,
    scan::TOOLS,
    ward::TOOLS,
];

/// What a tool says: its result, or why nothing was done.
pub(crate) type Outcome = Result<String, Refusal>;

/// Why a call was not carried out, in words for the agent. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

/// Something that an agent can do.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// Changes the world and records the deed, or refuses and changes nothing.
    pub(crate) run: fn(&mut World, &Arguments) -> Outcome,
}

/// An argument that a tool takes.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text that is not blank, of at most this many characters.
    Text(usize),
    /// A whole number within bounds.
    Whole(i64, i64),
    /// One of some words.
    Word(&'static [&'static str]),
}

impl Parameter {
    /// An argument that must be there.
    const fn needed(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            description,
            kind,
            required: true,
        }
    }

    /// An argument that may be left out.
    const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            description,
            kind,
            required: false,
        }
    }

    fn schema(&self) -> Value {
        match self.kind {
            Kind::Text(max) => {
                json!({"type": "string", "description": self.description, "maxLength": max})
            }
            Kind::Whole(min, max) => json!({
                "type": "integer", "description": self.description, "minimum": min, "maximum": max,
            }),
            Kind::Word(words) => {
                json!({"type": "string", "description": self.description, "enum": words})
            }
        }
    }
}

impl Tool {
    /// The tool in OpenAI's format, its parameters as a JSON schema.
    pub(crate) fn definition(&self) -> Value {
        let parameters = self.parameters.iter();
        let properties: Map<String, Value> = parameters
            .map(|parameter| (parameter.name.to_owned(), parameter.schema()))
            .collect();
        let required = self.parameters.iter().filter(|p| p.required);
        let required: Vec<&str> = required.map(|parameter| parameter.name).collect();
        json!({"type": "function", "function": {
            "name": self.name,
            "description": self.description,
            "parameters": {"type": "object", "properties": properties, "required": required},
        }})
    }

    /// The tool in one line of plain words.
    pub(crate) fn in_words(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| {
            let kind = match parameter.kind {
                Kind::Text(_) => "text".to_owned(),
                Kind::Whole(..) => "whole number".to_owned(),
                Kind::Word(words) => words.join(" or "),
            };
            let optional = if parameter.required { "" } else { ", optional" };
            format!("{} ({kind}{optional})", parameter.name)
        });
        let parameters: Vec<String> = parameters.collect();
        let takes = if parameters.is_empty() {
            "no arguments".to_owned()
        } else {
            parameters.join(", ")
        };
        format!("- {}: {} Arguments: {takes}.", self.name, self.description)
    }
}

/// The tool with this name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().copied().flatten().find(|t| t.name == name)
}

/// Carries out a call of one of the tools offered.
pub(crate) fn run(world: &mut World, offered: &[&str], call: &Call) -> Outcome {
    let tool = offered.iter().find(|name| **name == call.name);
    let Some(tool) = tool.and_then(|name| find(name)) else {
        let name: String = call.name.chars().take(40).collect();
        let known = offered.join(", ");
        return Err(Refusal(format!(
            "there is no tool `{name}`; there are {known}"
        )));
    };
    let arguments = Arguments::check(tool, &call.arguments)?;
    (tool.run)(world, &arguments)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<&'static Tool> {
        TOOLS.iter().copied().flatten().collect()
    }

    #[test]
    fn every_tool_has_its_own_name_and_says_what_it_does() {
        let names: BTreeSet<&str> = all().iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), all().len());
        for tool in all() {
            assert!(tool.description.ends_with('.'), "{}", tool.name);
            for parameter in tool.parameters {
                assert!(parameter.description.ends_with('.'), "{}", tool.name);
            }
        }
    }

    #[test]
    fn a_definition_is_a_json_schema() {
        let tool = find("write_log").unwrap();
        let definition = tool.definition();
        let function = &definition["function"];
        assert_eq!(
            (&definition["type"], &function["name"]),
            (&"function".into(), &"write_log".into())
        );
        let parameters = &function["parameters"];
        assert_eq!(parameters["required"], json!(["text"]));
        assert_eq!(parameters["properties"]["text"]["type"], "string");
        assert_eq!(parameters["properties"]["replaces"]["minimum"], 1);
    }

    #[test]
    fn words_name_every_argument() {
        let words = find("write_log").unwrap().in_words();
        assert!(words.contains("text (text)"), "{words}");
        assert!(
            words.contains("replaces (whole number, optional)"),
            "{words}"
        );
        let words = find("read_log").unwrap().in_words();
        assert!(words.ends_with("Arguments: no arguments."), "{words}");
    }
}
