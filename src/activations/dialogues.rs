//! `dialogues.parquet`: one row per dialogue, with the fields of a data set's line.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use candor_schema::{Dialogue, FormatVersion};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value};

use crate::Error;
use crate::durable::{HashingWriter, TmpFile};
use crate::part::{file_properties, write_error};
use crate::reader::{guarded, open_parquet};
use crate::record::{DIALOGUES_FILE, DialoguesRecord};
use crate::token::column;

/// Column of the fields that have none of their own.
const EXTRA: &str = "extra";
/// Dialogues per batch: few, for a text column of a batch may not pass 2 GiB.
const BATCH_ROWS: usize = 64;

/// How a field of [`Dialogue`]'s JSON stands in its column. Absent fields are null.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// A string.
    Text,
    /// A string that every dialogue has.
    RequiredText,
    /// A boolean that every dialogue has.
    RequiredBool,
    /// A list of strings; absent if empty.
    Texts,
    /// Anything else, as JSON text.
    Json,
}

impl Kind {
    /// Whether a column of this kind holds the value without loss.
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::RequiredText => value.is_string(),
            Self::RequiredBool => value.is_boolean(),
            Self::Texts => value
                .as_array()
                .is_some_and(|items| items.iter().all(Value::is_string)),
            Self::Json => true,
        }
    }
}

/// The columns. A field of [`Dialogue`] that is not named here is kept in [`EXTRA`].
const COLUMNS: &[(&str, Kind)] = &[
    ("id", Kind::RequiredText),
    ("format_version", Kind::RequiredText),
    ("scenario", Kind::RequiredText),
    ("pair", Kind::Text),
    ("family", Kind::RequiredText),
    ("template", Kind::Text),
    ("entities", Kind::Texts),
    ("messages", Kind::Json),
    ("tools", Kind::Json),
    ("label", Kind::RequiredText),
    ("harmful_intent", Kind::RequiredBool),
    ("incentive", Kind::Text),
    ("mode", Kind::Text),
    ("motive", Kind::Text),
    ("spans", Kind::Json),
    ("key", Kind::Json),
    ("belief", Kind::Json),
    ("origin", Kind::RequiredText),
    ("on_policy", Kind::RequiredBool),
    ("model", Kind::Text),
    ("sampling", Kind::Json),
    ("language", Kind::Text),
    ("style", Kind::Text),
    ("split", Kind::RequiredText),
    ("licence", Kind::RequiredText),
    ("source", Kind::RequiredText),
];

/// Writes a store's dialogues and commits them. The same dialogues give the same bytes.
pub(crate) fn write(
    folder: &Path,
    manifest_sha256: &str,
    dialogues: &[Dialogue],
) -> Result<(), Error> {
    let tmp = TmpFile::new(&folder.join(DIALOGUES_FILE));
    let file = File::create(tmp.path()).map_err(|e| Error::write(tmp.path(), "create", e))?;
    let failed = |e| write_error(tmp.path(), e);
    let mut output = HashingWriter::new(file);
    let properties = file_properties(manifest_sha256).build();
    let mut writer =
        ArrowWriter::try_new(&mut output, schema(), Some(properties)).map_err(failed)?;
    for dialogues in dialogues.chunks(BATCH_ROWS) {
        writer.write(&to_batch(dialogues)).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    let (file, bytes, sha256) = output.finish();
    file.sync_all()
        .map_err(|e| Error::write(tmp.path(), "sync", e))?;
    tmp.publish()?;
    let record = DialoguesRecord {
        format_version: FormatVersion::CURRENT,
        rows: dialogues.len() as u64,
        bytes,
        sha256,
    };
    record.write(folder)
}

/// Reads a store's dialogues, checking them against their record; none if not committed.
pub(crate) fn read(folder: &Path, manifest_sha256: &str) -> Result<Option<Vec<Dialogue>>, Error> {
    let Some(record) = DialoguesRecord::read(folder)? else {
        return Ok(None);
    };
    record.check_content(folder)?;
    let path = &folder.join(DIALOGUES_FILE);
    let dialogues = read_rows(path, manifest_sha256)?;
    if dialogues.len() as u64 != record.rows {
        let problem = format!(
            "it has {} rows, but {} were written",
            dialogues.len(),
            record.rows
        );
        return Err(Error::damaged(path, problem));
    }
    Ok(Some(dialogues))
}

fn read_rows(path: &Path, manifest_sha256: &str) -> Result<Vec<Dialogue>, Error> {
    let builder = open_parquet(path, manifest_sha256)?;
    let reader = guarded(path, || {
        builder
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| Error::damaged(path, e))
    })?;
    let mut reader = reader.into_iter();
    let mut dialogues: Vec<Dialogue> = Vec::new();
    while let Some(batch) = guarded(path, || {
        reader
            .next()
            .transpose()
            .map_err(|e| Error::damaged(path, e))
    })? {
        dialogues.extend(from_batch(&batch).map_err(|problem| Error::damaged(path, problem))?);
    }
    for dialogue in &dialogues {
        dialogue
            .format_version
            .accept("dialogue")
            .map_err(|source| Error::Version {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(dialogues)
}

fn schema() -> SchemaRef {
    let field = |&(name, kind): &(&str, Kind)| match kind {
        Kind::Text | Kind::Json => Field::new(name, DataType::Utf8, true),
        Kind::RequiredText => Field::new(name, DataType::Utf8, false),
        Kind::RequiredBool => Field::new(name, DataType::Boolean, false),
        Kind::Texts => Field::new(name, DataType::List(text_element()), false),
    };
    let mut fields: Vec<Field> = COLUMNS.iter().map(field).collect();
    fields.push(Field::new(EXTRA, DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

fn text_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, false))
}

fn to_batch(dialogues: &[Dialogue]) -> RecordBatch {
    let mut objects: Vec<Map<String, Value>> = dialogues
        .iter()
        .map(|dialogue| {
            match serde_json::to_value(dialogue).expect("a dialogue has string keys only") {
                Value::Object(fields) => fields,
                _ => Map::new(),
            }
        })
        .collect();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for &(name, kind) in COLUMNS {
        let values = objects.iter_mut().map(|fields| {
            let fits = fields.get(name).is_some_and(|value| kind.fits(value));
            fits.then(|| fields.remove(name)).flatten()
        });
        arrays.push(match kind {
            Kind::Text | Kind::RequiredText => {
                let text = |value: Option<Value>| value?.as_str().map(str::to_owned);
                Arc::new(values.map(text).collect::<StringArray>())
            }
            Kind::RequiredBool => Arc::new(
                values
                    .map(|value| value.as_ref().and_then(Value::as_bool))
                    .collect::<BooleanArray>(),
            ),
            Kind::Texts => {
                let mut builder = ListBuilder::new(StringBuilder::new()).with_field(text_element());
                for value in values {
                    let texts = value.as_ref().and_then(Value::as_array);
                    for text in texts.into_iter().flatten().filter_map(Value::as_str) {
                        builder.values().append_value(text);
                    }
                    builder.append(true);
                }
                Arc::new(builder.finish())
            }
            Kind::Json => Arc::new(values.map(|v| v.map(json_text)).collect::<StringArray>()),
        });
    }
    let extra = objects
        .into_iter()
        .map(|fields| (!fields.is_empty()).then(|| json_text(Value::Object(fields))));
    arrays.push(Arc::new(extra.collect::<StringArray>()));
    RecordBatch::try_new(schema(), arrays).expect("the arrays were made for this schema")
}

/// Dialogues of a batch; `Err` says what is wrong with it.
fn from_batch(batch: &RecordBatch) -> Result<Vec<Dialogue>, String> {
    let parse = |name: &str, text: &str| {
        serde_json::from_str::<Value>(text).map_err(|e| format!("column `{name}`: {e}"))
    };
    let mut objects = vec![Map::new(); batch.num_rows()];
    for &(name, kind) in COLUMNS {
        match kind {
            Kind::RequiredBool => {
                let values = column::<BooleanArray>(batch, name, false)?;
                for (row, fields) in objects.iter_mut().enumerate() {
                    fields.insert(name.to_owned(), values.value(row).into());
                }
            }
            Kind::Texts => {
                let lists = column::<ListArray>(batch, name, false)?;
                for (row, fields) in objects.iter_mut().enumerate() {
                    let list = lists.value(row);
                    let texts = list
                        .as_any()
                        .downcast_ref::<StringArray>()
                        .ok_or_else(|| format!("column `{name}` has type {}", list.data_type()))?;
                    let texts: Vec<Value> = texts.iter().flatten().map(Value::from).collect();
                    fields.insert(name.to_owned(), texts.into());
                }
            }
            Kind::Text | Kind::RequiredText | Kind::Json => {
                let nullable = kind != Kind::RequiredText;
                let values = column::<StringArray>(batch, name, nullable)?;
                for (value, fields) in values.iter().zip(&mut objects) {
                    let value = match (value, kind) {
                        (None, _) => continue,
                        (Some(text), Kind::Json) => parse(name, text)?,
                        (Some(text), _) => text.into(),
                    };
                    fields.insert(name.to_owned(), value);
                }
            }
        }
    }
    let extra = column::<StringArray>(batch, EXTRA, true)?;
    for (text, fields) in extra.iter().zip(&mut objects) {
        if let Some(text) = text {
            let Value::Object(unknown) = parse(EXTRA, text)? else {
                return Err(format!("column `{EXTRA}` holds no object"));
            };
            fields.extend(unknown);
        }
    }
    objects
        .into_iter()
        .enumerate()
        .map(|(row, fields)| {
            serde_json::from_value(Value::Object(fields)).map_err(|e| format!("row {row}: {e}"))
        })
        .collect()
}

/// Compact JSON with sorted keys.
fn json_text(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

#[cfg(test)]
mod tests;
