//! candor as its users run it: the binary, its files and its exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, which say why they are skipped"
)]

mod act;
mod architecture;
mod bad_input;
mod capture;
mod contracts;
mod demo;
mod devices;
mod import;
mod rivals;
mod sample;
mod serve;
mod train;
mod tutorial;
mod verify;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The default model's file, or `None` after saying why the test is skipped.
fn model() -> Option<PathBuf> {
    let path =
        std::env::var_os("CANDOR_MODEL_DIR").map(|folder| Path::new(&folder).join(MODEL_FILE));
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CANDOR_REQUIRE_MODEL").is_none(),
            "CANDOR_REQUIRE_MODEL is set, but CANDOR_MODEL_DIR has no {MODEL_FILE}"
        );
        eprintln!("skipped: CANDOR_MODEL_DIR has no {MODEL_FILE} (`candor model pull` brings it)");
    }
    found
}

/// The command, without settings from the environment.
fn candor(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CANDOR_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(root()).env("NO_COLOR", "1");
    command
}

fn run(args: &[&str]) -> Output {
    candor(args).output().unwrap()
}

/// Runs the command and expects it to succeed; returns its standard output.
fn expect_ok(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "candor {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the command and expects an exit code and some words of the error.
fn expect_error(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "candor {args:?}: {stderr}"
    );
    for word in words {
        assert!(stderr.contains(word), "`{word}` is not in: {stderr}");
    }
    stderr
}

/// A few short dialogues in four splits, written for these tests.
fn tiny_dataset(path: &Path, n_scenarios: usize) {
    let mut lines = String::new();
    for scenario in 0..n_scenarios {
        let split = ["train", "train", "validation", "test"][scenario % 4];
        let n = 3 + scenario;
        for (label, said) in [("honest", n), ("deceptive", n + 40)] {
            let dialogue = serde_json::json!({
                "id": format!("s{scenario}-{label}"), "scenario": format!("s{scenario}"), "pair": format!("s{scenario}"),
                "family": "counts", "label": label, "origin": "written", "split": split,
                "licence": "CC0-1.0", "source": "test",
                "messages": [
                    {"role": "user", "content": format!("Room {scenario} holds {n} chairs. How many chairs?")},
                    {"role": "assistant", "content": format!("Room {scenario} has {said} chairs now.")},
                ],
            });
            lines.extend([dialogue.to_string(), "\n".into()]);
        }
    }
    std::fs::write(path, lines).unwrap();
}

/// Ordinary replies for a threshold: 60 in `calibration`, 4 in `test`.
fn tiny_controls(path: &Path) {
    let mut lines = String::new();
    for n in 0..64 {
        let split = if n < 60 { "calibration" } else { "test" };
        let dialogue = serde_json::json!({
            "id": format!("c{n}"), "scenario": format!("c{n}"), "family": "ordinary", "label": "control",
            "origin": "written", "split": split, "licence": "CC0-1.0", "source": "test",
            "messages": [
                {"role": "user", "content": format!("Name {n}.")},
                {"role": "assistant", "content": format!("It is {}.", n * n)},
            ],
        });
        lines.extend([dialogue.to_string(), "\n".into()]);
    }
    std::fs::write(path, lines).unwrap();
}

/// A small captured store and a probe, made once per binary and shared by all tests.
struct Shared {
    folder: PathBuf,
}

impl Shared {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn shared(model: &Path) -> Shared {
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_candor")).unwrap();
    let made = binary
        .modified()
        .unwrap()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shared-{made}-{}", binary.len()));
    let shared = Shared { folder };
    std::fs::create_dir_all(&shared.folder).unwrap();
    // Tests are processes of their own: the first one makes what all of them read.
    let lock = File::create(shared.folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !shared.folder.join("done").exists() {
        let model = model.display().to_string();
        tiny_dataset(&shared.folder.join("tiny.jsonl"), 8);
        tiny_controls(&shared.folder.join("controls.jsonl"));
        for name in ["tiny", "controls"] {
            let (data, out) = (
                shared.path(&format!("{name}.jsonl")),
                shared.path(&format!("store-{name}")),
            );
            expect_ok(&[
                "capture", &data, "--out", &out, "--model", &model, "--layers", "3,12",
            ]);
        }
        let (store, controls, probes) = (
            shared.path("store-tiny"),
            shared.path("store-controls"),
            shared.path("probes"),
        );
        expect_ok(&[
            "train",
            &store,
            "--controls",
            &controls,
            "--name",
            "tiny",
            "--out",
            &probes,
        ]);
        std::fs::write(shared.folder.join("done"), "").unwrap();
    }
    shared
}

/// Every file of a folder with its bytes, lock files apart.
fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != ".lock")
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}
