//! The invariants of ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::{expect_ok, root};

/// Each crate, its manifest, and the crates of this workspace that it may use.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("candor-schema", "src/schema", &[]),
    ("candor-dataset", "src/dataset", &["candor-schema"]),
    ("candor-model", "src/model", &["candor-schema"]),
    ("candor-activations", "src/activations", &["candor-schema"]),
    ("candor-probe", "src/probe", &["candor-schema"]),
    ("candor-report", "src/report", &["candor-schema"]),
    ("candor-audit", "src/audit", &["candor-schema"]),
    ("candor-world", "src/world", &["candor-schema"]),
    (
        "candor-detect",
        "src/detect",
        &["candor-schema", "candor-model", "candor-probe"],
    ),
    (
        "candor-server",
        "server",
        &["candor-schema", "candor-detect", "candor-audit"],
    ),
];

/// Names under `[dependencies]` of a manifest.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let section = text
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let names = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Files that git knows, or every file where this is no checkout.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8(text).unwrap();
    text.split('\0')
        .filter(|name| !name.is_empty())
        .map(|name| root().join(name))
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn crates_depend_only_on_those_below() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, folder, allowed) in CRATES {
        let found: Vec<String> = dependencies(folder)
            .into_iter()
            .filter(|name| name.starts_with("candor-"))
            .collect();
        for dependency in &found {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
        assert!(
            architecture.contains(name),
            "ARCHITECTURE.md does not name {name}"
        );
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} has its own lints"
        );
    }
    let schema: BTreeSet<String> = ["serde", "serde_json", "thiserror", "utoipa"]
        .map(str::to_owned)
        .into();
    assert!(dependencies("src/schema").is_subset(&schema));
    for folder in [
        "src/probe",
        "src/report",
        "src/schema",
        "src/dataset",
        "src/world",
    ] {
        let found = dependencies(folder);
        for foreign in [
            "candle-core",
            "candle-nn",
            "parquet",
            "arrow",
            "axum",
            "tokio",
        ] {
            assert!(
                !found.contains(foreign),
                "{folder} must not depend on {foreign}"
            );
        }
    }
}

#[test]
fn files_are_named_after_a_concept() {
    for path in tracked()
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
    {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(
            !["mod.rs", "utils.rs", "helpers.rs", "common.rs"].contains(&name.as_ref()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn unsafe_stands_in_named_places() {
    for path in tracked()
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
    {
        let own = path.ends_with("tests/e2e/architecture.rs")
            || path.ends_with("src/model/file_map.rs")
            || path.starts_with(root().join("src/model/kernel"));
        let text = std::fs::read_to_string(path).unwrap();
        let code = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        let found = code
            .filter(|line| {
                line.contains("unsafe {")
                    || line.contains("unsafe fn")
                    || line.contains("unsafe impl")
            })
            .count();
        assert!(own || found == 0, "{}", path.display());
    }
}

#[test]
fn data_sets_state_their_source_and_licence() {
    let mut n_checked = 0;
    for entry in std::fs::read_dir(root().join("datasets")).unwrap() {
        let folder = entry.unwrap().path();
        assert!(folder.join("LICENSE").exists(), "{}", folder.display());
        let source = std::fs::read_to_string(folder.join("SOURCE.md")).unwrap();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            if file
                .extension()
                .is_some_and(|extension| extension == "jsonl")
            {
                let digest = Sha256::digest(std::fs::read(&file).unwrap());
                let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(
                    source.contains(&hex.concat()),
                    "SOURCE.md does not have the sha256 of {}",
                    file.display()
                );
                n_checked += 1;
            }
        }
    }
    assert!(n_checked >= 3);
}

#[test]
fn every_probe_is_a_whole_bundle() {
    let mut n_checked = 0;
    for entry in std::fs::read_dir(root().join("probes")).unwrap() {
        let folder = entry.unwrap().path();
        let bundle = candor_probe::Bundle::read(&folder).unwrap();
        assert!(bundle.evaluation().is_some(), "{}", folder.display());
        let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(card, bundle.card(), "{} has a stale card", folder.display());
        n_checked += 1;
    }
    assert!(n_checked >= 1);
}

#[test]
fn the_readme_shows_the_probes_own_results() {
    expect_ok(&[
        "probe",
        "table",
        "probes/smollm2-135m-demo",
        "--into",
        "README.md",
        "--check",
    ]);
}

#[test]
fn nothing_committed_names_a_machine() {
    for path in tracked() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        // Written in parts, so that this file does not name them either.
        for place in [["/wo", "rk/"], ["/ro", "ot/"]] {
            let place = place.concat();
            assert!(!text.contains(&place), "{} names {place}", path.display());
        }
    }
}

#[test]
fn kept_paths_exist() {
    for file in [
        "LICENSE",
        "NOTICE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "deny.toml",
        "rust-toolchain.toml",
        ".ci/run",
    ] {
        assert!(Path::new(&root().join(file)).exists(), "{file}");
    }
}
