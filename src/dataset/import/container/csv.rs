//! Tables in text: every record is an object of strings, named by the header.

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use ::csv::{Error, ErrorKind, ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value};

use super::{Bad, Found, MAX_DOCUMENT};

pub(super) fn read(
    reader: &mut dyn BufRead,
    delimiter: u8,
    found: &mut dyn FnMut(Found),
) -> std::io::Result<()> {
    // A quote that is never closed makes one record of the rest of the file, so the file has to be
    // bounded, not the record.
    let mut bounded = reader.take(MAX_DOCUMENT + 1);
    let mut table = ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(Trim::Headers)
        .from_reader(&mut bounded);
    let header = match table.headers() {
        Ok(header) => header.clone(),
        Err(error) => return refuse(error, found),
    };
    let names: Vec<&str> = header
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}'))
        .collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
        found(Found::Bad(Bad {
            line: 1,
            column: 0,
            what: format!("the header has the column `{twice}` twice"),
            hint: "give every column its own name",
        }));
        return Ok(());
    }
    let mut record = StringRecord::new();
    loop {
        match table.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = line_of(&record, table.position().line());
                let cells = names.iter().zip(&record);
                let fields: Map<String, Value> = cells
                    .map(|(name, cell)| ((*name).to_owned(), cell.into()))
                    .collect();
                found(Found::Record(line, Value::Object(fields)));
            }
            Err(error) => refuse(error, found)?,
        }
    }
    if bounded.limit() == 0 {
        found(Found::Bad(Bad {
            line: 0,
            column: 0,
            what: format!("is longer than {} MiB", MAX_DOCUMENT >> 20),
            hint: "split it, or convert it to JSONL or Parquet",
        }));
    }
    Ok(())
}

/// The line at which a record begins, from 1; `after` is the reader's line after it.
///
/// The reader's own position stands before the blank lines that it passes over.
fn line_of(record: &StringRecord, after: u64) -> usize {
    let inside: usize = record.iter().map(|cell| cell.matches('\n').count()).sum();
    let before = record.position().map_or(0, |place| place.line() as usize);
    // The last record may end without a line break; then there is nothing to take away.
    before.max((after as usize).saturating_sub(inside + 1))
}

/// Reports what is wrong with a record; an error of the system is passed on.
fn refuse(error: Error, found: &mut dyn FnMut(Found)) -> std::io::Result<()> {
    let line = error
        .position()
        .map_or(0, |position| position.line() as usize);
    let (what, hint) = match error.into_kind() {
        ErrorKind::Io(error) => return Err(error),
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (
            format!("has {len} cells, and the header has {expected_len}"),
            "put quotes around a cell that holds commas, quotes or line breaks, and double the quotes inside",
        ),
        ErrorKind::Utf8 { .. } => (String::from("is not UTF-8"), "save the file as UTF-8"),
        other => (format!("{other:?}"), "check quotes and commas"),
    };
    found(Found::Bad(Bad {
        line,
        column: 0,
        what,
        hint,
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use super::super::tests::shown;

    #[test]
    fn cells_are_named_by_the_header() {
        let text = "\u{feff}prompt , label\n\"a, \"\"b\"\"\nc\",x\n\nd,\n";
        assert_eq!(
            shown(Container::Csv, None, text.as_bytes()),
            [
                r#"2 {"label":"x","prompt":"a, \"b\"\nc"}"#,
                r#"5 {"label":"","prompt":"d"}"#
            ]
        );
        assert_eq!(
            shown(Container::Tsv, None, b"a\tb\n1,2\t3\n"),
            [r#"2 {"a":"1,2","b":"3"}"#]
        );
    }

    #[test]
    fn bad_records_have_a_line_and_the_rest_is_read() {
        assert_eq!(
            shown(Container::Csv, None, b"a,b\n1\n2,3\n\xff,4\n5,6,7\n"),
            [
                "bad 2:0 has 1 cells, and the header has 2",
                r#"3 {"a":"2","b":"3"}"#,
                "bad 4:0 is not UTF-8",
                "bad 5:0 has 3 cells, and the header has 2",
            ]
        );
        assert_eq!(
            shown(Container::Csv, None, b"a,a\n1,2\n"),
            ["bad 1:0 the header has the column `a` twice"]
        );
        assert_eq!(shown(Container::Csv, None, b""), [""; 0]);
    }
}
