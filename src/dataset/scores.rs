//! Scores that anything gave to the replies of a data set: `{"id": …, "score": …}`, one per line.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candor_schema::FormatVersion;
use serde::{Deserialize, Serialize};

use crate::dataset::{file_problem, write_whole};
use crate::json_error::message;
use crate::lines::{Line, next_line};
use crate::{Error, LineProblem};

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 1 << 16;

/// What something says about one reply. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Version of the format.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// The dialogue whose reply it is about.
    pub id: String,
    /// Finite; higher means "more deceptive".
    pub score: f64,
    /// The model that judged, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Probability that this model gave to an answer of the form that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<f64>,
}

/// Reads every score of a file.
///
/// # Errors
/// [`Error::BadLines`] with every line that is no score, has a number that is not finite or an id
/// that an earlier line has; [`Error::Read`].
pub fn read_scores(path: &Path) -> Result<Vec<Score>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut scores, mut problems) = (Vec::new(), Vec::new());
    let mut lines: HashMap<String, usize> = HashMap::new();
    let (mut bytes, mut line) = (Vec::new(), 0);
    while let Some(found) = next_line(&mut reader, &mut bytes, MAX_LINE).map_err(failed)? {
        line += 1;
        let mut refuse = |column: usize, what: String, hint: &'static str| {
            problems.push(LineProblem {
                path: path.to_owned(),
                line,
                column,
                what,
                hint,
            });
        };
        let text = match found {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => text,
            Line::TooLong => {
                let what = format!("line is longer than {MAX_LINE} bytes");
                refuse(0, what, "write only `id` and `score`");
                continue;
            }
            Line::NotUtf8 { byte, column } => {
                let what = format!("byte 0x{byte:02x} is not UTF-8");
                refuse(column, what, "save the file as UTF-8");
                continue;
            }
        };
        let score: Score = match serde_json::from_str(text) {
            Ok(score) => score,
            Err(error) => {
                refuse(
                    error.column().max(1),
                    message(&error),
                    "write {\"id\": \"the dialogue's id\", \"score\": a finite number} on each line",
                );
                continue;
            }
        };
        if let Err(error) = score.format_version.accept("score") {
            refuse(0, error.to_string(), error.hint());
        } else if !score.score.is_finite() {
            let what = format!("score {} is not finite", score.score);
            refuse(0, what, "leave out no dialogue: score it again");
        } else if let Some(first) = lines.get(&score.id) {
            let what = format!("id `{}` has a score in line {first} already", score.id);
            refuse(0, what, "give every dialogue one score");
        } else {
            lines.insert(score.id.clone(), line);
            scores.push(score);
        }
    }
    if scores.is_empty() && problems.is_empty() {
        problems.push(file_problem(
            path,
            "the file holds no score",
            "write one JSON object with `id` and `score` per line",
        ));
    }
    if problems.is_empty() {
        Ok(scores)
    } else {
        Err(Error::BadLines { problems })
    }
}

/// Writes scores, one per line. The file appears at once, complete, or not at all.
///
/// # Errors
/// [`Error::Write`].
pub fn write_scores(path: &Path, scores: &[Score]) -> Result<(), Error> {
    let failed = |source: serde_json::Error| Error::Write {
        path: path.to_owned(),
        source: source.into(),
    };
    let mut bytes = Vec::new();
    for score in scores {
        serde_json::to_writer(&mut bytes, score).map_err(failed)?;
        bytes.push(b'\n');
    }
    write_whole(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Score>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.jsonl");
        std::fs::write(&path, bytes).unwrap();
        read_scores(&path)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = read(bytes).unwrap_err();
        let Error::BadLines { problems } = error else {
            panic!("{error}");
        };
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            shown.len() == 1 && shown[0].contains(expected),
            "expected {expected:?}, found {shown:?}"
        );
        assert!(!problems[0].hint.is_empty());
    }

    #[test]
    fn what_is_no_score_is_refused_with_its_line() {
        check(b"", "s.jsonl: the file holds no score");
        check(b"{\"id\": \"a\"}", "s.jsonl:1:11: missing field `score`");
        check(b"\n{\"score\": 1}", "s.jsonl:2:12: missing field `id`");
        check(b"{\"id\": \"a\", \"score\": \"1\"}", "expected f64");
        check(b"{\"id\": \"a\", \"score\": null}", "expected f64");
        check(
            b"{\"id\": \"a\", \"score\": NaN}",
            "s.jsonl:1:22: expected value",
        );
        check(b"{\"id\": \"a\", \"score\": 1e999}", "number out of range");
        check(
            b"{\"id\": \"a\", \"score\": 1}\n\n{\"id\": \"a\", \"score\": 2}",
            "s.jsonl:3: id `a` has a score in line 1 already",
        );
        check(
            b"{\"id\": \"\xff\", \"score\": 1}",
            "byte 0xff is not UTF-8",
        );
        check(" ".repeat(MAX_LINE + 2).as_bytes(), "line is longer than");
        check(
            b"{\"id\": \"a\", \"score\": 1, \"format_version\": \"2.0\"}",
            "score has format version 2.0",
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_what_is_written_is_read() {
        let scores = read(b"{\"id\": \"a\", \"score\": -1.5, \"why\": [1]}\n").unwrap();
        assert_eq!(
            (scores[0].id.as_str(), scores[0].model.as_deref()),
            ("a", None)
        );
        assert!((scores[0].score + 1.5).abs() < 1e-12);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.jsonl");
        write_scores(&path, &scores).unwrap();
        assert_eq!(read_scores(&path).unwrap(), scores);
    }
}
