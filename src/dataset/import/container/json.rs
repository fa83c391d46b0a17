//! One JSON document with a list of records.

use std::io::BufRead;

use serde_json::Value;

use super::{Bad, Found, document, entries};
use crate::json_error::message;

pub(super) fn read(
    reader: &mut dyn BufRead,
    list: Option<&str>,
    found: &mut dyn FnMut(Found),
) -> std::io::Result<()> {
    let Some(text) = document(reader, found)? else {
        return Ok(());
    };
    match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Ok(value) => entries(value, list, found, |index| index + 1),
        Err(error) => found(Found::Bad(Bad {
            line: error.line(),
            column: error.column(),
            what: message(&error),
            hint: "the file must be one JSON document; where it has one object per line, name it `.jsonl`",
        })),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Container;
    use super::super::tests::shown;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(
            shown(Container::Json, Some("rows"), text.as_bytes()),
            expected,
            "{text}"
        );
    }

    #[test]
    fn a_list_or_an_object_with_one() {
        check("[1, 2]", &["1 1", "2 2"]);
        check(
            "{\"model\": \"m\", \"rows\": [{}]}",
            &[r#"head {"model":"m"}"#, "1 {}"],
        );
        let none =
            "bad 0:0 holds no list of records (expected a list, or an object with a list `rows`)";
        check("{\"model\": \"m\"}", &[none]);
        check("{\"rows\": 3}", &[none]);
        check("7", &[none]);
    }

    #[test]
    fn bad_json_has_a_place() {
        check("[1,\n 2,]", &["bad 2:4 trailing comma"]);
        check("", &["bad 1:0 EOF while parsing a value"]);
        let deep = "[".repeat(100_000);
        check(&deep, &["bad 1:128 recursion limit exceeded"]);
    }
}
