//! What can be wrong with a data set.

use std::fmt;
use std::path::PathBuf;

use candor_schema::KeyKind;

/// How many bad lines an error message shows; the rest is counted.
const SHOWN_LINES: usize = 20;

/// A data set that cannot be read, written, graded or turned into features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be opened or read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without data files.
    #[error("no data file in `{}` (expected at least one {expected})", folder.display())]
    NoFiles {
        /// The folder.
        folder: PathBuf,
        /// The extensions that were looked for, for example `*.jsonl`.
        expected: String,
    },
    /// A file whose extension no format claims.
    #[error("`{}` is in no known format (expected {expected})", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The extensions that are known.
        expected: String,
    },
    /// Lines that are not dialogues: all of them, in the order of the files.
    #[error("{}", show_lines(problems))]
    BadLines {
        /// Every bad line.
        problems: Vec<LineProblem>,
    },
    /// An import from a format that nobody has written an importer for.
    #[error("nothing is imported from `{name}` (known: {})", known.join(", "))]
    UnknownImport {
        /// The name as given.
        name: String,
        /// The formats that are known.
        known: Vec<&'static str>,
    },
    /// A file that a format does not come in.
    #[error("`{}` is not a file of `{format}` (expected {})", path.display(), expected.join(", "))]
    WrongContainer {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The extensions that it comes in, for example `*.jsonl`.
        expected: Vec<String>,
    },
    /// A file of which no record gives a dialogue.
    #[error("none of the {n_records} records of `{}` gives a dialogue{}", path.display(), show_reasons(reasons))]
    NothingImported {
        /// The file.
        path: PathBuf,
        /// Records in it.
        n_records: usize,
        /// Why, and for how many.
        reasons: Vec<(String, usize)>,
    },
    /// An option of an import that makes no sense.
    #[error("`{option} {value}` (expected {expected})")]
    BadOption {
        /// The option.
        option: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// A key whose value does not fit its kind.
    #[error("key of kind `{kind}` has `{field}`: {found} (expected {expected})")]
    BadKey {
        /// The key's kind.
        kind: KeyKind,
        /// `true` or `false`.
        field: &'static str,
        /// What the kind asks for.
        expected: &'static str,
        /// The value, shortened.
        found: String,
    },
    /// A key whose pattern is not a regular expression.
    #[error("key has `{field}`: `{pattern}`, which is not a regular expression: {reason}")]
    BadPattern {
        /// `true` or `false`.
        field: &'static str,
        /// The pattern as given.
        pattern: String,
        /// What the regex crate said, on one line.
        reason: String,
    },
    /// A key that no text reply can be graded by.
    #[error("a key of kind `{kind}` cannot grade a text reply")]
    NotGradable {
        /// The key's kind.
        kind: KeyKind,
    },
    /// Texts that share no term often enough to count anything.
    #[error("no word or word pair occurs in {min_df} of the {n_texts} texts given")]
    NoTerms {
        /// Texts that the vocabulary was to be fitted on.
        n_texts: usize,
        /// Texts that a term must occur in.
        min_df: usize,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::Read { .. } => "check that the path exists and that you may read it",
            Self::Write { .. } => "check that the folder exists, is writable and has space left",
            Self::NoFiles { .. } => "name a data file, or a folder that holds some",
            Self::UnknownFormat { .. } => {
                "rename the file if it holds one JSON dialogue per line, or convert it to that"
            }
            Self::BadLines { problems } => problems
                .first()
                .map_or("write one JSON dialogue per line", |problem| problem.hint),
            Self::UnknownImport { .. } => {
                "name one of the known formats, or write the data as JSONL or CSV"
            }
            Self::WrongContainer { .. } => {
                "give the file the extension of what it is, or name another format with `--from`"
            }
            Self::NothingImported { .. } => "check that `--from` names what the file is",
            Self::BadOption { .. } => "see `candor dataset import --help`",
            Self::BadKey { .. } => {
                "write a string for `choice`, a number for `number`, a list of strings for `set`"
            }
            Self::BadPattern { .. } => {
                "use the syntax of https://docs.rs/regex: it has no look-around and no back-references"
            }
            Self::NotGradable { .. } => "grade it by `choice`, `number`, `set` or `regex`",
            Self::NoTerms { .. } => "fit on more texts, or on longer ones",
        }
    }
}

/// One line of a file that is not a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The character in that line, from 1; 0 where the line as a whole is meant.
    pub column: usize,
    /// What was found and what was expected.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        for place in [self.line, self.column].iter().take_while(|n| **n > 0) {
            write!(f, ":{place}")?;
        }
        write!(f, ": {}", self.what)
    }
}

fn show_reasons(reasons: &[(String, usize)]) -> String {
    let shown = reasons.iter().map(|(why, n)| format!("{n}: {why}"));
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        return String::new();
    }
    format!(" ({})", shown.join("; "))
}

fn show_lines(problems: &[LineProblem]) -> String {
    let mut text = match problems.len() {
        1 => String::from("1 bad line"),
        n => format!("{n} bad lines"),
    };
    for problem in problems.iter().take(SHOWN_LINES) {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
        text.push_str("\n    hint: ");
        text.push_str(problem.hint);
    }
    if problems.len() > SHOWN_LINES {
        let rest = problems.len() - SHOWN_LINES;
        text.push_str("\n  … and ");
        text.push_str(&rest.to_string());
        text.push_str(" more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, column: usize) -> LineProblem {
        LineProblem {
            path: PathBuf::from("d.jsonl"),
            line,
            column,
            what: String::from("missing field `id`"),
            hint: "give every dialogue an `id`",
        }
    }

    #[test]
    fn a_place_is_written_as_editors_read_it() {
        assert_eq!(problem(3, 7).to_string(), "d.jsonl:3:7: missing field `id`");
        assert_eq!(problem(3, 0).to_string(), "d.jsonl:3: missing field `id`");
        assert_eq!(problem(0, 0).to_string(), "d.jsonl: missing field `id`");
    }

    #[test]
    fn twenty_lines_are_shown_and_the_rest_is_counted() {
        let problems: Vec<LineProblem> = (1..=23).map(|line| problem(line, 1)).collect();
        let text = Error::BadLines { problems }.to_string();
        assert!(text.starts_with("23 bad lines\n  d.jsonl:1:1: "), "{text}");
        assert!(text.contains("d.jsonl:20:1: ") && !text.contains("d.jsonl:21:1: "));
        assert!(text.ends_with("… and 3 more"), "{text}");
    }
}
