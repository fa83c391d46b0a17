//! Writing one part.

mod encoder;

use std::fs::File;
use std::io;
use std::path::Path;

use candor_schema::FormatVersion;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use serde_json::Map;

use crate::durable::TmpFile;
use crate::manifest::{Manifest, PartPlan};
use crate::record::{PartRecord, part_file, part_path};
use crate::{Error, Precision, Token};
use encoder::{Encoder, Output};

/// Parquet key under which a file of the store names its format version.
pub(crate) const VERSION_KEY: &str = "format_version";
/// Parquet key under which a file of the store names the SHA-256 of `manifest.json`.
pub(crate) const MANIFEST_KEY: &str = "manifest_sha256";

/// One part while it is captured: dialogues are appended in the order of the plan.
///
/// Nothing of the part is visible in the store before [`PartWriter::finish`] returns. Dropping the
/// writer discards what was appended.
#[derive(Debug)]
pub struct PartWriter<'s> {
    context: PartContext<'s>,
    /// Where the store notes that the part is committed.
    slot: &'s mut Option<PartRecord>,
    // Before the temporary: the file is closed before it is removed.
    encoder: Encoder,
    tmp: TmpFile,
    precision: Precision,
    n_dialogues: usize,
    n_rows: usize,
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
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::on(context, slot, precision, |path| {
            Ok(Box::new(File::create(path)?))
        })
    }

    fn on(
        context: PartContext<'s>,
        slot: &'s mut Option<PartRecord>,
        precision: Precision,
        create: impl FnOnce(&Path) -> io::Result<Box<dyn Output>>,
    ) -> Result<Self, Error> {
        let tmp = TmpFile::new(&part_path(context.folder, context.plan.index));
        let output = create(tmp.path()).map_err(|e| Error::write(tmp.path(), "create", e))?;
        Ok(Self {
            context,
            slot,
            encoder: Encoder::new(output, tmp.path(), context, precision)?,
            tmp,
            precision,
            n_dialogues: 0,
            n_rows: 0,
            n_overflows: 0,
        })
    }

    /// The dialogue that [`PartWriter::append`] expects; none once all are there.
    pub fn next_dialogue(&self) -> Option<&'s str> {
        let plan = self.context.plan;
        plan.dialogues.get(self.n_dialogues).map(String::as_str)
    }

    /// Appends the plan's next dialogue.
    ///
    /// `vectors` holds one block `[token, width]`, row by row, for each of the manifest's hook
    /// points in their order. Values are given unrounded.
    ///
    /// # Errors
    /// [`Error::UnexpectedDialogue`], [`Error::EmptyDialogue`], [`Error::BadToken`],
    /// [`Error::WrongHookPoints`], [`Error::WrongWidth`] or [`Error::NonFinite`] if the rows break
    /// the plan or hold a NaN or an infinity: then nothing was appended.
    /// [`Error::BeyondPrecision`], [`Error::DiskFull`] and other failures to write: then the writer
    /// can only be dropped.
    pub fn append(
        &mut self,
        dialogue: &str,
        tokens: &[Token],
        vectors: &[&[f32]],
    ) -> Result<(), Error> {
        self.check(dialogue, tokens, vectors)?;
        let manifest = self.context.manifest;
        for (column, block) in manifest.hook_points.iter().zip(vectors) {
            let n_overflows = manifest.precision.overflows(block);
            if n_overflows > 0 && self.precision != Precision::F32 {
                return Err(Error::BeyondPrecision {
                    dialogue: dialogue.to_owned(),
                    hook_point: column.hook_point,
                    precision: self.precision,
                });
            }
            self.n_overflows += n_overflows;
        }
        self.encoder.push(dialogue, tokens, vectors)?;
        self.n_dialogues += 1;
        self.n_rows += tokens.len();
        Ok(())
    }

    /// Commits the part.
    ///
    /// # Errors
    /// [`Error::MissingDialogue`] if dialogues of the plan were not appended, [`Error::DiskFull`]
    /// and other failures to write. The store's other parts are untouched.
    pub fn finish(self) -> Result<PartRecord, Error> {
        self.encode()?.publish()?.commit()
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
    fn encode(self) -> Result<EncodedPart<'s>, Error> {
        let PartContext { folder, plan, .. } = self.context;
        if let Some(next) = self.next_dialogue() {
            return Err(Error::MissingDialogue {
                file: part_file(plan.index),
                next: next.to_owned(),
            });
        }
        let (output, bytes, sha256) = self.encoder.finish()?;
        output
            .sync()
            .map_err(|e| Error::write(self.tmp.path(), "sync", e))?;
        let record = PartRecord {
            format_version: FormatVersion::CURRENT,
            index: plan.index,
            rows: self.n_rows as u64,
            bytes,
            sha256,
            precision: self.precision,
            overflows: self.n_overflows as u64,
            extra: Map::new(),
        };
        Ok(EncodedPart {
            folder,
            slot: self.slot,
            tmp: self.tmp,
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
