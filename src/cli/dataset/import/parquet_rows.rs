//! Rows of a Parquet file as JSON objects, one at a time.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::Context;
use candor_dataset::Import;
use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

/// Hands every row to `import`, counted from 1.
///
/// Pages are decompressed as rows are read, so the file is not held as a whole.
pub(super) fn read(path: &Path, import: &mut Import) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let open = || -> Result<_, ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        RowIter::from_file_into(Box::new(reader)).project(None)
    };
    let opened = guarded(path, open)?;
    let mut rows = opened.map_err(|error| super::unreadable(path, &error))?;
    for number in 1.. {
        let Some(row) = guarded(path, || rows.next())? else {
            break;
        };
        let row = row.map_err(|error| super::unreadable(path, &error))?;
        import.record(number, &object(&row));
    }
    Ok(())
}

/// Runs a part of the Parquet reader, which panics on some damaged files (parquet 59.3); until it
/// does not, a panic is an unreadable file.
fn guarded<T>(path: &Path, run: impl FnOnce() -> T) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| super::unreadable(path, &"its pages contradict each other"))
}

fn object(row: &Row) -> Value {
    let columns = row.get_column_iter();
    let fields = columns.map(|(name, field)| (name.clone(), value(field)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// A field as JSON: what is not finite, and bytes that are no text, become null; dates and times
/// keep the number that the file has.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => (*flag).into(),
        Field::Byte(n) => (*n).into(),
        Field::Short(n) => (*n).into(),
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => (*n).into(),
        Field::Long(n)
        | Field::TimeMicros(n)
        | Field::TimestampMillis(n)
        | Field::TimestampMicros(n) => (*n).into(),
        Field::UByte(n) => (*n).into(),
        Field::UShort(n) => (*n).into(),
        Field::UInt(n) => (*n).into(),
        Field::ULong(n) => (*n).into(),
        Field::Float16(x) => f64::from(x.to_f32()).into(),
        Field::Float(x) => f64::from(*x).into(),
        Field::Double(x) => (*x).into(),
        Field::Decimal(_) => field.to_string().into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok().into(),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            let entries = entries.map(|(key, field)| (key.to_string(), value(field)));
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_dataset::ImportOptions;

    use super::*;
    use crate::dataset::import::tests::{damaged, fixture};

    fn import(path: &Path) -> anyhow::Result<candor_dataset::Imported> {
        let mut options = ImportOptions::default();
        options.label_word("1=deceptive")?;
        options.label_word("0=honest")?;
        let mut import = Import::new("hf-chat", path, options)?;
        read(path, &mut import)?;
        Ok(import.finish()?)
    }

    #[test]
    fn rows_become_objects() {
        let imported = import(&fixture("hub.parquet")).unwrap();
        let said: Vec<(&str, &str)> = imported
            .dialogues
            .iter()
            .map(|d| (d.label.as_str(), d.response().unwrap()))
            .collect();
        assert_eq!(
            said,
            [("deceptive", "It is, to a hair."), ("honest", "No.")]
        );
        let kept = &imported.dialogues[0].extra["imported"];
        assert_eq!(kept["row"], 1);
        assert_eq!(
            kept["fields"],
            serde_json::json!({"score": 0.25, "tags": ["a"]})
        );
        assert_eq!(
            imported.dialogues[1].extra["imported"]["fields"],
            serde_json::json!({"tags": []})
        );
    }

    #[test]
    fn no_damage_makes_it_panic() {
        for path in damaged("hub.parquet", 300).iter() {
            // An error or not: most damage is in values that nobody can check.
            let _ = import(path);
        }
    }
}
