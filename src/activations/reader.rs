//! Reading a part's rows, a few columns at a time.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::{Array, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use candor_schema::{FormatVersion, HookPoint};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::manifest::PartPlan;
use crate::part::{MANIFEST_KEY, VERSION_KEY};
use crate::record::{PartRecord, part_path};
use crate::token::{column, from_batch, id_columns, part_schema};
use crate::{Error, HookPointWidth, Token};

/// Bytes of vectors that are read at a time.
const READ_BATCH_BYTES: usize = 8 << 20;
/// Most rows that are read at a time, where few columns are.
const MAX_BATCH_ROWS: usize = 8192;

/// Some rows of one part with the vectors that were asked for. Every number in it is finite.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// The part that the rows are from.
    pub part: usize,
    dialogue_ids: StringArray,
    tokens: Vec<Token>,
    vectors: Vec<(HookPointWidth, Float32Array)>,
}

impl TokenBatch {
    /// The rows without their vectors.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Runs of rows of the same dialogue, in order. A dialogue can go on in the next batch.
    pub fn dialogues(&self) -> Vec<(&str, Range<usize>)> {
        let mut runs: Vec<(&str, Range<usize>)> = Vec::new();
        for row in 0..self.tokens.len() {
            let id = self.dialogue_ids.value(row);
            match runs.last_mut() {
                Some((last, rows)) if *last == id => rows.end = row + 1,
                _ => runs.push((id, row..row + 1)),
            }
        }
        runs
    }

    /// A hook point's vectors `[row, width]`, row by row; none if it was not asked for.
    pub fn vectors(&self, hook_point: HookPoint) -> Option<&[f32]> {
        let (_, values) = self
            .vectors
            .iter()
            .find(|(column, _)| column.hook_point == hook_point)?;
        Some(values.values())
    }

    /// Width of a hook point's vectors; none if it was not asked for.
    pub fn width(&self, hook_point: HookPoint) -> Option<usize> {
        let (column, _) = self
            .vectors
            .iter()
            .find(|(column, _)| column.hook_point == hook_point)?;
        Some(column.width)
    }
}

/// All rows of a store, part by part, in order. After an error it ends.
#[derive(Debug)]
pub struct TokenBatches<'s> {
    folder: &'s Path,
    manifest_sha256: &'s str,
    /// The parts that are still to be opened.
    parts: std::vec::IntoIter<(&'s PartPlan, &'s PartRecord)>,
    columns: Vec<HookPointWidth>,
    current: Option<PartReader<'s>>,
    failed: bool,
}

impl<'s> TokenBatches<'s> {
    pub(crate) fn new(
        folder: &'s Path,
        manifest_sha256: &'s str,
        parts: Vec<(&'s PartPlan, &'s PartRecord)>,
        columns: Vec<HookPointWidth>,
    ) -> Self {
        Self {
            folder,
            manifest_sha256,
            parts: parts.into_iter(),
            columns,
            current: None,
            failed: false,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TokenBatch>, Error> {
        loop {
            if let Some(part) = &mut self.current {
                match part.next_batch()? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.current = None,
                }
            }
            let Some((plan, record)) = self.parts.next() else {
                return Ok(None);
            };
            let path = part_path(self.folder, plan.index);
            self.current = Some(PartReader::open(
                path,
                self.manifest_sha256,
                plan,
                record,
                &self.columns,
            )?);
        }
    }
}

impl Iterator for TokenBatches<'_> {
    type Item = Result<TokenBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// The rows of one part.
struct PartReader<'s> {
    path: PathBuf,
    plan: &'s PartPlan,
    columns: Vec<HookPointWidth>,
    reader: ParquetRecordBatchReader,
    rows_left: u64,
    /// Dialogue of the last row read; none before the first.
    dialogue: Option<usize>,
}

impl std::fmt::Debug for PartReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartReader")
            .field("path", &self.path)
            .field("rows_left", &self.rows_left)
            .finish_non_exhaustive()
    }
}

impl<'s> PartReader<'s> {
    fn open(
        path: PathBuf,
        manifest_sha256: &str,
        plan: &'s PartPlan,
        record: &PartRecord,
        columns: &[HookPointWidth],
    ) -> Result<Self, Error> {
        let builder = open_parquet(&path, manifest_sha256)?;
        check_rows(&path, &builder, record)?;
        let expected = part_schema(columns);
        for field in expected.fields() {
            let Ok(found) = builder.schema().field_with_name(field.name()) else {
                let problem = format!("column `{}` is missing", field.name());
                return Err(Error::damaged(&path, problem));
            };
            if found.data_type() != field.data_type() || found.is_nullable() != field.is_nullable()
            {
                let problem = format!(
                    "column `{}` has type {} (expected {})",
                    field.name(),
                    found.data_type(),
                    field.data_type()
                );
                return Err(Error::damaged(&path, problem));
            }
        }
        let mut names = id_columns();
        names.extend(columns.iter().map(|c| c.hook_point.column_name()));
        let mask =
            ProjectionMask::columns(builder.parquet_schema(), names.iter().map(String::as_str));
        let row_bytes = columns.iter().map(|c| c.width).sum::<usize>() * size_of::<f32>();
        let batch_rows = READ_BATCH_BYTES
            .checked_div(row_bytes)
            .unwrap_or(MAX_BATCH_ROWS)
            .clamp(1, MAX_BATCH_ROWS);
        let reader = guarded(&path, || {
            builder
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .build()
                .map_err(|e| Error::damaged(&path, e))
        })?;
        Ok(Self {
            path,
            plan,
            columns: columns.to_vec(),
            reader,
            rows_left: record.rows,
            dialogue: None,
        })
    }

    fn next_batch(&mut self) -> Result<Option<TokenBatch>, Error> {
        let (path, reader) = (&self.path, &mut self.reader);
        let next = guarded(path, || {
            reader
                .next()
                .transpose()
                .map_err(|e| Error::damaged(path, e))
        })?;
        let Some(batch) = next else {
            return self.check_end();
        };
        let batch = self.decode(&batch)?;
        self.rows_left = self
            .rows_left
            .checked_sub(batch.tokens.len() as u64)
            .ok_or_else(|| Error::damaged(&self.path, "it has more rows than were written"))?;
        for (id, _) in batch.dialogues() {
            self.dialogue = Some(self.follow(id)?);
        }
        Ok(Some(batch))
    }

    /// Place in the plan of the run's dialogue: the last run's, or the next.
    fn follow(&self, id: &str) -> Result<usize, Error> {
        let is = |place: usize| self.plan.dialogues.get(place).is_some_and(|d| d == id);
        let next = self.dialogue.map_or(0, |last| last + 1);
        match self.dialogue {
            Some(last) if is(last) => Ok(last),
            _ if is(next) => Ok(next),
            _ => {
                let problem = format!("row of dialogue `{}` out of order", id.escape_debug());
                Err(Error::damaged(&self.path, problem))
            }
        }
    }

    fn check_end(&self) -> Result<Option<TokenBatch>, Error> {
        if self.rows_left > 0 {
            let problem = format!("it has {} rows fewer than were written", self.rows_left);
            return Err(Error::damaged(&self.path, problem));
        }
        let n_dialogues = self.dialogue.map_or(0, |last| last + 1);
        if let Some(missing) = self.plan.dialogues.get(n_dialogues) {
            let problem = format!("dialogue `{missing}` is missing");
            return Err(Error::damaged(&self.path, problem));
        }
        Ok(None)
    }

    fn decode(&self, batch: &RecordBatch) -> Result<TokenBatch, Error> {
        let damaged = |problem: String| Error::damaged(&self.path, problem);
        let (dialogue_ids, tokens) = from_batch(batch).map_err(damaged)?;
        let mut vectors = Vec::with_capacity(self.columns.len());
        for asked in &self.columns {
            let name = asked.hook_point.column_name();
            let lists = column::<FixedSizeListArray>(batch, &name, false).map_err(damaged)?;
            let values = lists
                .values()
                .as_any()
                .downcast_ref::<Float32Array>()
                .filter(|values| values.null_count() == 0)
                .filter(|values| values.len() == tokens.len() * asked.width)
                .ok_or_else(|| damaged(format!("column `{name}` has holes")))?;
            if let Some(at) = values.values().iter().position(|value| !value.is_finite()) {
                return Err(Error::NonFinite {
                    dialogue: dialogue_ids.value(at / asked.width).to_owned(),
                    token_index: tokens[at / asked.width].token_index,
                    place: asked.hook_point.to_string(),
                    value: values.value(at),
                });
            }
            vectors.push((*asked, values.clone()));
        }
        Ok(TokenBatch {
            part: self.plan.index,
            dialogue_ids,
            tokens,
            vectors,
        })
    }
}

/// Opens a Parquet file of the store and checks its version and its manifest.
pub(crate) fn open_parquet(
    path: &Path,
    manifest_sha256: &str,
) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    let builder = guarded(path, || {
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::damaged(path, e))
    })?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let value = |key: &str| {
        metadata
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == key))
            .and_then(|pair| pair.value.as_deref())
            .ok_or_else(|| Error::damaged(path, format!("its metadata has no `{key}`")))
    };
    value(VERSION_KEY)?
        .parse::<FormatVersion>()
        .and_then(|version| version.accept("activation store"))
        .map_err(|source| Error::Version {
            path: path.to_owned(),
            source,
        })?;
    if value(MANIFEST_KEY)? != manifest_sha256 {
        return Err(Error::damaged(path, "it belongs to another manifest"));
    }
    Ok(builder)
}

/// Checks a part's footer without reading its rows.
pub(crate) fn check_part(
    folder: &Path,
    manifest_sha256: &str,
    record: &PartRecord,
) -> Result<(), Error> {
    let path = part_path(folder, record.index);
    check_rows(&path, &open_parquet(&path, manifest_sha256)?, record)
}

fn check_rows(
    path: &Path,
    builder: &ParquetRecordBatchReaderBuilder<File>,
    record: &PartRecord,
) -> Result<(), Error> {
    let rows = builder.metadata().file_metadata().num_rows();
    if u64::try_from(rows) != Ok(record.rows) {
        let problem = format!("it has {rows} rows, but {} were written", record.rows);
        return Err(Error::damaged(path, problem));
    }
    Ok(())
}

/// Runs the Parquet reader on a file that may have been made to break it.
///
/// Committed files are checked by size and hash, which says nothing of a file that came with its
/// own record. parquet-rs 59.3 panics on some of those (our test of changed bytes meets six such
/// places): it asserts offsets and Arrow types that the file names. A panic there is taken as what it
/// is, a damaged file, until the crate returns errors for all input.
pub(crate) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Error::damaged(path, "the Parquet reader gave up")))
}

#[cfg(test)]
mod tests;
