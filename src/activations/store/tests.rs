use super::*;
use crate::testing::{POINT, capture, contents, dialogue, dialogues, manifest};

fn flip_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_finished_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    let before = contents(folder);
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".lock",
            "dialogues.json",
            "dialogues.parquet",
            "manifest.json",
            "part-00000.json",
            "part-00000.parquet",
            "part-00001.json",
            "part-00001.parquet",
            "part-00002.json",
            "part-00002.parquet",
        ]
    );
    let store = Store::create_or_resume(folder, &manifest()).unwrap();
    assert!(store.is_complete() && store.rejected().is_empty());
    assert_eq!(contents(folder), before);
    let opened = Store::open(folder).unwrap();
    assert_eq!(opened.manifest(), &manifest());
    assert_eq!(opened.dialogues().unwrap(), dialogues(&manifest()));
    opened.verify().unwrap();
}

#[test]
fn another_plan_in_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    capture(folder.path(), &manifest()).unwrap();
    let before = contents(folder.path());
    let mut other = manifest();
    other.model.quantisation = "Q8_0".into();
    let error = Store::create_or_resume(folder.path(), &other).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with(
            "was planned with `model.quantisation` = \"F32\", but this run has \"Q8_0\""
        ),
        "{text}"
    );
    assert!(error.hint().is_some());
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_damaged_part_is_found_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    let whole = contents(folder);

    let damages: [&dyn Fn(); 5] = [
        &|| flip_byte(&part_path(folder, 1), 100),
        &|| fs::write(part_path(folder, 1), b"PAR1").unwrap(),
        &|| fs::remove_file(part_path(folder, 1)).unwrap(),
        &|| fs::write(record_path(folder, 1), b"{").unwrap(),
        &|| {
            fs::copy(part_path(folder, 0), part_path(folder, 1))
                .map(drop)
                .unwrap();
        },
    ];
    for damage in damages {
        damage();
        let store = Store::create_or_resume(folder, &manifest()).unwrap();
        assert_eq!(store.remaining(), [1]);
        let rejected: Vec<Option<usize>> = store.rejected().iter().map(|r| r.part).collect();
        assert_eq!(rejected, [Some(1)]);
        assert!(store.rejected()[0].reason.hint().is_some());
        assert!(!part_path(folder, 1).exists() && !record_path(folder, 1).exists());
        drop(store);
        capture(folder, &manifest()).unwrap();
        assert_eq!(contents(folder), whole);
    }

    flip_byte(&folder.join(DIALOGUES_FILE), 0);
    assert!(matches!(
        Store::open(folder).unwrap().dialogues(),
        Err(Error::WrongHash { .. })
    ));
    let store = Store::create_or_resume(folder, &manifest()).unwrap();
    assert!(!store.has_dialogues() && store.remaining().is_empty());
    assert_eq!(store.rejected()[0].part, None);
    drop(store);
    capture(folder, &manifest()).unwrap();
    assert_eq!(contents(folder), whole);
}

#[test]
fn dialogues_without_their_record_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    let whole = contents(folder);
    fs::remove_file(folder.join(DIALOGUES_RECORD_FILE)).unwrap();
    let store = Store::create_or_resume(folder, &manifest()).unwrap();
    assert!(!store.has_dialogues() && store.rejected().is_empty());
    drop(store);
    capture(folder, &manifest()).unwrap();
    assert_eq!(contents(folder), whole);
}

#[test]
fn a_part_of_a_newer_candor_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    capture(folder, &manifest()).unwrap();
    fs::write(record_path(folder, 0), b"{\"format_version\": \"9.0\"}").unwrap();
    let before = contents(folder);
    let error = Store::create_or_resume(folder, &manifest()).unwrap_err();
    assert!(matches!(error, Error::Version { .. }));
    assert_eq!(contents(folder), before);
    assert!(matches!(Store::open(folder), Err(Error::Version { .. })));
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = capture(folder.path(), &manifest()).unwrap();
    let second = Store::create_or_resume(folder.path(), &manifest()).unwrap_err();
    assert!(matches!(second, Error::FolderInUse { .. }));
    Store::open(folder.path()).unwrap();
    drop(first);
    Store::create_or_resume(folder.path(), &manifest()).unwrap();
}

#[test]
fn a_folder_with_other_contents_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part-00000.parquet"), b"mine").unwrap();
    let error = Store::create_or_resume(folder.path(), &manifest()).unwrap_err();
    assert!(matches!(error, Error::FolderNotEmpty { .. }));
    let names: Vec<String> = contents(folder.path()).into_keys().collect();
    assert_eq!(names, ["part-00000.parquet"]);
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }));
}

#[test]
fn a_run_that_died_before_its_manifest_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new").join("store");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("manifest.json.tmp"), b"{").unwrap();
    fs::write(folder.join(LOCK_FILE), b"").unwrap();
    capture(&folder, &manifest()).unwrap();
    assert!(!folder.join("manifest.json.tmp").exists());
}

#[test]
fn files_of_others_in_the_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    capture(folder.path(), &manifest()).unwrap();
    for name in ["notes.tmp", "part-99999.parquet"] {
        fs::write(folder.path().join(name), b"mine").unwrap();
    }
    capture(folder.path(), &manifest()).unwrap();
    let contents = contents(folder.path());
    assert!(contents.contains_key("notes.tmp") && contents.contains_key("part-99999.parquet"));
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"").unwrap();
    assert!(Store::create_or_resume(&path, &manifest()).is_err());
    assert!(matches!(Store::open(&path), Err(Error::NotAStore { .. })));
}

#[test]
fn parts_are_written_once_and_by_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = capture(folder.path(), &manifest()).unwrap();
    assert!(matches!(
        store.begin_part(3),
        Err(Error::NoSuchPart {
            index: 3,
            n_parts: 3
        })
    ));
    assert!(matches!(
        store.begin_part(0),
        Err(Error::PartAlreadyWritten { index: 0 })
    ));
    let mut reader = Store::open(folder.path()).unwrap();
    assert!(matches!(
        reader.begin_part(0),
        Err(Error::OpenedForReading { .. })
    ));
    assert!(matches!(
        reader.write_dialogues(&[]),
        Err(Error::OpenedForReading { .. })
    ));
}

#[test]
fn dialogues_are_those_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(folder.path(), &manifest()).unwrap();
    let mut dialogues = dialogues(&manifest());
    assert!(matches!(
        store.write_dialogues(&dialogues[..4]),
        Err(Error::MissingDialogue { next, .. }) if next == "e"
    ));
    dialogues.push(dialogue("f"));
    let error = store.write_dialogues(&dialogues).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected no more dialogues, found dialogue `f`"
    );
    dialogues.pop();
    dialogues.swap(0, 1);
    assert!(store.write_dialogues(&dialogues).is_err());
    assert!(matches!(store.dialogues(), Err(Error::Incomplete { .. })));
}

#[test]
fn an_opened_store_checks_sizes() {
    let folder = tempfile::tempdir().unwrap();
    capture(folder.path(), &manifest()).unwrap();
    let path = part_path(folder.path(), 2);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[1..]).unwrap();
    assert!(matches!(
        Store::open(folder.path()),
        Err(Error::WrongSize { .. })
    ));
    fs::write(&path, &bytes).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.captured_dialogues(&[POINT]).unwrap().count(), 5);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_named_as_such() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let set = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    // Permissions do not bind the superuser, who runs many containers.
    if File::create(folder.path().join("probe")).is_err() {
        let error = Store::create_or_resume(folder.path(), &manifest()).unwrap_err();
        assert!(matches!(error, Error::NotWritable { .. }));
        assert!(error.hint().is_some());
    }
    set(0o755);
}
