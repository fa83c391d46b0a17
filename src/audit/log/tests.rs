//! Logs that are written, damaged and checked.

use std::fs;

use candor_schema::{
    EnforcementMode, OnPolicy, PolicyRef, ProbeMatch, ProbeRole, ProbeVerdict, ScoreSource, Scores,
    Timing, TokenScore, Usage, VerdictKind,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::error::Fault;

fn verdict(id: &str) -> Verdict {
    let token = |(index, text): (usize, &str)| TokenScore {
        index,
        text: Some(text.into()),
        logit: Some(0.1 + index as f64 / 3.0),
    };
    let texts = ["secret", " words", "\n\"é"].into_iter().enumerate();
    let probe = ProbeVerdict {
        name: "p".into(),
        version: "1".into(),
        sha256: "ab".into(),
        role: ProbeRole::Acting,
        verdict: VerdictKind::Flag,
        logit: -1e-300,
        probability: Some(1.0 / 3.0),
        threshold: None,
        fpr_budget: None,
        certified: None,
        percentile: None,
        intent: None,
        first_flag_token: None,
        readings: None,
        tokens: Some(texts.map(token).collect()),
        ood: None,
    };
    Verdict {
        format_version: FormatVersion::CURRENT,
        id: id.into(),
        created: "2025-01-01T00:00:00Z".into(),
        verdict: VerdictKind::Flag,
        reason: None,
        action: None,
        policy: PolicyRef {
            name: "annotate".into(),
            version: "1".into(),
            mode: EnforcementMode::Shadow,
        },
        scores: Scores::default(),
        probes: vec![probe],
        model: "m \"sha256\":\"\"}".into(),
        source: ScoreSource::Read,
        probe_match: ProbeMatch::Exact,
        on_policy: OnPolicy::Unknown,
        exact: true,
        usage: Usage::default(),
        timing_ms: Timing::default(),
    }
}

/// A log of four rows, closed.
struct Written {
    folder: TempDir,
    lines: Vec<String>,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut log = AuditLog::open(&path).unwrap();
        for i in 0..4 {
            log.append(&verdict(&format!("id{i}"))).unwrap();
        }
        let text = fs::read_to_string(path).unwrap();
        Self {
            folder,
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn save(&self) {
        fs::write(self.path(), self.lines.join("\n") + "\n").unwrap();
    }

    /// The line, from 1, and what is wrong with it.
    #[track_caller]
    fn fault(&self) -> (u64, Fault) {
        self.save();
        let broken = verify(&self.path()).unwrap().broken.unwrap();
        let shown = format!("{}:{}: ", self.path().display(), broken.line);
        assert!(broken.to_string().starts_with(&shown), "{broken}");
        // The log is far shorter than the tail, so opening it sees the same.
        match AuditLog::open(&self.path()).unwrap_err() {
            Error::Broken(found) => assert_eq!(found, broken),
            other => panic!("{other:?}"),
        }
        (broken.line, broken.fault)
    }
}

#[test]
fn round_trip_over_several_openings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut rows = Vec::new();
    for i in 0..5 {
        let mut log = AuditLog::open(&path).unwrap().sync_each_row(i % 2 == 0);
        assert_eq!((log.n_rows(), log.cut_bytes()), (i, 0));
        rows.push(log.append(&verdict(&format!("id{i}"))).unwrap());
        log.sync().unwrap();
    }
    let report = verify(&path).unwrap();
    assert_eq!((report.n_rows, report.torn_bytes), (5, 0));
    assert_eq!(report.broken, None);
    assert_eq!(report.head_sha256, rows[4].sha256);

    let text = fs::read_to_string(&path).unwrap();
    let read = text.lines().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(read.collect::<Vec<AuditRow>>(), rows);
    assert_eq!(rows[0].previous_sha256, Head::start().sha256);
    assert_eq!(rows[1].previous_sha256, rows[0].sha256);
    assert!(rows.iter().zip(0..).all(|(row, i)| row.sequence == i));
}

#[test]
fn the_hash_is_of_the_row_with_that_field_empty() {
    let written = Written::new();
    let mut row: AuditRow = serde_json::from_str(&written.lines[2]).unwrap();
    let stated = std::mem::take(&mut row.sha256);
    let bytes = serde_json::to_vec(&row).unwrap();
    assert_eq!(format!("{:x}", Sha256::digest(bytes)), stated);
}

#[test]
fn token_texts_are_not_written() {
    let written = Written::new();
    for line in &written.lines {
        assert!(!line.contains("secret") && !line.contains("words"));
        let row: AuditRow = serde_json::from_str(line).unwrap();
        let tokens = row.verdict.probes[0].tokens.as_ref().unwrap();
        assert_eq!(tokens.len(), 3);
        assert!(tokens.iter().all(|t| t.text.is_none() && t.logit.is_some()));
    }
}

#[test]
fn a_changed_byte_in_any_place_is_found() {
    let mut written = Written::new();
    let right = fs::read(written.path()).unwrap();
    // Every seventh, which meets every field of every row, and the last line feed.
    for at in (0..right.len()).step_by(7).chain([right.len() - 1]) {
        let mut bytes = right.clone();
        // Stays printable: digits become other digits, letters other letters.
        bytes[at] ^= 1;
        fs::write(written.path(), &bytes).unwrap();
        let report = verify(&written.path());
        let line = right[..at].split(|byte| *byte == b'\n').count() as u64;
        match report {
            Ok(report) if at + 1 == right.len() => assert!(report.torn_bytes > 0),
            Ok(report) => assert_eq!(report.broken.unwrap().line, line, "byte {at}"),
            // The digit of the major version became a newer one, or an older that no hash fits.
            Err(Error::NewerFormat { line: found, .. }) => assert_eq!(found, line),
            Err(error) => panic!("{error:?}"),
        }
    }
    written.lines[1] = written.lines[1].replace("id1", "id9");
    assert!(matches!(written.fault(), (2, Fault::Hash { .. })));
}

#[test]
fn an_inserted_space_is_found() {
    let mut written = Written::new();
    written.lines[1].push(' ');
    assert!(matches!(written.fault(), (2, Fault::NotARow { .. })));
    written.lines[1] = written.lines[1].trim_end().replacen(':', ": ", 1);
    assert!(matches!(written.fault(), (2, Fault::Hash { .. })));
}

#[test]
fn a_removed_row_is_found() {
    for i in 0..3 {
        let mut written = Written::new();
        written.lines.remove(i);
        let (line, fault) = written.fault();
        let (i, found, expected) = (i as u64, i as u64 + 1, i as u64);
        assert_eq!((line, fault), (i + 1, Fault::Sequence { found, expected }));
    }
}

#[test]
fn reordered_and_repeated_rows_are_found() {
    let mut written = Written::new();
    written.lines.swap(1, 2);
    assert!(matches!(
        written.fault(),
        (2, Fault::Sequence { found: 2, .. })
    ));

    let mut written = Written::new();
    written.lines.insert(2, written.lines[1].clone());
    assert!(matches!(
        written.fault(),
        (3, Fault::Sequence { found: 1, .. })
    ));
}

#[test]
fn a_row_written_anew_breaks_the_link() {
    let mut written = Written::new();
    let mut row: AuditRow = serde_json::from_str(&written.lines[1]).unwrap();
    row.verdict.verdict = VerdictKind::Pass;
    written.lines[1] = chain::seal(&mut row).unwrap();
    let (line, fault) = written.fault();
    assert!(matches!(fault, Fault::Link { expected, .. } if expected == row.sha256));
    assert_eq!(line, 3);
}

#[test]
fn lines_that_are_no_rows() {
    for line in ["", "{}", "null", "\u{feff}{}", "{\"sha256\":\"\"}"] {
        let mut written = Written::new();
        written.lines.insert(1, line.into());
        let (line, fault) = written.fault();
        assert!(
            matches!(fault, Fault::NotARow { .. } | Fault::Hash { .. }),
            "{fault}"
        );
        assert_eq!(line, 2);
    }
    let mut written = Written::new();
    written.lines.push("x".repeat(MAX_LINE));
    assert_eq!(written.fault(), (5, Fault::TooLong { limit: MAX_LINE }));
}

#[test]
fn a_torn_row_is_cut_wherever_it_tears() {
    let written = Written::new();
    let right = fs::read(written.path()).unwrap();
    let last = written.lines[3].len();
    for n_torn in [1, 2, 100, last - 1, last] {
        fs::write(written.path(), &right[..right.len() - 1 - last + n_torn]).unwrap();
        let report = verify(&written.path()).unwrap();
        assert_eq!((report.n_rows, report.broken), (3, None));
        assert_eq!(report.torn_bytes, n_torn as u64);

        let mut log = AuditLog::open(&written.path()).unwrap();
        assert_eq!((log.n_rows(), log.cut_bytes()), (3, n_torn as u64));
        log.append(&verdict("id3")).unwrap();
        assert_eq!(fs::read(written.path()).unwrap(), right);
    }
}

#[test]
fn a_log_that_is_torn_in_its_first_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    fs::write(&path, "{\"format_ver").unwrap();
    let log = AuditLog::open(&path).unwrap();
    assert_eq!((log.n_rows(), log.cut_bytes()), (0, 12));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn files_that_are_no_logs_are_left_alone() {
    for text in ["notes", "[1, 2]", "{\"a\": 1}", "GGUF\0\0"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        fs::write(&path, text).unwrap();
        let error = AuditLog::open(&path).unwrap_err();
        assert!(matches!(error, Error::Broken(_)), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn blocks_that_were_never_filled_are_cut() {
    let written = Written::new();
    let mut bytes = fs::read(written.path()).unwrap();
    bytes.extend([0; 4096]);
    fs::write(written.path(), bytes).unwrap();
    let log = AuditLog::open(&written.path()).unwrap();
    assert_eq!((log.n_rows(), log.cut_bytes()), (4, 4096));
}

#[test]
fn a_log_longer_than_the_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut log = AuditLog::open(&path).unwrap();
    let mut long = verdict("long");
    long.model = "m".repeat(MAX_LINE / 2);
    for _ in 0..6 {
        log.append(&long).unwrap();
    }
    drop(log);
    assert!(fs::metadata(&path).unwrap().len() > TAIL);
    let mut log = AuditLog::open(&path).unwrap();
    assert_eq!(log.n_rows(), 6);
    log.append(&verdict("short")).unwrap();
    assert_eq!(verify(&path).unwrap().n_rows, 7);
}

#[test]
fn a_newer_major_is_refused_and_a_newer_minor_read() {
    let check = |version: &str, is_read: bool| {
        let mut written = Written::new();
        let mut row: AuditRow = serde_json::from_str(&written.lines[3]).unwrap();
        row.format_version = version.parse().unwrap();
        written.lines[3] = chain::seal(&mut row).unwrap();
        written.save();
        let opened = AuditLog::open(&written.path());
        if is_read {
            assert_eq!(opened.unwrap().n_rows(), 4);
            return;
        }
        for error in [opened.unwrap_err(), verify(&written.path()).unwrap_err()] {
            assert!(
                matches!(error, Error::NewerFormat { line: 4, .. }),
                "{error:?}"
            );
            assert!(error.hint().contains("update"));
        }
    };
    check("2.0", false);
    check("1.7", true);
}

#[test]
fn fields_of_a_newer_minor_are_covered_by_the_hash() {
    let written = Written::new();
    let line = written.lines[0].replacen('{', "{\"new\":1,", 1);
    assert!(Head::after(None, line.as_bytes()).is_err());
    let at = line.rfind("\"sha256\"").unwrap();
    let body = format!("{}\"sha256\":\"", &line[..at]);
    let hash = Sha256::digest(format!("{body}\"}}"));
    let sealed = format!("{body}{hash:x}\"}}");
    assert!(Head::after(None, sealed.as_bytes()).is_ok());
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let written = Written::new();
    let before = fs::read(written.path()).unwrap();
    let mut log = AuditLog::open(&written.path()).unwrap();
    let mut bad = [verdict("a"), verdict("b"), verdict("c")];
    bad[0].probes[0].logit = f64::NAN;
    bad[1].probes[0].threshold = Some(f64::INFINITY);
    bad[2].model = "m".repeat(MAX_LINE);
    for verdict in &bad {
        let error = log.append(verdict).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error:?}");
    }
    assert_eq!(fs::read(written.path()).unwrap(), before);
    assert_eq!(log.append(&verdict("d")).unwrap().sequence, 4);
}

#[test]
fn one_writer_at_a_time() {
    let written = Written::new();
    let log = AuditLog::open(&written.path()).unwrap();
    let error = AuditLog::open(&written.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    assert_eq!(verify(&written.path()).unwrap().n_rows, 4);
    drop(log);
    assert!(AuditLog::open(&written.path()).is_ok());
}

#[test]
fn files_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        AuditLog::open(folder.path()),
        Err(Error::Io { .. })
    ));
    assert!(matches!(
        verify(&folder.path().join("absent")),
        Err(Error::Io { .. })
    ));
}
