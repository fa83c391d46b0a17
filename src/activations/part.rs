//! Writing one part.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use candor_schema::FormatVersion;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use serde_json::Map;

use crate::durable::{HashingWriter, TmpFile};
use crate::manifest::{Manifest, PartPlan};
use crate::record::{PartRecord, part_file, part_path};
use crate::spool::{Spool, SpoolReader};
use crate::token::{element_field, part_schema, to_arrays};
use crate::{Error, Precision, Token};

/// Parquet key under which a file of the store names its format version.
pub(crate) const VERSION_KEY: &str = "format_version";
/// Parquet key under which a file of the store names the SHA-256 of `manifest.json`.
pub(crate) const MANIFEST_KEY: &str = "manifest_sha256";

/// Bytes of vectors that are turned into Arrow at a time.
const WRITE_BATCH_BYTES: usize = 4 << 20;

/// One part while it is captured: dialogues are appended in the order of the plan.
///
/// Nothing of the part is visible in the store before [`PartWriter::finish`] returns. Dropping the
/// writer discards what was appended.
#[derive(Debug)]
pub struct PartWriter<'s> {
    context: PartContext<'s>,
    /// Where the store notes that the part is committed.
    slot: &'s mut Option<PartRecord>,
    spool: Spool,
    tokens: Vec<Token>,
    /// Rows of each appended dialogue; sums to `tokens.len()`.
    dialogue_rows: Vec<usize>,
    n_overflows: usize,
}

/// What a part takes from its store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartContext<'s> {
    pub(crate) folder: &'s Path,
    pub(crate) manifest: &'s Manifest,
    pub(crate) manifest_sha256: &'s str,
    pub(crate) plan: &'s PartPlan,
}

impl<'s> PartWriter<'s> {
    pub(crate) fn new(
        context: PartContext<'s>,
        slot: &'s mut Option<PartRecord>,
    ) -> Result<Self, Error> {
        let name = format!("part-{:05}.spool", context.plan.index);
        Ok(Self {
            context,
            slot,
            spool: Spool::create(&context.folder.join(name))?,
            tokens: Vec::new(),
            dialogue_rows: Vec::new(),
            n_overflows: 0,
        })
    }

    /// The dialogue that [`PartWriter::append`] expects; none once all are there.
    pub fn next_dialogue(&self) -> Option<&'s str> {
        let plan = self.context.plan;
        plan.dialogues
            .get(self.dialogue_rows.len())
            .map(String::as_str)
    }

    /// Appends the plan's next dialogue.
    ///
    /// `vectors` holds one block `[token, width]`, row by row, for each of the manifest's hook
    /// points in their order. Values are given unrounded.
    ///
    /// # Errors
    /// [`Error::UnexpectedDialogue`], [`Error::EmptyDialogue`], [`Error::BadToken`],
    /// [`Error::WrongHookPoints`], [`Error::WrongWidth`] or [`Error::NonFinite`] if the rows break
    /// the plan or hold a NaN or an infinity: then nothing was appended. [`Error::DiskFull`] and
    /// other failures to write: then the writer can only be dropped.
    pub fn append(
        &mut self,
        dialogue: &str,
        tokens: &[Token],
        vectors: &[&[f32]],
    ) -> Result<(), Error> {
        self.check(dialogue, tokens, vectors)?;
        let precision = self.context.manifest.precision;
        self.spool.push(tokens.len(), vectors)?;
        self.tokens.extend_from_slice(tokens);
        self.dialogue_rows.push(tokens.len());
        self.n_overflows += vectors
            .iter()
            .map(|block| precision.overflows(block))
            .sum::<usize>();
        Ok(())
    }

    /// Rounds, compresses and commits the part.
    ///
    /// If a value is beyond the range of the plan's precision, the whole part is kept in f32 and
    /// the record says so.
    ///
    /// # Errors
    /// [`Error::MissingDialogue`] if dialogues of the plan were not appended, [`Error::DiskFull`]
    /// and other failures to write. The store's other parts are untouched.
    pub fn finish(self) -> Result<PartRecord, Error> {
        self.encode(|path| File::create(path))?.publish()?.commit()
    }

    fn check(&self, dialogue: &str, tokens: &[Token], vectors: &[&[f32]]) -> Result<(), Error> {
        let expected = self.next_dialogue();
        if expected != Some(dialogue) {
            return Err(Error::UnexpectedDialogue {
                found: dialogue.to_owned(),
                expected: expected.map(str::to_owned),
            });
        }
        let dialogue = || dialogue.to_owned();
        if tokens.is_empty() {
            return Err(Error::EmptyDialogue {
                dialogue: dialogue(),
            });
        }
        let non_finite = |row: usize, place: String, value| Error::NonFinite {
            dialogue: dialogue(),
            token_index: tokens[row].token_index,
            place,
            value,
        };
        for (row, token) in tokens.iter().enumerate() {
            let previous = row.checked_sub(1).map(|row| &tokens[row]);
            token
                .check(previous, self.context.manifest.positions)
                .map_err(|(column, problem)| Error::BadToken {
                    dialogue: dialogue(),
                    row,
                    column,
                    problem,
                })?;
            for (column, value) in [("logprob", token.logprob), ("entropy", token.entropy)] {
                if let Some(value) = value.filter(|value| !value.is_finite()) {
                    return Err(non_finite(row, column.to_owned(), value));
                }
            }
        }
        let hook_points = &self.context.manifest.hook_points;
        if vectors.len() != hook_points.len() {
            return Err(Error::WrongHookPoints {
                dialogue: dialogue(),
                expected: hook_points.len(),
                found: vectors.len(),
            });
        }
        for (column, block) in hook_points.iter().zip(vectors) {
            let width = column.width;
            if block.len() != tokens.len() * width {
                return Err(Error::WrongWidth {
                    dialogue: dialogue(),
                    hook_point: column.hook_point,
                    n_tokens: tokens.len(),
                    width,
                    found: block.len(),
                });
            }
            if let Some(at) = block.iter().position(|value| !value.is_finite()) {
                return Err(non_finite(
                    at / width,
                    column.hook_point.to_string(),
                    block[at],
                ));
            }
        }
        Ok(())
    }

    /// First step: the whole part, synced, under its temporary name.
    fn encode<W: Output>(
        self,
        create: impl FnOnce(&Path) -> io::Result<W>,
    ) -> Result<EncodedPart<'s>, Error> {
        let PartContext {
            folder,
            manifest,
            plan,
            ..
        } = self.context;
        if let Some(next) = self.next_dialogue() {
            return Err(Error::MissingDialogue {
                file: part_file(plan.index),
                next: next.to_owned(),
            });
        }
        let precision = match self.n_overflows {
            0 => manifest.precision,
            _ => Precision::F32,
        };
        let widths: Vec<usize> = manifest.hook_points.iter().map(|c| c.width).collect();
        let rows = Rows {
            tokens: &self.tokens,
            dialogue_ids: plan
                .dialogues
                .iter()
                .zip(&self.dialogue_rows)
                .flat_map(|(id, &n)| std::iter::repeat_n(id.as_str(), n))
                .collect(),
            vectors: self.spool.into_reader(self.tokens.len(), &widths)?,
            precision,
        };

        let tmp = TmpFile::new(&part_path(folder, plan.index));
        let output = create(tmp.path()).map_err(|e| Error::write(tmp.path(), "create", e))?;
        let mut output = HashingWriter::new(output);
        write_rows(&mut output, tmp.path(), self.context, rows)?;
        let (output, bytes, sha256) = output.finish();
        output
            .sync()
            .map_err(|e| Error::write(tmp.path(), "sync", e))?;
        let record = PartRecord {
            format_version: FormatVersion::CURRENT,
            index: plan.index,
            rows: self.tokens.len() as u64,
            bytes,
            sha256,
            precision,
            overflows: self.n_overflows as u64,
            extra: Map::new(),
        };
        Ok(EncodedPart {
            folder,
            slot: self.slot,
            tmp,
            record,
        })
    }
}

/// A part under its temporary name.
#[derive(Debug)]
struct EncodedPart<'s> {
    folder: &'s Path,
    slot: &'s mut Option<PartRecord>,
    tmp: TmpFile,
    record: PartRecord,
}

impl<'s> EncodedPart<'s> {
    /// Second step: the final name.
    fn publish(self) -> Result<PublishedPart<'s>, Error> {
        self.tmp.publish()?;
        Ok(PublishedPart {
            folder: self.folder,
            slot: self.slot,
            record: self.record,
        })
    }
}

/// A part under its final name without a record: still not part of the store.
#[derive(Debug)]
struct PublishedPart<'s> {
    folder: &'s Path,
    slot: &'s mut Option<PartRecord>,
    record: PartRecord,
}

impl PublishedPart<'_> {
    /// Third step: the record, from which moment the part counts.
    fn commit(self) -> Result<PartRecord, Error> {
        self.record.write(self.folder)?;
        *self.slot = Some(self.record.clone());
        Ok(self.record)
    }
}

/// What a part is written to: a file, or in tests a disk that fills up.
trait Output: Write + Send {
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The rows of a part, with the vectors unrounded on disk.
struct Rows<'a> {
    tokens: &'a [Token],
    dialogue_ids: Vec<&'a str>,
    vectors: SpoolReader,
    precision: Precision,
}

fn write_rows(
    output: impl Write + Send,
    path: &Path,
    context: PartContext<'_>,
    mut rows: Rows<'_>,
) -> Result<(), Error> {
    let manifest = context.manifest;
    let failed = |e| write_error(path, e);
    let schema = part_schema(&manifest.hook_points);
    let properties = part_properties(manifest, context.manifest_sha256);
    let mut writer =
        ArrowWriter::try_new(output, Arc::clone(&schema), Some(properties)).map_err(failed)?;
    // Batches start at multiples of a fixed number of rows, so pages do not depend on how the
    // rows were appended.
    let batch_rows = rows_within(WRITE_BATCH_BYTES, manifest);
    let ids = rows.dialogue_ids.chunks(batch_rows);
    for (tokens, ids) in rows.tokens.chunks(batch_rows).zip(ids) {
        let mut arrays = to_arrays(ids.iter().copied(), tokens);
        for mut values in rows.vectors.read(tokens.len())? {
            for value in &mut values {
                *value = rows.precision.round(*value);
            }
            arrays.push(vector_array(values, tokens.len()));
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
            .expect("the arrays were made for this schema");
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

/// A vector column from its `[row, width]` values.
fn vector_array(values: Vec<f32>, n_rows: usize) -> ArrayRef {
    let width = i32::try_from(values.len() / n_rows).expect("the plan's widths are bounded");
    Arc::new(FixedSizeListArray::new(
        Arc::new(element_field()),
        width,
        Arc::new(Float32Array::from(values)),
        None,
    ))
}

fn part_properties(manifest: &Manifest, manifest_sha256: &str) -> WriterProperties {
    let mut properties = file_properties(manifest_sha256)
        .set_max_row_group_row_count(Some(rows_within(manifest.row_group_bytes, manifest)));
    for column in &manifest.hook_points {
        let name = column.hook_point.column_name();
        let leaf = ColumnPath::new(vec![name, "list".to_owned(), "element".to_owned()]);
        // Minimum and maximum over all dimensions say nothing, and a dictionary of floats is
        // larger than the floats.
        properties = properties
            .set_column_dictionary_enabled(leaf.clone(), false)
            .set_column_encoding(leaf.clone(), Encoding::BYTE_STREAM_SPLIT)
            .set_column_statistics_enabled(leaf, EnabledStatistics::None);
    }
    properties.build()
}

/// Settings of every Parquet file in a store.
pub(crate) fn file_properties(manifest_sha256: &str) -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![
            KeyValue::new(VERSION_KEY.to_owned(), FormatVersion::CURRENT.to_string()),
            KeyValue::new(MANIFEST_KEY.to_owned(), manifest_sha256.to_owned()),
        ]))
}

/// Rows whose vectors fill `bytes`, at least one.
fn rows_within(bytes: usize, manifest: &Manifest) -> usize {
    (bytes / (manifest.row_width() * size_of::<f32>())).max(1)
}

/// Finds the operating system's words in an error of the Parquet writer.
pub(crate) fn write_error(path: &Path, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(inner) => io::Error::other(inner),
        },
        other => io::Error::other(other),
    };
    Error::write(path, "write", source)
}

#[cfg(test)]
mod tests;
