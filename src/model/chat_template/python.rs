//! What templates expect of Python: `json.dumps`, `strftime`, how numbers print.

use std::fmt::Write;
use std::time::SystemTime;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};

use crate::json::Json;

type Result<T> = std::result::Result<T, Error>;

/// Values in values that are written as JSON; Python itself stops at about a thousand.
const MAX_DEPTH: usize = 128;

/// Variable under which [`strftime_now`] finds the time, where it is fixed.
pub(super) const NOW: &str = "__now";

/// Adds what transformers adds (`_cached_compile_jinja_template`).
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(format);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
}

pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Integer(value) => match i64::try_from(*value) {
            Ok(value) => Value::from(value),
            Err(_) => Value::from(*value),
        },
        Json::Float(value) => Value::from(*value),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => values.iter().map(self::value).collect(),
        Json::Object(entries) => Value::from_pairs(
            entries
                .iter()
                .map(|(key, value)| (key.as_str(), self::value(value))),
        ),
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

fn raise_exception(what: String) -> Result<Value> {
    Err(invalid(what))
}

/// `datetime.now().strftime(format)`: the local time now, or the time that the caller fixed.
fn strftime_now(state: &State, format: &str) -> Result<String> {
    let zoned = match state.lookup(NOW).and_then(|now| now.as_i64()) {
        Some(seconds) => jiff::Timestamp::from_second(seconds)
            .map_err(|error| invalid(error.to_string()))?
            .to_zoned(jiff::tz::TimeZone::UTC),
        None => jiff::Zoned::now(),
    };
    jiff::fmt::strtime::format(format, &zoned)
        .map_err(|error| invalid(format!("strftime_now: {error}")))
}

/// Whole seconds since 1970, for [`NOW`].
pub(super) fn seconds(time: SystemTime) -> i64 {
    let seconds =
        |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => seconds(after),
        Err(before) => -seconds(before.duration()),
    }
}

/// Prints a value as Python's `str` does; the engine does so too, except for floats.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<()> {
    match float(value) {
        Some(number) => out.write_str(&float_repr(number)).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    }
}

fn float(value: &Value) -> Option<f64> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok()
}

/// The shortest digits that give the number back, as Python writes them.
fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Rust gives the same digits as `d.ddde<exponent>`; Python prints that for exponents outside -4..16.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a whole exponent");
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// How `json.dumps` is asked to write.
struct Style {
    ascii: bool,
    /// One level of indentation.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

/// `json.dumps` with the arguments that transformers passes on.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine's form of a filter"
)]
fn to_json(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value> {
    let argument = |place: usize, name: &str| -> Result<Option<Value>> {
        let by_name: Option<Value> = named.get(name)?;
        let given = by_name.or_else(|| arguments.get(place).cloned());
        Ok(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ascii = argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = match argument(1, "indent")? {
        None => None,
        Some(value) => {
            let text = value.as_str().map(str::to_owned);
            Some(text.map_or_else(|| spaces(value), Ok)?)
        }
    };
    let separators = match argument(2, "separators")? {
        None => None,
        Some(value) => {
            let parts: Vec<Value> = value.try_iter()?.collect();
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).collect();
            let [between_items, after_key] = texts[..] else {
                return Err(invalid("tojson: `separators` are no two strings"));
            };
            Some((between_items.to_owned(), after_key.to_owned()))
        }
    };
    let sort_keys = argument(3, "sort_keys")?.is_some_and(|value| value.is_true());
    named.assert_all_used()?;
    if arguments.len() > 4 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let default = if indent.is_some() { "," } else { ", " };
    let (between_items, after_key) = separators.unwrap_or_else(|| (default.into(), ": ".into()));
    let style = Style {
        ascii,
        indent,
        between_items,
        after_key,
        sort_keys,
    };
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(Value::from(out))
}

fn spaces(n: Value) -> Result<String> {
    let n = i64::try_from(n).map_err(|_| invalid("tojson: `indent` is no number"))?;
    if n > 64 {
        return Err(invalid("tojson: `indent` is more than 64"));
    }
    Ok(" ".repeat(usize::try_from(n).unwrap_or(0)))
}

impl Style {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(invalid("tojson: the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.container('[', ']', items.len(), depth, out, |index, out| {
                    self.write(&items[index], depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut entries = Vec::new();
                for key in value.try_iter()? {
                    entries.push((self::key(&key)?, value.get_item(&key)?));
                }
                if self.sort_keys {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.container('{', '}', entries.len(), depth, out, |index, out| {
                    let (key, value) = &entries[index];
                    self.string(key, out);
                    out.push_str(&self.after_key);
                    self.write(value, depth + 1, out)
                })?;
            }
            other => {
                return Err(invalid(format!(
                    "tojson: a value of type {other} is not JSON"
                )));
            }
        }
        Ok(())
    }

    fn container(
        &self,
        open: char,
        close: char,
        n: usize,
        depth: usize,
        out: &mut String,
        mut item: impl FnMut(usize, &mut String) -> Result<()>,
    ) -> Result<()> {
        out.push(open);
        for index in 0..n {
            if index > 0 {
                out.push_str(&self.between_items);
            }
            self.line(depth + 1, out);
            item(index, out)?;
        }
        if n > 0 {
            self.line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            for _ in 0..depth {
                out.push_str(indent);
            }
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ascii && c > '~') => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn number(value: &Value) -> String {
    match float(value) {
        None => value.to_string(),
        Some(number) if number.is_nan() => "NaN".into(),
        Some(number) if number.is_infinite() => if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into(),
        Some(number) => float_repr(number),
    }
}

/// Python turns these keys into strings and refuses others.
fn key(value: &Value) -> Result<String> {
    Ok(match value.kind() {
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        ValueKind::Number => number(value),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::None => "null".into(),
        other => {
            return Err(invalid(format!(
                "tojson: a key of type {other} is not JSON"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.234e22, "1.234e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, expected) in cases {
            assert_eq!(float_repr(number), expected);
        }
    }
}
