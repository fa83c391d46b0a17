use std::fs;

use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use super::*;
use crate::durable::sha256_hex;
use crate::testing::{OTHER, POINT, capture, manifest};
use crate::{CapturedDialogue, Manifest, Store};

fn read(store: &Store, hook_points: &[HookPoint]) -> Result<Vec<CapturedDialogue>, Error> {
    store.captured_dialogues(hook_points)?.collect()
}

/// Puts `bytes` in place of part 0 with a record that says they are what was written.
fn forge(folder: &Path, bytes: &[u8]) {
    let mut record = PartRecord::read(folder, 0).unwrap().unwrap();
    record.bytes = bytes.len() as u64;
    record.sha256 = sha256_hex(bytes);
    record.write(folder).unwrap();
    fs::write(part_path(folder, 0), bytes).unwrap();
}

/// Byte range of a column in part 0's first row group.
fn chunk(folder: &Path, column: &str) -> Range<usize> {
    let file = File::open(part_path(folder, 0)).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let group = reader.metadata().row_group(0);
    let chunk = group
        .columns()
        .iter()
        .find(|chunk| chunk.column_path().parts()[0] == column)
        .unwrap();
    let (start, len) = chunk.byte_range();
    start as usize..(start + len) as usize
}

#[test]
fn only_the_columns_asked_for_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = capture(folder.path(), &manifest()).unwrap();
    let whole = read(&store, &[POINT]).unwrap();
    let mut bytes = fs::read(part_path(folder.path(), 0)).unwrap();
    bytes[chunk(folder.path(), &OTHER.column_name())].fill(0xff);
    fs::write(part_path(folder.path(), 0), &bytes).unwrap();

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(read(&store, &[POINT]).unwrap(), whole);
    assert!(matches!(
        read(&store, &[POINT, OTHER]),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(store.verify(), Err(Error::WrongHash { .. })));
}

#[test]
fn batches_hold_runs_of_dialogues() {
    let folder = tempfile::tempdir().unwrap();
    let store = capture(folder.path(), &manifest()).unwrap();
    let batches: Vec<TokenBatch> = store
        .token_batches(&[OTHER])
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(batches[0].part, 0);
    let runs = batches[0].dialogues();
    assert_eq!(
        runs.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(runs[0].1.end, runs[1].1.start);
    assert_eq!(batches[0].vectors(POINT), None);
    assert_eq!(batches[0].width(OTHER), Some(3));
    let n_values = batches[0].vectors(OTHER).unwrap().len();
    assert_eq!(n_values, 3 * batches[0].tokens().len());
    let without_vectors = read(&store, &[]).unwrap();
    assert_eq!(without_vectors.len(), 5);
}

#[test]
fn a_dialogue_longer_than_a_batch_is_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Manifest {
        parts: vec![crate::PartPlan {
            index: 0,
            dialogues: vec!["a".into(), "b".into()],
        }],
        ..manifest()
    };
    let mut store = Store::create_or_resume(folder.path(), &plan).unwrap();
    store
        .write_dialogues(&crate::testing::dialogues(&plan))
        .unwrap();
    let n_tokens = 2 * MAX_BATCH_ROWS;
    let mut part = store.begin_part(0).unwrap();
    for (id, n_tokens) in [("a", n_tokens), ("b", 3)] {
        let tokens: Vec<Token> = (0..n_tokens as u32).map(crate::testing::token).collect();
        let values: Vec<f32> = (0..n_tokens).flat_map(|i| [(i % 1000) as f32; 4]).collect();
        part.append(id, &tokens, &[&values, &values[..3 * n_tokens]])
            .unwrap();
    }
    part.finish().unwrap();
    let dialogues = read(&store, &[POINT]).unwrap();
    let shape: Vec<(&str, usize, usize)> = dialogues
        .iter()
        .map(|d| (d.id.as_str(), d.tokens.len(), d.vectors[0].1.len()))
        .collect();
    assert_eq!(shape, [("a", n_tokens, 4 * n_tokens), ("b", 3, 12)]);
    assert_eq!(
        dialogues[0].tokens[n_tokens - 1].token_index,
        n_tokens as u32 - 1
    );
}

#[test]
fn an_unknown_hook_point_and_an_incomplete_store_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    let error = read(&store, &[POINT]).unwrap_err();
    assert!(matches!(
        error,
        Error::Incomplete {
            n_missing: 4,
            n_files: 4,
            ..
        }
    ));
    let error = read(&store, &[HookPoint::resid_post(3)]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it has `blocks.2.hook_resid_post`, `blocks.10.hook_mlp_out`")
    );
}

#[test]
fn rows_that_do_not_follow_record_or_plan_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    let record = PartRecord::read(folder, 0).unwrap().unwrap();
    for rows in [record.rows - 1, record.rows + 1] {
        let forged = PartRecord {
            rows,
            ..record.clone()
        };
        forged.write(folder).unwrap();
        let store = Store::open(folder).unwrap();
        assert!(matches!(read(&store, &[]), Err(Error::Damaged { .. })));
    }
    record.write(folder).unwrap();

    // A sound part in the place of another.
    forge(folder, &fs::read(part_path(folder, 1)).unwrap());
    let mut forged = PartRecord::read(folder, 0).unwrap().unwrap();
    forged.rows = PartRecord::read(folder, 1).unwrap().unwrap().rows;
    forged.write(folder).unwrap();
    let error = read(&Store::open(folder).unwrap(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("row of dialogue `c` out of order")
    );
}

#[test]
fn a_part_of_another_plan_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (one.path(), two.path());
    capture(one, &manifest()).unwrap();
    let other = Manifest {
        seed: Some(1),
        ..manifest()
    };
    capture(two, &other).unwrap();
    forge(one, &fs::read(part_path(two, 0)).unwrap());
    let error = read(&Store::open(one).unwrap(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it belongs to another manifest")
    );
}

#[test]
fn truncated_and_scribbled_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    let bytes = fs::read(part_path(folder, 0)).unwrap();
    let attempt = |bytes: &[u8]| {
        forge(folder, bytes);
        Store::open(folder).and_then(|store| read(&store, &[POINT, OTHER]))
    };
    for n in (0..bytes.len()).step_by(41) {
        assert!(attempt(&bytes[..n]).is_err(), "{n} bytes");
    }
    // What a changed byte means is anybody's guess; that it ends is not.
    for at in (0..bytes.len()).step_by(11) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Ok(dialogues) = attempt(&bytes) {
                let mut values = dialogues.iter().flat_map(|d| &d.vectors);
                assert!(values.all(|(_, v)| v.iter().all(|v| v.is_finite())));
            }
        }
    }
}
