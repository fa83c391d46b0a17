//! Lines of a file that may be anything: bounded, and text or said not to be.

use std::io::{BufRead, Read};

/// What the next line holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// UTF-8, with its line break.
    Text(&'a str),
    /// More bytes than allowed; they have been passed over.
    TooLong,
    /// A byte that is not UTF-8, and the character, from 1, at which it stands.
    NotUtf8 { byte: u8, column: usize },
}

/// Reads the next line of at most `max` bytes into `bytes`; `None` at the end.
pub(crate) fn next_line<'a>(
    mut reader: &mut dyn BufRead,
    bytes: &'a mut Vec<u8>,
    max: usize,
) -> std::io::Result<Option<Line<'a>>> {
    bytes.clear();
    (&mut reader)
        .take(max as u64 + 1)
        .read_until(b'\n', bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > max && bytes.last() != Some(&b'\n') {
        skip_line(reader)?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(match std::str::from_utf8(bytes) {
        Ok(text) => Line::Text(text),
        Err(error) => {
            let good = error.valid_up_to();
            let before =
                std::str::from_utf8(&bytes[..good]).map_or(good, |text| text.chars().count());
            Line::NotUtf8 {
                byte: bytes[good],
                column: before + 1,
            }
        }
    }))
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let (n, done) = {
            let buffer = reader.fill_buf()?;
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(index) => (index + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            }
        };
        reader.consume(n);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_text() {
        let text = ["ab\n谎\n0123456789\nx".as_bytes(), b"\xff\n"].concat();
        let mut reader = text.as_slice();
        let mut bytes = Vec::new();
        let mut next = || next_line(&mut reader, &mut bytes, 5).map(|line| format!("{line:?}"));
        assert_eq!(next().unwrap(), r#"Some(Text("ab\n"))"#);
        assert_eq!(next().unwrap(), r#"Some(Text("谎\n"))"#);
        assert_eq!(next().unwrap(), "Some(TooLong)");
        assert_eq!(next().unwrap(), "Some(NotUtf8 { byte: 255, column: 2 })");
        assert_eq!(next().unwrap(), "None");
    }
}
