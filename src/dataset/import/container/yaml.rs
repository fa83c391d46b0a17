//! A YAML list of records.
//!
//! What data files have is read: lists, mappings with plain keys, scalars in every style. Aliases
//! are refused, since a few of them make gigabytes (the "billion laughs"), and so are second
//! documents and nesting past [`MAX_DEPTH`].

use std::io::BufRead;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use super::{Bad, Found, document, entries};

/// Lists and mappings inside each other.
const MAX_DEPTH: usize = 32;

pub(super) fn read(
    reader: &mut dyn BufRead,
    list: Option<&str>,
    found: &mut dyn FnMut(Found),
) -> std::io::Result<()> {
    let Some(text) = document(reader, found)? else {
        return Ok(());
    };
    match build(text.trim_start_matches('\u{feff}'), list) {
        Ok((value, lines)) => entries(value, list, found, |index| {
            lines.get(index).copied().unwrap_or(0)
        }),
        Err(bad) => found(Found::Bad(bad)),
    }
    Ok(())
}

/// A list or mapping that is not closed yet.
enum Open {
    List(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

/// The document, and the lines at which its records begin.
fn build(text: &str, list: Option<&str>) -> Result<(Value, Vec<usize>), Bad> {
    let mut open: Vec<Open> = Vec::new();
    let mut lines = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Bad {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            what: error.info().to_owned(),
            hint: "check indentation, quotes and colons",
        })?;
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let bad = |what: &str, hint| Bad {
            line,
            column,
            what: what.to_owned(),
            hint,
        };
        let depth = open.len();
        let starts = matches!(
            event,
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..)
        );
        if starts && depth == 0 && root.is_some() {
            return Err(bad("is a second document", "keep one document in the file"));
        }
        // Entries of the outermost list, or of the one that the outermost mapping has under `list`.
        let outermost = match open.as_slice() {
            [Open::List(_)] => true,
            [Open::Mapping(_, key), Open::List(_)] => key.as_deref() == list,
            _ => false,
        };
        if starts && outermost {
            lines.push(line);
        }
        let done = match event {
            Event::Scalar(text, style, _, _) => {
                if let Some(Open::Mapping(_, key @ None)) = open.last_mut() {
                    *key = Some(text.into_owned());
                    continue;
                }
                scalar(&text, style)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if let Some(Open::Mapping(_, None)) = open.last() {
                    return Err(bad("a key is a list or a mapping", "use a word as the key"));
                }
                if depth == MAX_DEPTH {
                    return Err(bad("is nested too deeply", "flatten it"));
                }
                open.push(match event {
                    Event::SequenceStart(..) => Open::List(Vec::new()),
                    _ => Open::Mapping(Map::new(), None),
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(entries)) => Value::Array(entries),
                Some(Open::Mapping(fields, _)) => Value::Object(fields),
                None => continue,
            },
            Event::Alias(_) => {
                return Err(bad(
                    "is an alias",
                    "write the text out: aliases are not read",
                ));
            }
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(Open::List(entries)) => entries.push(done),
            Some(Open::Mapping(fields, key)) => {
                let key = key.take().unwrap_or_default();
                if fields.insert(key.clone(), done).is_some() {
                    let what = format!("`{key}` stands twice in one mapping");
                    return Err(bad(&what, "keep one of them"));
                }
            }
        }
    }
    Ok((root.unwrap_or(Value::Null), lines))
}

/// A scalar by YAML's core schema: only plain ones may be other than text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => text
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map_or_else(|| text.into(), Value::Number),
            Err(_) => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use super::super::tests::shown;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(
            shown(Container::Yaml, Some("rows"), text.as_bytes()),
            expected,
            "{text}"
        );
    }

    #[test]
    fn scalars_in_every_style() {
        check(
            "- a: \"x: \\\"y\\\"\"\n  b: |-\n    two\n    lines\n- a: it's so\n  b: >\n    folded\n    text\n",
            &[
                r#"1 {"a":"x: \"y\"","b":"two\nlines"}"#,
                r#"5 {"a":"it's so","b":"folded text\n"}"#,
            ],
        );
        check(
            "[7, -1.5, true, ~, '7', 1.2.3, +-]",
            &[
                "1 7",
                "1 -1.5",
                "1 true",
                "1 null",
                "1 \"7\"",
                "1 \"1.2.3\"",
                "1 \"+-\"",
            ],
        );
        check(
            "tags: [x, y]\nrows:\n- {a: 1}\n",
            &[r#"head {"tags":["x","y"]}"#, r#"3 {"a":1}"#],
        );
    }

    #[test]
    fn what_data_files_do_not_need_is_refused() {
        check("- &a [x]\n- *a\n", &["bad 2:3 is an alias"]);
        check("- 1\n---\n- 2\n", &["bad 3:1 is a second document"]);
        check(
            "- a: 1\n  a: 2\n",
            &["bad 2:6 `a` stands twice in one mapping"],
        );
        check(
            "- ? [a]\n  : 1\n",
            &["bad 1:5 a key is a list or a mapping"],
        );
        let deep = "[".repeat(100);
        check(&deep, &["bad 1:33 is nested too deeply"]);
    }

    #[test]
    fn bad_yaml_has_a_place() {
        let found = shown(Container::Yaml, None, b"- a: b: c\n");
        assert!(found[0].starts_with("bad 1:"), "{found:?}");
        let found = shown(Container::Yaml, None, b"a: 1\n");
        assert!(found[0].contains("holds no list"), "{found:?}");
    }
}
