//! One JSON object per line.

use std::io::BufRead;

use serde_json::Value;

use super::{Bad, Found};
use crate::json_error::message;
use crate::lines::{Line, next_line};

/// Longest line, in bytes: a log of many tool calls is long.
const MAX_LINE: usize = 16 << 20;

pub(super) fn read(reader: &mut dyn BufRead, found: &mut dyn FnMut(Found)) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut line = 0;
    while let Some(next) = next_line(reader, &mut bytes, MAX_LINE)? {
        line += 1;
        let mut bad = |column, what, hint| {
            found(Found::Bad(Bad {
                line,
                column,
                what,
                hint,
            }));
        };
        let text = match next {
            Line::Text(text) => text.trim_start_matches('\u{feff}'),
            Line::TooLong => {
                bad(
                    0,
                    format!("line is longer than {MAX_LINE} bytes"),
                    "split it",
                );
                continue;
            }
            Line::NotUtf8 { byte, column } => {
                let what = format!("byte 0x{byte:02x} is not UTF-8");
                bad(column, what, "save the file as UTF-8");
                continue;
            }
        };
        if text.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Value>(text) {
            Ok(value) => found(Found::Record(line, value)),
            Err(error) => {
                let column = text.get(..error.column());
                let column = column.map_or(error.column(), |before| before.chars().count());
                bad(
                    column.max(1),
                    message(&error),
                    "each line must be one JSON object: check quotes, commas and brackets",
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use super::super::tests::shown;

    #[test]
    fn lines_are_records_and_bad_lines_have_a_place() {
        let text = "\u{feff}{\"a\": 1}\n\n{\"a\": 谎}\n[2]\n";
        assert_eq!(
            shown(Container::Jsonl, None, text.as_bytes()),
            [r#"1 {"a":1}"#, "bad 3:7 expected value", "4 [2]"]
        );
        assert_eq!(
            shown(Container::Jsonl, None, b"{}\n\xff\n"),
            ["1 {}", "bad 2:1 byte 0xff is not UTF-8"]
        );
    }
}
