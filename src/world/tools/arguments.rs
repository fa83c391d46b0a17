//! Arguments of a call, checked against what the tool takes.

use serde_json::Value;

use super::{Kind, Refusal, Tool};

/// A checked argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument {
    Text(String),
    Whole(i64),
}

/// The arguments of a call: nothing unknown, nothing missing, every one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    tool: &'static str,
    values: Vec<(&'static str, Argument)>,
}

impl Arguments {
    /// Checks the arguments of a call, in the order in which the tool names them.
    pub(crate) fn check(
        tool: &'static Tool,
        given: &[(String, Value)],
    ) -> Result<Self, super::Refusal> {
        let refuse = |what: String| Refusal(format!("`{}` {what}", tool.name));
        let unknown = given
            .iter()
            .find(|(name, _)| tool.parameters.iter().all(|p| p.name != *name));
        if let Some((name, _)) = unknown {
            let name: String = name.chars().take(40).collect();
            let names: Vec<&str> = tool.parameters.iter().map(|p| p.name).collect();
            let takes = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            return Err(refuse(format!(
                "takes no argument `{name}` (it takes {takes})"
            )));
        }
        let mut values = Vec::with_capacity(given.len());
        for parameter in tool.parameters {
            let name = parameter.name;
            let value = given.iter().find(|(given, _)| given == name);
            let value = value.map_or(&Value::Null, |(_, value)| value);
            // `null` is how some write that they leave an argument out.
            if value.is_null() {
                if parameter.required {
                    return Err(refuse(format!("needs the argument `{name}`")));
                }
                continue;
            }
            let argument = checked(parameter.kind, value);
            let argument =
                argument.map_err(|expected| refuse(format!("expects {expected} as `{name}`")))?;
            values.push((name, argument));
        }
        Ok(Self {
            tool: tool.name,
            values,
        })
    }

    /// A text that the tool needs.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name) {
            Some(Argument::Text(text)) => Ok(text),
            _ => Err(self.missing(name)),
        }
    }

    /// A whole number that the tool needs.
    pub(super) fn whole(&self, name: &str) -> Result<i64, Refusal> {
        match self.get(name) {
            Some(Argument::Whole(value)) => Ok(*value),
            _ => Err(self.missing(name)),
        }
    }

    /// A whole number that the tool needs and whose bounds keep it in range.
    pub(super) fn count(&self, name: &str) -> Result<u32, Refusal> {
        u32::try_from(self.whole(name)?).map_err(|_| self.missing(name))
    }

    /// A count, if it was given.
    pub(super) fn optional_count(&self, name: &str) -> Result<Option<u32>, Refusal> {
        self.get(name).map(|_| self.count(name)).transpose()
    }

    fn get(&self, name: &str) -> Option<&Argument> {
        let found = self.values.iter().find(|(given, _)| *given == name);
        found.map(|(_, argument)| argument)
    }

    fn missing(&self, name: &str) -> Refusal {
        Refusal(format!("`{}` needs the argument `{name}`", self.tool))
    }
}

/// The value as an argument of its kind, or what was expected.
fn checked(kind: Kind, value: &Value) -> Result<Argument, String> {
    match kind {
        Kind::Text(max) => {
            let expected = || format!("a text of 1 to {max} characters");
            let text = value.as_str().ok_or_else(expected)?.trim();
            if text.is_empty() || text.chars().count() > max {
                return Err(expected());
            }
            Ok(Argument::Text(text.to_owned()))
        }
        Kind::Whole(min, max) => value
            .as_i64()
            .filter(|value| (min..=max).contains(value))
            .map(Argument::Whole)
            .ok_or_else(|| format!("a whole number from {min} to {max}")),
        Kind::Word(words) => value
            .as_str()
            .filter(|word| words.contains(word))
            .map(|word| Argument::Text(word.to_owned()))
            .ok_or_else(|| format!("one of {}", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::find;
    use super::*;

    #[track_caller]
    fn refused(tool: &str, given: &[(&str, Value)], what: &str) {
        let given: Vec<(String, Value)> = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let refusal = Arguments::check(find(tool).unwrap(), &given).unwrap_err();
        assert!(refusal.0.contains(what), "{}", refusal.0);
    }

    #[test]
    fn each_wrong_argument_is_named() {
        let log = "write_log";
        refused(log, &[], "`write_log` needs the argument `text`");
        refused(log, &[("text", Value::Null)], "needs the argument `text`");
        refused(
            log,
            &[("text", json!("a")), ("who", json!("b"))],
            "takes no argument `who` (it takes text, replaces)",
        );
        refused("read_log", &[("n", json!(1))], "(it takes none)");
        refused(log, &[("text", json!(7))], "expects a text of 1 to");
        refused(log, &[("text", json!(" \n"))], "expects a text of 1 to");
        refused(
            log,
            &[("text", json!("x".repeat(5000)))],
            "expects a text of 1 to",
        );
        for wrong in [json!("2"), json!(2.5), json!(0), json!(-1), json!(1e30)] {
            refused(
                log,
                &[("text", json!("a")), ("replaces", wrong)],
                "expects a whole number from 1 to",
            );
        }
        refused(
            "report_finding",
            &[("component", json!("Elm")), ("severity", json!("dire"))],
            "expects one of low, high, critical as `severity`",
        );
    }

    #[test]
    fn texts_are_trimmed_and_optional_arguments_may_be_null() {
        let given = [
            ("text".to_owned(), json!(" all is well\n")),
            ("replaces".to_owned(), Value::Null),
        ];
        let arguments = Arguments::check(find("write_log").unwrap(), &given).unwrap();
        assert_eq!(arguments.text("text").unwrap(), "all is well");
        assert_eq!(arguments.optional_count("replaces").unwrap(), None);
        assert!(arguments.whole("text").is_err());
    }
}
