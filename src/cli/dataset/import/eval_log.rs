//! Inspect's `.eval`: a zip with `header.json` and one JSON file per sample.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use candor_dataset::Import;
use serde_json::Value;
use zip::{CompressionMethod, ZipArchive};

use crate::exit::{Exit, Failure};

/// Largest sample that is read, in bytes: a zip of some kilobytes can hold gigabytes.
const MAX_ENTRY: u64 = 64 << 20;

/// Hands the header and every sample to `import`; samples are counted from 1 in the file's order.
pub(super) fn read(path: &Path, import: &mut Import) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut archive = ZipArchive::new(file).map_err(|error| super::unreadable(path, &error))?;
    // A log that is still being written has the first part of its header only.
    let names = ["header.json", "_journal/start.json"];
    let header = names
        .iter()
        .find_map(|name| archive.index_for_name(name))
        .ok_or_else(|| {
            Failure::error(
                Exit::BadInput,
                format!("`{}` has no header.json", path.display()),
                "check that it is a log of Inspect",
            )
        })?;
    import.head(entry(path, &mut archive, header)?);
    let mut number = 0;
    for index in 0..archive.len() {
        let Some(name) = name_of(&archive, index) else {
            continue;
        };
        let Some(sample) = name.strip_prefix("samples/") else {
            continue;
        };
        match kind_of(sample) {
            Kind::Whole => {
                number += 1;
                let value = entry(path, &mut archive, index)?;
                import.record(number, &value);
            }
            Kind::InChunks => {
                number += 1;
                import.skip(number, "the sample is stored in chunks, which are not read");
            }
            Kind::Other => {}
        }
    }
    Ok(())
}

enum Kind {
    /// All of a sample.
    Whole,
    /// The first of the files that a large sample is spread over.
    InChunks,
    Other,
}

fn kind_of(name: &str) -> Kind {
    let is_sample = |name: &str| {
        let epoch = name.rsplit_once("_epoch_").map(|(_, epoch)| epoch);
        epoch.is_some_and(|epoch| epoch.parse::<u32>().is_ok())
    };
    match name.rsplit_once('/') {
        _ if name.strip_suffix(".json").is_some_and(is_sample) => Kind::Whole,
        Some((folder, "sample.json")) if is_sample(folder) => Kind::InChunks,
        _ => Kind::Other,
    }
}

/// The name of a file of the archive, if it is text.
fn name_of(archive: &ZipArchive<File>, index: usize) -> Option<String> {
    Some(archive.name_for_index(index)?.ok()?.into_owned())
}

/// One JSON file of the archive.
///
/// Newer logs are compressed with Zstandard, which zip is built without: the copy of it that
/// Parquet uses reads them.
fn entry(path: &Path, archive: &mut ZipArchive<File>, index: usize) -> anyhow::Result<Value> {
    let name = name_of(archive, index).unwrap_or_default();
    let failed = |error: &dyn std::fmt::Display| super::unreadable(&path.join(&name), error);
    let mut bytes = Vec::new();
    let zstd = {
        let raw = archive.by_index_raw(index).map_err(|e| failed(&e))?;
        if raw.compression() == CompressionMethod::ZSTD {
            let decoder = zstd::stream::read::Decoder::new(raw).map_err(|e| failed(&e))?;
            let mut bounded = decoder.take(MAX_ENTRY + 1);
            bounded.read_to_end(&mut bytes).map_err(|e| failed(&e))?;
            true
        } else {
            false
        }
    };
    if !zstd {
        let file = archive.by_index(index).map_err(|e| failed(&e))?;
        let mut bounded = file.take(MAX_ENTRY + 1);
        bounded.read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    }
    if bytes.len() as u64 > MAX_ENTRY {
        let what = format!("it is larger than {} MiB", MAX_ENTRY >> 20);
        return Err(failed(&what));
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use candor_dataset::ImportOptions;

    use super::*;
    use crate::dataset::import::tests::{damaged, fixture};

    fn import(path: &Path) -> anyhow::Result<candor_dataset::Imported> {
        let mut options = ImportOptions::default();
        for word in ["C=honest", "I=deceptive", "P=ungraded"] {
            options.label_word(word)?;
        }
        let mut import = Import::new("inspect", path, options)?;
        read(path, &mut import)?;
        Ok(import.finish()?)
    }

    /// A log with a header and these files.
    fn log(
        folder: &Path,
        compress: CompressionMethod,
        files: &[(&str, Vec<u8>)],
    ) -> std::path::PathBuf {
        let path = folder.join("l.eval");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().compression_method(compress);
        let header = br#"{"eval": {"task": "t", "model": "m"}}"#.to_vec();
        for (name, bytes) in [("header.json", header)].iter().chain(files) {
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
        path
    }

    #[test]
    fn a_log_in_either_form_gives_the_same() {
        let imported = import(&fixture("log.eval")).unwrap();
        let mut json = Import::new("inspect", &fixture("log.json"), {
            let mut options = ImportOptions::default();
            for word in ["C=honest", "I=deceptive", "P=ungraded"] {
                options.label_word(word).unwrap();
            }
            options
        })
        .unwrap();
        json.read_file().unwrap();
        let json = json.finish().unwrap();
        assert_eq!(imported.dialogues.len(), 3);
        for (a, b) in imported.dialogues.iter().zip(&json.dialogues) {
            let mut b = b.clone();
            b.extra.clone_from(&a.extra);
            assert_eq!(*a, b);
        }
        assert_eq!(imported.skipped, json.skipped);
    }

    #[test]
    fn chunks_are_counted_and_other_files_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let sample =
            br#"{"id": "a/b", "epoch": 1, "messages": [{"role": "user", "content": "x"}]}"#;
        let path = log(
            folder.path(),
            CompressionMethod::Deflated,
            &[
                ("samples/a/b_epoch_1.json", sample.to_vec()),
                ("samples/c_epoch_1/sample.json", b"{}".to_vec()),
                ("samples/c_epoch_1/messages/0.json", b"[]".to_vec()),
                ("summaries.json", b"[]".to_vec()),
            ],
        );
        let imported = import(&path).unwrap();
        assert_eq!((imported.n_records, imported.dialogues.len()), (2, 1));
        assert_eq!(imported.skipped.values().next().unwrap(), &[2]);
    }

    #[test]
    fn a_sample_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let large = vec![b' '; MAX_ENTRY as usize + 2];
        let path = log(
            folder.path(),
            CompressionMethod::Deflated,
            &[("samples/1_epoch_1.json", large)],
        );
        let error = import(&path).unwrap_err().to_string();
        assert!(error.contains("larger than 64 MiB"), "{error}");
    }

    #[test]
    fn zstandard_is_read() {
        // zip is built without it here, as in the command: the bytes are put in as they are.
        let sample = br#"{"id": 1, "epoch": 1, "messages": [{"role": "user", "content": "x"}]}"#;
        let packed = zstd::stream::encode_all(&sample[..], 3).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = log(
            folder.path(),
            CompressionMethod::Stored,
            &[("samples/1_epoch_1.json", packed)],
        );
        // Method 0 becomes 93 in the sample's local header and in the list at the end.
        let mut bytes = std::fs::read(&path).unwrap();
        let mut n_marked = 0;
        for at in 0..bytes.len() - 4 {
            let (method, name) = match &bytes[at..at + 4] {
                b"PK\x03\x04" => (at + 8, at + 30),
                b"PK\x01\x02" => (at + 10, at + 46),
                _ => continue,
            };
            if bytes[name..].starts_with(b"samples/") {
                bytes[method] = 93;
                n_marked += 1;
            }
        }
        assert_eq!(n_marked, 2);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(import(&path).unwrap().dialogues.len(), 1);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        for path in damaged("log.eval", 300).iter() {
            let _ = import(path);
        }
    }
}
