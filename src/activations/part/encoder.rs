//! Encodes the rows of a part as they come.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::{Field, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::{PartContext, file_properties, write_error};
use crate::durable::HashingWriter;
use crate::manifest::Manifest;
use crate::token::{element_field, part_schema, to_arrays};
use crate::{Error, Precision, Token};

/// Bytes of vectors that are turned into Arrow at a time.
const BATCH_BYTES: usize = 4 << 20;

/// What a part is written to: a file, or in tests a disk that fills up.
pub(super) trait Output: Write + Send {
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

impl Output for std::fs::File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The output behind the Parquet writer, which only gives it back with the reason of a failure lost.
#[derive(Clone)]
struct Sink(Arc<Mutex<HashingWriter<Box<dyn Output>>>>);

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        output.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        output.flush()
    }
}

type Writer = SerializedFileWriter<Sink>;

/// Rows on their way into a Parquet file. The columns of a batch are encoded side by side on all
/// cores, while the row group before goes to the disk.
///
/// Batches and row groups start at multiples of fixed numbers of rows, so the bytes do not depend
/// on how the rows were pushed.
pub(super) struct Encoder {
    path: PathBuf,
    schema: SchemaRef,
    precision: Precision,
    sink: Sink,
    writer: Writer,
    factory: ArrowRowGroupWriterFactory,
    group_rows: usize,
    batch_rows: usize,
    n_groups: usize,
    /// Of the row group that is being filled; empty before its first batch.
    columns: Vec<ArrowColumnWriter>,
    rows_in_group: usize,
    /// The row group before, not yet on the disk.
    encoded: Vec<ArrowColumnChunk>,
    /// Rows that do not make a batch yet.
    tokens: Vec<Token>,
    dialogue_ids: Vec<Arc<str>>,
    /// `[row, width]` per vector column.
    vectors: Vec<Vec<f32>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new(
        output: Box<dyn Output>,
        path: &Path,
        context: PartContext<'_>,
        precision: Precision,
    ) -> Result<Self, Error> {
        let manifest = context.manifest;
        let schema = part_schema(&manifest.hook_points);
        let properties = part_properties(manifest, context.manifest_sha256);
        let sink = Sink(Arc::new(Mutex::new(HashingWriter::new(output))));
        let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(&schema), Some(properties));
        let (writer, factory) = writer
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(|e| write_error(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            precision,
            sink,
            writer,
            factory,
            group_rows: rows_within(manifest.row_group_bytes, manifest),
            batch_rows: rows_within(BATCH_BYTES, manifest),
            n_groups: 0,
            columns: Vec::new(),
            rows_in_group: 0,
            encoded: Vec::new(),
            tokens: Vec::new(),
            dialogue_ids: Vec::new(),
            vectors: vec![Vec::new(); manifest.hook_points.len()],
        })
    }

    /// Adds the rows of a dialogue; `vectors` are `[row, width]` each.
    pub(super) fn push(
        &mut self,
        dialogue: &str,
        tokens: &[Token],
        vectors: &[&[f32]],
    ) -> Result<(), Error> {
        let id: Arc<str> = dialogue.into();
        let mut done = 0;
        while done < tokens.len() {
            let n = (self.rows_to_fill() - self.tokens.len()).min(tokens.len() - done);
            self.tokens.extend_from_slice(&tokens[done..done + n]);
            self.dialogue_ids
                .extend(std::iter::repeat_n(Arc::clone(&id), n));
            for (column, values) in self.vectors.iter_mut().zip(vectors) {
                let width = values.len() / tokens.len();
                column.extend_from_slice(&values[done * width..(done + n) * width]);
            }
            done += n;
            if self.tokens.len() == self.rows_to_fill() {
                self.encode_batch()?;
            }
        }
        Ok(())
    }

    /// Writes what is left; gives the output, its length, and its SHA-256 in hexadecimal.
    pub(super) fn finish(mut self) -> Result<(Box<dyn Output>, u64, String), Error> {
        if !self.tokens.is_empty() {
            self.encode_batch()?;
        }
        self.close_group()?;
        let failed = |e| write_error(&self.path, e);
        write_group(&mut self.writer, std::mem::take(&mut self.encoded)).map_err(failed)?;
        self.writer.close().map_err(failed)?;
        let output = Arc::into_inner(self.sink.0).expect("the Parquet writer is gone");
        let output = output.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(output.finish())
    }

    /// Rows of the batch that is being filled.
    fn rows_to_fill(&self) -> usize {
        self.batch_rows.min(self.group_rows - self.rows_in_group)
    }

    /// Rounds and encodes the waiting rows.
    fn encode_batch(&mut self) -> Result<(), Error> {
        let failed = |e| write_error(&self.path, e);
        if self.columns.is_empty() {
            self.columns = self
                .factory
                .create_column_writers(self.n_groups)
                .map_err(failed)?;
        }
        let n_rows = self.tokens.len();
        let n_token_columns = self.columns.len() - self.vectors.len();
        let (token_columns, vector_columns) = self.columns.split_at_mut(n_token_columns);
        let (token_fields, vector_fields) = self.schema.fields().split_at(n_token_columns);
        let ids = self.dialogue_ids.iter().map(AsRef::as_ref);
        let arrays = to_arrays(ids, &self.tokens);
        let precision = self.precision;
        let encode = || {
            for ((column, field), array) in token_columns.iter_mut().zip(token_fields).zip(arrays) {
                write_leaf(column, field, &array)?;
            }
            vector_columns
                .par_iter_mut()
                .zip(vector_fields)
                .zip(&mut self.vectors)
                .try_for_each(|((column, field), values)| {
                    precision.round_all(values);
                    let next = Vec::with_capacity(values.len());
                    let values = std::mem::replace(values, next);
                    write_leaf(column, field, &vector_array(values, n_rows))
                })
        };
        let before = std::mem::take(&mut self.encoded);
        let (written, encoded) = rayon::join(|| write_group(&mut self.writer, before), encode);
        written.and(encoded).map_err(failed)?;
        self.tokens.clear();
        self.dialogue_ids.clear();
        self.rows_in_group += n_rows;
        if self.rows_in_group == self.group_rows {
            self.close_group()?;
        }
        Ok(())
    }

    /// Ends a row group, if there is one.
    fn close_group(&mut self) -> Result<(), Error> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let failed = |e| write_error(&self.path, e);
        // Only where the row group before had no batch after it.
        write_group(&mut self.writer, std::mem::take(&mut self.encoded)).map_err(failed)?;
        self.encoded = std::mem::take(&mut self.columns)
            .into_par_iter()
            .map(ArrowColumnWriter::close)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        self.n_groups += 1;
        self.rows_in_group = 0;
        Ok(())
    }
}

fn write_group(writer: &mut Writer, chunks: Vec<ArrowColumnChunk>) -> Result<(), ParquetError> {
    if chunks.is_empty() {
        return Ok(());
    }
    let mut group = writer.next_row_group()?;
    for chunk in chunks {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    Ok(())
}

/// Every column of the store has one leaf.
fn write_leaf(
    column: &mut ArrowColumnWriter,
    field: &Field,
    array: &ArrayRef,
) -> Result<(), ParquetError> {
    compute_leaves(field, array)?
        .iter()
        .try_for_each(|leaf| column.write(leaf))
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

/// Rows whose vectors fill `bytes`, at least one.
fn rows_within(bytes: usize, manifest: &Manifest) -> usize {
    (bytes / (manifest.row_width() * size_of::<f32>())).max(1)
}
