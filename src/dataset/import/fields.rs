//! Typed access to the fields of a record, by the names that the user may have given them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Why a record gives no dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not what the format says it is: an error.
    Bad { what: String, hint: &'static str },
    /// It is well formed and of no use: counted under this reason.
    Unusable(String),
}

impl Refusal {
    pub(crate) fn bad(what: impl Into<String>, hint: &'static str) -> Self {
        let what = what.into();
        Self::Bad { what, hint }
    }

    pub(crate) fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }
}

/// The fields of one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Where the user says that a field stands: name → path.
    paths: &'a BTreeMap<String, String>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>, paths: &'a BTreeMap<String, String>) -> Self {
        Self { map, paths }
    }

    /// Every field as it stands in the file.
    pub(crate) fn all(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// Whether the user has said what this field of the file is.
    pub(crate) fn is_named(&self, path: &str) -> bool {
        self.paths.values().any(|given| given == path)
    }

    /// The value of a field; `None` where it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        let path = self.paths.get(name).map_or(name, String::as_str);
        at(self.map, path).filter(|value| !value.is_null())
    }

    /// A text, or a number or truth value written as one; `None` where it is absent or blank.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = word(value).ok_or_else(|| {
            Refusal::bad(
                format!("`{name}` is {} (expected a text)", kind(value)),
                "say where the text stands with `--field`",
            )
        })?;
        Ok((!text.trim().is_empty()).then_some(text))
    }

    /// As [`Fields::text`], and an error where there is none.
    pub(crate) fn required(&self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| {
            Refusal::bad(
                format!("`{name}` is missing or empty"),
                "check that `--from` names what the file is, or say where the field stands with `--field`",
            )
        })
    }

    /// A list; `None` where the field is absent.
    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a Vec<Value>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(Refusal::bad(
                format!("`{name}` is {} (expected a list)", kind(other)),
                "check that `--from` names what the file is",
            )),
        }
    }

    /// The fields of an object; `None` where it is absent.
    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(Refusal::bad(
                format!("`{name}` is {} (expected an object)", kind(other)),
                "check that `--from` names what the file is",
            )),
        }
    }
}

/// The value at a path: a field's name as it stands, or names and indices with dots between.
pub(crate) fn at<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.')
        .try_fold(map.get(first)?, |value, part| match value {
            Value::Object(map) => map.get(part),
            Value::Array(list) => list.get(part.parse::<usize>().ok()?),
            _ => None,
        })
}

/// A scalar as a word: `true`, `1`, `0.5`; 1.0 is 1. `None` for lists, objects and null.
pub(crate) fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
            Some(whole.map_or_else(|| number.to_string(), |n| format!("{n:.0}")))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_by_name_and_by_path() {
        let value =
            json!({"a.b": 1, "s": {"j": {"v": "C"}}, "l": [{"x": 2.0}], "n": null, "e": " "});
        let map = value.as_object().unwrap();
        let paths = BTreeMap::from([("label".to_owned(), "s.j.v".to_owned())]);
        let fields = Fields::new(map, &paths);
        let text = |name| fields.text(name).unwrap();
        assert_eq!(text("label").as_deref(), Some("C"));
        assert_eq!(text("a.b").as_deref(), Some("1"));
        assert_eq!(text("l.0.x").as_deref(), Some("2"));
        for absent in ["n", "e", "l.1.x", "l.x", "s.q", "q"] {
            assert_eq!(text(absent), None, "{absent}");
        }
        let refused = |refusal: Refusal| match refusal {
            Refusal::Bad { what, .. } => what,
            Refusal::Unusable(reason) => reason,
        };
        assert_eq!(
            refused(fields.text("s").unwrap_err()),
            "`s` is an object (expected a text)"
        );
        assert_eq!(
            refused(fields.required("e").unwrap_err()),
            "`e` is missing or empty"
        );
        assert_eq!(
            refused(fields.list("s").unwrap_err()),
            "`s` is an object (expected a list)"
        );
        assert_eq!(
            refused(fields.object("l").unwrap_err()),
            "`l` is a list (expected an object)"
        );
    }

    #[test]
    fn numbers_are_words() {
        for (value, expected) in [
            (json!(1.0), "1"),
            (json!(-0.5), "-0.5"),
            (json!(true), "true"),
            (
                json!(10_000_000_000_000_000_000_u64),
                "10000000000000000000",
            ),
        ] {
            assert_eq!(word(&value).as_deref(), Some(expected));
        }
    }
}
