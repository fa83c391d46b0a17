//! A capture survives whatever interrupts it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::{bytes, candor, expect_error, expect_ok, model, tiny_dataset};

/// 96 dialogues: two parts.
fn capture_args<'a>(data: &'a str, out: &'a str, model: &'a str) -> Vec<&'a str> {
    vec![
        "capture", data, "--out", out, "--model", model, "--layers", "5",
    ]
}

#[test]
fn a_killed_capture_completes_to_the_same_bytes() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, whole, killed) = (path("d.jsonl"), path("whole"), path("killed"));
    tiny_dataset(Path::new(&data), 48);
    expect_ok(&capture_args(&data, &whole, &model));

    let mut n_kills = 0;
    for moment in [
        "manifest.json",
        "dialogues.parquet",
        "part-00000.parquet.tmp",
        "part-00000.json",
    ] {
        let mut child = candor(&capture_args(&data, &killed, &model))
            .spawn()
            .unwrap();
        let start = Instant::now();
        let awaited = Path::new(&killed).join(moment);
        while !awaited.exists()
            && child.try_wait().unwrap().is_none()
            && start.elapsed() < Duration::from_mins(2)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            n_kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(
        n_kills >= 2,
        "the capture was too quick to be killed: {n_kills}"
    );
    expect_ok(&capture_args(&data, &killed, &model));
    assert_eq!(bytes(Path::new(&killed)), bytes(Path::new(&whole)));
}

#[test]
fn another_plan_in_the_same_folder_is_refused() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, out) = (path("d.jsonl"), path("out"));
    tiny_dataset(Path::new(&data), 2);
    expect_ok(&capture_args(&data, &out, &model));
    let before = bytes(Path::new(&out));
    let other = [
        "capture", &data, "--out", &out, "--model", &model, "--layers", "6",
    ];
    let stderr = expect_error(&other, 4, &["hint:"]);
    assert!(stderr.contains("hook_points"), "{stderr}");
    assert_eq!(bytes(Path::new(&out)), before);
}

#[test]
fn a_dry_run_writes_nothing_and_settings_reach_the_plan() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, out) = (path("d.jsonl"), path("out"));
    tiny_dataset(Path::new(&data), 2);
    let mut args = vec![
        "capture", &data, "--out", &out, "--model", &model, "--layers", "4,8-9",
    ];
    args.extend([
        "--sites",
        "resid_mid,mlp_out",
        "--positions",
        "all",
        "--precision",
        "bf16",
    ]);
    let plan = expect_ok(&[args.as_slice(), &["--dry-run"]].concat());
    assert!(
        plan.contains("hook points     6") && plan.contains("tokens/s"),
        "{plan}"
    );
    assert!(!Path::new(&out).exists());
    expect_ok(&args);
    let manifest = std::fs::read_to_string(Path::new(&out).join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["positions"], "all");
    assert_eq!(manifest["precision"], "bf16");
    assert_eq!(manifest["hook_points"].as_array().unwrap().len(), 6);
    assert_eq!(
        manifest["hook_points"][0]["hook_point"],
        "blocks.4.hook_resid_mid"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_a_clear_error() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d.jsonl").display().to_string();
    tiny_dataset(Path::new(&data), 2);
    // Root may write anywhere, so a file stands where the folder should be.
    let out = folder.path().join("file");
    std::fs::write(&out, "kept").unwrap();
    expect_error(
        &capture_args(
            &data,
            &out.display().to_string(),
            &model.display().to_string(),
        ),
        1,
        &["error:", "file"],
    );
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "kept");
}

/// A file system of 1.5 MB, for as long as the command runs in it.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_keeps_finished_parts() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (data, disk) = (folder.path().join("d.jsonl"), folder.path().join("disk"));
    tiny_dataset(&data, 96);
    std::fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=6m none '{disk}' || exit 77\n\
         '{candor}' capture '{data}' --out '{disk}/out' --model '{model}' --layers 0-9 --precision f32; code=$?\n\
         ls '{disk}/out' >&2; exit $code",
        disk = disk.display(),
        candor = env!("CARGO_BIN_EXE_candor"),
        data = data.display(),
        model = model.display(),
    );
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no `unshare` here");
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || stderr.contains("unshare:") {
        eprintln!("skipped: no private mounts here: {stderr}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("hint:") && stderr.contains("space"),
        "{stderr}"
    );
    assert!(stderr.contains("manifest.json"), "{stderr}");
}
