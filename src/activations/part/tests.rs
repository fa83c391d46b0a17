use std::fs;
use std::io::Write;
use std::mem::forget;

use candor_schema::HookPoint;
use parquet::basic::Encoding;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use super::*;
use crate::testing::{OTHER, POINT, capture, contents, dialogues, fill, manifest, rows, token};
use crate::token::part_schema;
use crate::{CapturedDialogue, Manifest, Store};

fn read(store: &Store) -> Vec<CapturedDialogue> {
    store
        .captured_dialogues(&[POINT, OTHER])
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// A store whose first part is written and whose second is being written.
fn check_refused(append: impl FnOnce(&mut PartWriter<'_>) -> Result<(), Error>) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    let mut part = store.begin_part(0).unwrap();
    let error = append(&mut part).unwrap_err();
    // A refused dialogue leaves no trace.
    fill(&mut part).unwrap();
    part.finish().unwrap();
    error
}

#[test]
fn rows_come_back_at_each_precision() {
    for precision in Precision::ALL {
        let folder = tempfile::tempdir().unwrap();
        let plan = Manifest {
            precision,
            ..manifest()
        };
        let store = capture(folder.path(), &plan).unwrap();
        for (dialogue, id) in read(&store).iter().zip(plan.dialogue_ids()) {
            let (tokens, blocks) = rows(id);
            assert_eq!((dialogue.id.as_str(), &dialogue.tokens), (id, &tokens));
            for ((_, read), written) in dialogue.vectors.iter().zip(blocks) {
                let rounded: Vec<f32> = written.iter().map(|&v| precision.round(v)).collect();
                assert_eq!(*read, rounded);
            }
        }
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    capture(one.path(), &manifest()).unwrap();
    capture(two.path(), &manifest()).unwrap();
    assert_eq!(contents(one.path()), contents(two.path()));
}

#[test]
fn a_value_beyond_the_range_keeps_its_part_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    store.write_dialogues(&dialogues(&manifest())).unwrap();
    for index in store.remaining() {
        let mut part = store.begin_part(index).unwrap();
        if index == 1 {
            let (tokens, [mut one, two]) = rows("c");
            *one.last_mut().unwrap() = -70_000.5;
            let error = part.append("c", &tokens, &[&one, &two]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("dialogue `c`: `{POINT}` has values beyond the range of f16")
            );
            drop(part);
            part = store.begin_exact_part(index).unwrap();
            part.append("c", &tokens, &[&one, &two]).unwrap();
        }
        fill(&mut part).unwrap();
        part.finish().unwrap();
    }
    let records: Vec<(Precision, u64)> = store
        .parts()
        .map(|record| (record.precision, record.overflows))
        .collect();
    let f16 = (Precision::F16, 0);
    assert_eq!(records, [f16, (Precision::F32, 1), f16]);
    let (_, [mut one, two]) = rows("c");
    *one.last_mut().unwrap() = -70_000.5;
    assert_eq!(read(&store)[2].vectors, [(POINT, one), (OTHER, two)]);
}

#[test]
fn what_is_not_finite_is_refused_by_name() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = check_refused(|part| {
            let (tokens, [one, mut two]) = rows("a");
            two[3 * 5 + 1] = value;
            part.append("a", &tokens, &[&one, &two])
        });
        assert_eq!(
            error.to_string(),
            format!(
                "dialogue `a`, token 5: `blocks.10.hook_mlp_out` is {value}, which is not finite"
            )
        );
    }
    let error = check_refused(|part| {
        let (mut tokens, [one, two]) = rows("a");
        tokens[2].entropy = Some(f32::NAN);
        part.append("a", &tokens, &[&one, &two])
    });
    assert!(
        matches!(error, Error::NonFinite { token_index: 2, ref place, .. } if place == "entropy")
    );
}

#[test]
fn rows_that_break_the_plan_are_refused() {
    let (tokens, [one, two]) = rows("a");
    let error = check_refused(|part| part.append("b", &tokens, &[&one, &two]));
    assert_eq!(
        error.to_string(),
        "expected dialogue `a`, found dialogue `b`"
    );
    let error = check_refused(|part| part.append("a", &[], &[&[], &[]]));
    assert!(matches!(error, Error::EmptyDialogue { .. }));
    let error = check_refused(|part| part.append("a", &tokens, &[&one]));
    assert!(matches!(
        error,
        Error::WrongHookPoints {
            expected: 2,
            found: 1,
            ..
        }
    ));
    let error = check_refused(|part| part.append("a", &tokens, &[&one[1..], &two]));
    assert!(matches!(
        error,
        Error::WrongWidth { hook_point, width: 4, .. } if hook_point == POINT
    ));
    let error = check_refused(|part| {
        let tokens = [token(1), token(1)];
        part.append("a", &tokens, &[&one[..8], &two[..6]])
    });
    assert_eq!(
        error.to_string(),
        "dialogue `a`, row 1: `token_index` is 1 after 1"
    );
}

#[test]
fn a_part_ends_with_its_last_dialogue() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    let mut part = store.begin_part(0).unwrap();
    let (tokens, [one, two]) = rows("a");
    part.append("a", &tokens, &[&one, &two]).unwrap();
    assert!(matches!(
        part.finish(),
        Err(Error::MissingDialogue { next, .. }) if next == "b"
    ));
    assert_eq!(store.remaining(), [0, 1, 2]);
    assert_eq!(
        contents(folder.path()).into_keys().collect::<Vec<_>>(),
        [".lock", "manifest.json"]
    );
}

/// Where a run can die.
#[derive(Debug, Clone, Copy)]
enum Death {
    Appending,
    Encoded,
    Published,
    Committed,
}

#[test]
fn a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one() {
    let whole = tempfile::tempdir().unwrap();
    capture(whole.path(), &manifest()).unwrap();
    let whole = contents(whole.path());

    for death in [
        Death::Appending,
        Death::Encoded,
        Death::Published,
        Death::Committed,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = Store::create_or_resume(folder, &manifest()).unwrap();
        for index in [0, 1] {
            let mut part = store.begin_part(index).unwrap();
            fill(&mut part).unwrap();
            if index == 0 {
                part.finish().unwrap();
                continue;
            }
            // The dead run no clean-up: `forget` keeps `Drop` from running.
            if let Death::Appending = death {
                forget(part);
                assert!(folder.join("part-00001.parquet.tmp").exists());
                continue;
            }
            let encoded = part.encode().unwrap();
            match death {
                Death::Appending | Death::Encoded => {
                    assert!(encoded.tmp.path().exists());
                    forget(encoded);
                }
                Death::Published => {
                    encoded.publish().unwrap();
                    assert!(part_path(folder, 1).exists());
                }
                Death::Committed => {
                    encoded.publish().unwrap().commit().unwrap();
                }
            }
        }
        drop(store);
        let reopened = Store::create_or_resume(folder, &manifest()).unwrap();
        let expected = match death {
            Death::Committed => vec![2],
            _ => vec![1, 2],
        };
        assert_eq!(reopened.remaining(), expected, "{death:?}");
        assert!(reopened.rejected().is_empty());
        drop(reopened);
        capture(folder, &manifest()).unwrap();
        assert_eq!(contents(folder), whole, "{death:?}");
    }
}

/// A disk with some bytes left.
struct FillingDisk {
    file: File,
    n_left: usize,
}

impl Write for FillingDisk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.len() > self.n_left {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.n_left -= buf.len();
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for FillingDisk {
    fn sync(&self) -> io::Result<()> {
        match self.n_left {
            0 => Err(io::ErrorKind::StorageFull.into()),
            _ => self.file.sync(),
        }
    }
}

#[test]
fn a_full_disk_leaves_finished_parts_alone() {
    let whole = tempfile::tempdir().unwrap();
    let n_bytes = {
        let store = capture(whole.path(), &manifest()).unwrap();
        store.parts().nth(1).unwrap().bytes as usize
    };

    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    let mut part = store.begin_part(0).unwrap();
    fill(&mut part).unwrap();
    part.finish().unwrap();
    let before = contents(folder.path());
    for n_left in (0..n_bytes).step_by(101).chain([n_bytes - 1, n_bytes]) {
        let (context, slot) = store.part_to_write(1).unwrap();
        let filled = PartWriter::on(context, slot, Precision::F16, |path| {
            let file = File::create(path)?;
            Ok(Box::new(FillingDisk { file, n_left }))
        })
        .and_then(|mut part| {
            fill(&mut part)?;
            part.encode().map(drop)
        });
        let error = filled.unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("finished parts are kept"));
        assert_eq!(contents(folder.path()), before);
    }
    drop(store);
    capture(folder.path(), &manifest()).unwrap();
    assert_eq!(contents(folder.path()), contents(whole.path()));
}

#[test]
fn columns_are_encoded_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let store = capture(folder.path(), &manifest()).unwrap();
    let file = File::open(part_path(folder.path(), 0)).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let metadata = reader.metadata();
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key).unwrap();
        pair.value.clone().unwrap()
    };
    assert_eq!(value(VERSION_KEY), "1.0");
    assert_eq!(value(MANIFEST_KEY), store.manifest_sha256());

    let n_rows = store.parts().next().unwrap().rows;
    assert_eq!(metadata.num_row_groups() as u64, n_rows.div_ceil(10));
    for group in metadata.row_groups() {
        assert!(group.num_rows() <= 10);
        for chunk in group.columns() {
            let path = chunk.column_path().string();
            let encodings: Vec<Encoding> = chunk.encodings().collect();
            if path.ends_with(".list.element") {
                assert!(encodings.contains(&Encoding::BYTE_STREAM_SPLIT), "{path}");
                assert!(chunk.dictionary_page_offset().is_none(), "{path}");
                assert!(chunk.statistics().is_none(), "{path}");
            } else {
                assert!(chunk.statistics().is_some(), "{path}");
                let is_bool = path.starts_with("in_");
                assert_eq!(chunk.dictionary_page_offset().is_none(), is_bool, "{path}");
            }
            assert!(matches!(chunk.compression(), Compression::ZSTD(_)));
        }
    }
}

/// The kept schema; write it anew with `CANDOR_UPDATE_SNAPSHOTS=1 cargo test`.
#[test]
fn the_schema_is_the_kept_one() {
    let width = 4;
    let columns = [POINT, HookPoint::resid_post(12)]
        .map(|hook_point| crate::HookPointWidth { hook_point, width });
    let lines: Vec<String> = part_schema(&columns)
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            let hook_point = field.metadata().get(crate::token::HOOK_POINT_KEY);
            let hook_point = hook_point.map_or(String::new(), |name| format!(" # {name}"));
            let data_type = match field.data_type() {
                arrow::datatypes::DataType::FixedSizeList(item, n) => {
                    let null = if item.is_nullable() { "" } else { " not null" };
                    format!(
                        "FixedSizeList<{}: {}{null}>[{n}]",
                        item.name(),
                        item.data_type()
                    )
                }
                other => other.to_string(),
            };
            format!("{}: {data_type}{null}{hook_point}\n", field.name())
        })
        .collect();
    let text = lines.concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/contracts/store/schema.txt");
    if std::env::var_os("CANDOR_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
