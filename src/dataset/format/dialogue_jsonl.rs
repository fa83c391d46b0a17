//! One [`Dialogue`] as JSON per line.

use std::io::{BufRead, Write};
use std::path::Path;

use candor_schema::{Dialogue, FormatVersion};
use serde::Deserialize;

use crate::LineProblem;
use crate::dataset::file_problem;
use crate::format::{Format, Reading};
use crate::json_error::message;
use crate::lines::{Line, next_line};

/// Longest line that is read, in bytes. A dialogue of 100,000 tokens fits several times.
const MAX_LINE: usize = 4 << 20;

/// The format of `datasets/*/*.jsonl`.
#[derive(Debug)]
pub(crate) struct DialogueJsonl;

impl Format for DialogueJsonl {
    fn extensions(&self) -> &'static [&'static str] {
        &["jsonl"]
    }

    fn read(
        &self,
        path: &Path,
        reader: &mut dyn BufRead,
        reading: &mut Reading,
    ) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let (mut line, mut n_written) = (0, 0_usize);
        while let Some(found) = next_line(reader, &mut bytes, MAX_LINE)? {
            line += 1;
            let place = Place { path, line };
            let text = match found {
                Line::Text(text) => text,
                Line::TooLong => {
                    n_written += 1;
                    reading.problems.push(place.problem(
                        0,
                        format!("line is longer than {MAX_LINE} bytes"),
                        "split the dialogue, or drop what is not part of it",
                    ));
                    continue;
                }
                Line::NotUtf8 { byte, column } => {
                    n_written += 1;
                    reading.problems.push(place.problem(
                        column,
                        format!("byte 0x{byte:02x} is not UTF-8"),
                        "save the file as UTF-8",
                    ));
                    continue;
                }
            };
            if text.trim().is_empty() {
                continue;
            }
            n_written += 1;
            match parse(&place, text) {
                Ok(dialogue) => accept(&place, dialogue, reading),
                Err(Rejection::Line(problem)) => reading.problems.push(problem),
                Err(Rejection::File(problem)) => {
                    // A newer format: every further line would only repeat the problem. What is
                    // left is still read, so that the hash covers the whole file.
                    reading.problems.push(problem);
                    return std::io::copy(reader, &mut std::io::sink()).map(|_| ());
                }
            }
        }
        if n_written == 0 {
            reading.problems.push(file_problem(
                path,
                "the file holds no dialogue",
                "write one JSON dialogue per line",
            ));
        }
        Ok(())
    }

    fn write(&self, dialogues: &[Dialogue], writer: &mut dyn Write) -> std::io::Result<()> {
        for dialogue in dialogues {
            serde_json::to_writer(&mut *writer, dialogue)?;
            writer.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Why a line was not taken.
enum Rejection {
    /// This line is bad.
    Line(LineProblem),
    /// This line shows that the whole file cannot be read.
    File(LineProblem),
}

/// Where a problem is.
struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl Place<'_> {
    fn problem(&self, column: usize, what: String, hint: &'static str) -> LineProblem {
        LineProblem {
            path: self.path.to_owned(),
            line: self.line,
            column,
            what,
            hint,
        }
    }
}

/// The one field that is read before all others: a newer format may have changed the rest.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    format_version: FormatVersion,
}

fn parse(place: &Place<'_>, text: &str) -> Result<Dialogue, Rejection> {
    if text.starts_with('\u{feff}') {
        return Err(Rejection::Line(place.problem(
            1,
            String::from("starts with a byte order mark"),
            "save the file as UTF-8 without a byte order mark",
        )));
    }
    if let Ok(Versioned { format_version }) = serde_json::from_str(text) {
        format_version.accept("dialogue").map_err(|error| {
            Rejection::File(place.problem(
                column_of(text, "\"format_version\""),
                error.to_string(),
                error.hint(),
            ))
        })?;
    }
    let dialogue: Dialogue = serde_json::from_str(text).map_err(|error| {
        let column = text
            .get(..error.column())
            .map_or(error.column(), |before| before.chars().count());
        Rejection::Line(place.problem(column.max(1), message(&error), hint(&error)))
    })?;
    for (field, value) in [("id", &dialogue.id), ("scenario", &dialogue.scenario)] {
        if value.trim().is_empty() {
            let what = format!("`{field}` is empty (expected a name)");
            let column = column_of(text, &format!("\"{field}\""));
            return Err(Rejection::Line(place.problem(
                column,
                what,
                "name every dialogue and its scenario",
            )));
        }
    }
    Ok(dialogue)
}

fn accept(place: &Place<'_>, dialogue: Dialogue, reading: &mut Reading) {
    if let Some((path, line)) = reading.ids.get(&dialogue.id) {
        let what = format!(
            "id `{}` is already used at {}:{line}",
            dialogue.id,
            path.display()
        );
        let problem = place.problem(1, what, "give every dialogue of a data set its own id");
        reading.problems.push(problem);
        return;
    }
    let first = (place.path.to_owned(), place.line);
    reading.ids.insert(dialogue.id.clone(), first);
    reading.dialogues.push(dialogue);
}

fn hint(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    let text = error.to_string();
    match error.classify() {
        Category::Eof => {
            "write a whole JSON object on one line: line breaks inside it are not allowed"
        }
        Category::Syntax | Category::Io => {
            "each line must be one JSON object: check quotes, commas and brackets"
        }
        Category::Data if text.starts_with("missing field") => {
            "required: id, scenario, family, messages, label, origin, split, licence, source"
        }
        Category::Data if text.starts_with("unknown variant") => "use one of the listed words",
        Category::Data => "see the dialogue format in DESIGN.md §4.1",
    }
}

/// The character, from 1, at which a field's name stands; 1 where it does not.
fn column_of(text: &str, field: &str) -> usize {
    text.find(field)
        .map_or(1, |index| text[..index].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::example::dialogue;

    fn read(bytes: &[u8]) -> Reading {
        let mut reading = Reading::default();
        let mut reader = bytes;
        DialogueJsonl
            .read(Path::new("d.jsonl"), &mut reader, &mut reading)
            .unwrap();
        reading
    }

    fn line(id: &str) -> String {
        serde_json::to_string(&dialogue(id)).unwrap()
    }

    fn check(bytes: &[u8], expected: &str) {
        let reading = read(bytes);
        let shown: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        assert!(
            shown.len() == 1 && shown[0].contains(expected),
            "expected {expected:?}, found {shown:?}"
        );
        assert!(!reading.problems[0].hint.is_empty());
    }

    #[test]
    fn a_bad_line_is_reported_with_its_place() {
        check(b"{\"id\": \"a\",}", "d.jsonl:1:12: trailing comma");
        check(
            b"\n\n  {\"id\": 7}",
            "d.jsonl:3:10: invalid type: integer `7`, expected a string",
        );
        check(b"[]", "d.jsonl:1:");
        check(b"{\"id\": \"a\"", "EOF");
        check(b"{\"id\": \"a\", \"id\": \"b\"}", "duplicate field `id`");
        check(b"{} {}", "d.jsonl:1:2: missing field `id`");
        let two = format!("{} {}", line("a"), line("b"));
        check(two.as_bytes(), "trailing characters");
    }

    #[test]
    fn columns_count_characters() {
        let text = "{\"family\": \"谎言谎言\", \"id\": 7}";
        check(text.as_bytes(), "d.jsonl:1:26: invalid type");
    }

    #[test]
    fn unknown_words_are_answered_with_the_known_ones() {
        let text = line("a").replace("\"honest\"", "\"truthful\"");
        check(
            text.as_bytes(),
            "unknown variant `truthful`, expected one of `honest`, `deceptive`",
        );
    }

    #[test]
    fn missing_and_empty_fields_are_refused() {
        check(
            line("a").replace("\"scenario\"", "\"scenery\"").as_bytes(),
            "missing field `scenario`",
        );
        check(line(" ").as_bytes(), "d.jsonl:1:25: `id` is empty");
    }

    #[test]
    fn a_file_without_dialogues_is_refused() {
        check(b"", "d.jsonl: the file holds no dialogue");
        check(b"\n \r\n\n", "d.jsonl: the file holds no dialogue");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        check(
            b"{\"id\": \"\xff\"}\n",
            "d.jsonl:1:9: byte 0xff is not UTF-8",
        );
        check("\u{feff}{}".as_bytes(), "byte order mark");
    }

    #[test]
    fn an_endless_line_is_refused_and_the_next_one_read() {
        let mut bytes = vec![b' '; MAX_LINE + 10];
        bytes.push(b'\n');
        bytes.extend(line("b").bytes());
        check(&bytes, "d.jsonl:1: line is longer than 4194304 bytes");
        assert_eq!(read(&bytes).dialogues.len(), 1);
        let exact = format!("{}{}\n", line("a"), " ".repeat(MAX_LINE - line("a").len()));
        assert_eq!(read(exact.as_bytes()).problems, []);
    }

    #[test]
    fn a_deeply_nested_line_does_not_overflow_the_stack() {
        let mut bytes = b"{\"x\": ".to_vec();
        bytes.extend(vec![b'['; 100_000]);
        check(&bytes, "recursion limit exceeded");
    }

    #[test]
    fn a_newer_major_is_refused_and_a_newer_minor_read() {
        let newer = line("a").replace("\"1.0\"", "\"2.0\"");
        check(
            format!("{newer}\n{newer}\n").as_bytes(),
            "d.jsonl:1:2: dialogue has format version 2.0, but this candor reads up to 1.0",
        );
        let minor = line("a").replace("\"1.0\"", "\"1.9\"");
        assert_eq!(read(minor.as_bytes()).problems, []);
        check(line("a").replace("\"1.0\"", "1").as_bytes(), "d.jsonl:1:");
    }

    #[test]
    fn all_bad_lines_are_collected_and_good_ones_kept() {
        let text = format!("x\n{}\ny\n{}\n{}\n", line("a"), line("b"), line("a"));
        let reading = read(text.as_bytes());
        let lines: Vec<usize> = reading
            .problems
            .iter()
            .map(|problem| problem.line)
            .collect();
        assert_eq!(lines, [1, 3, 5]);
        assert_eq!(reading.dialogues.len(), 2);
        assert!(
            reading.problems[2]
                .what
                .contains("already used at d.jsonl:2")
        );
    }

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let text = line("a").replacen('{', "{\"reviewed_by\":[\"R\",{\"n\":2}],", 1);
        let reading = read(text.as_bytes());
        let mut bytes = Vec::new();
        DialogueJsonl.write(&reading.dialogues, &mut bytes).unwrap();
        assert_eq!(reading.dialogues[0].extra["reviewed_by"][1]["n"], 2);
        assert_eq!(read(&bytes).dialogues, reading.dialogues);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(id in "\\S.{0,8}", text in any::<String>(), language in any::<Option<String>>()) {
            let mut written = dialogue(&id);
            written.language = language;
            written.messages[1].content = text;
            let mut bytes = Vec::new();
            DialogueJsonl.write(std::slice::from_ref(&written), &mut bytes).unwrap();
            prop_assert_eq!(read(&bytes).dialogues, vec![written]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let reading = read(&bytes);
            prop_assert!(!reading.problems.is_empty());
        }
    }
}
