//! A folder of captured activations.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use candor_schema::{Dialogue, HookPoint};

use crate::captured::CapturedDialogues;
use crate::dialogues;
use crate::durable::{TMP_SUFFIX, remove_if_present, sync_folder, write_atomically};
use crate::manifest::{MANIFEST_FILE, Manifest, ManifestFile};
use crate::part::{PartContext, PartWriter};
use crate::reader::{TokenBatches, check_part};
use crate::record::{
    DIALOGUES_FILE, DIALOGUES_RECORD_FILE, DialoguesRecord, PartRecord, part_path, record_path,
};
use crate::{Error, HookPointWidth, Precision};

/// File whose lock keeps a second writer out. It stays behind, empty: removing it would race.
const LOCK_FILE: &str = ".lock";

/// A store, opened for reading or for a capture that is starting or going on.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    manifest: Manifest,
    manifest_sha256: String,
    /// Records of the committed parts, by index; as long as the plan.
    parts: Vec<Option<PartRecord>>,
    has_dialogues: bool,
    rejected: Vec<RejectedFile>,
    /// Held until the store is dropped; none if it was opened for reading.
    lock: Option<File>,
}

/// A finished file that was found damaged on resuming and will be written again.
#[derive(Debug)]
pub struct RejectedFile {
    /// The part, or none for `dialogues.parquet`.
    pub part: Option<usize>,
    /// What is wrong with it.
    pub reason: Error,
}

impl Store {
    /// Starts a store in an empty or new folder, or goes on with one of the same plan.
    ///
    /// Finished parts are checked by size and SHA-256; those that fail are removed, named in
    /// [`Store::rejected`], and left to be written again. What an interrupted run left half done
    /// is removed.
    ///
    /// # Errors
    /// [`Error::BadPlan`] for a plan that cannot be followed, [`Error::PlanMismatch`] if the folder
    /// holds a store of another plan, [`Error::FolderNotEmpty`] if it holds something else,
    /// [`Error::FolderInUse`] if another process writes there, and failures to read or write.
    pub fn create_or_resume(folder: &Path, manifest: &Manifest) -> Result<Self, Error> {
        manifest.check()?;
        create_folder(folder)?;
        refuse_foreign_folder(folder)?;
        let lock = lock(folder)?;
        let file = if folder.join(MANIFEST_FILE).exists() {
            ManifestFile::read(folder)?
        } else {
            write_atomically(&folder.join(MANIFEST_FILE), manifest.to_json().as_bytes())?;
            ManifestFile::read(folder)?
        };
        file.require_same(manifest, folder)?;
        remove_temporaries(folder)?;
        let mut store = Self {
            folder: folder.to_owned(),
            parts: vec![None; manifest.parts.len()],
            manifest: file.manifest,
            manifest_sha256: file.sha256,
            has_dialogues: false,
            rejected: Vec::new(),
            lock: Some(lock),
        };
        store.recover()?;
        Ok(store)
    }

    /// Opens a store for reading. It may be incomplete: [`Store::is_complete`] tells.
    ///
    /// Sizes are compared with what was committed; [`Store::verify`] compares contents too.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::Version`] if it was written by a newer candor,
    /// [`Error::Damaged`] or [`Error::WrongSize`] if a file is not what was committed.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let ManifestFile {
            manifest, sha256, ..
        } = ManifestFile::read(folder)?;
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for part in &manifest.parts {
            let record = PartRecord::read(folder, part.index)?;
            if let Some(record) = &record {
                record.check_size(folder)?;
            }
            parts.push(record);
        }
        Ok(Self {
            has_dialogues: DialoguesRecord::read(folder)?.is_some(),
            folder: folder.to_owned(),
            manifest,
            manifest_sha256: sha256,
            parts,
            rejected: Vec::new(),
            lock: None,
        })
    }

    /// The plan.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of `manifest.json`, in hexadecimal: the store's identity.
    pub fn manifest_sha256(&self) -> &str {
        &self.manifest_sha256
    }

    /// Records of the committed parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &PartRecord> {
        self.parts.iter().flatten()
    }

    /// Indices of the parts that are not committed, in order.
    pub fn remaining(&self) -> Vec<usize> {
        (0..self.parts.len())
            .filter(|&index| self.parts[index].is_none())
            .collect()
    }

    /// Whether all parts and `dialogues.parquet` are there.
    pub fn is_complete(&self) -> bool {
        self.n_missing() == 0
    }

    /// Whether `dialogues.parquet` is there.
    pub fn has_dialogues(&self) -> bool {
        self.has_dialogues
    }

    /// Finished files that were found damaged on resuming, to be shown to the user.
    pub fn rejected(&self) -> &[RejectedFile] {
        &self.rejected
    }

    /// Starts to write a part in the plan's precision.
    ///
    /// # Errors
    /// [`Error::OpenedForReading`], [`Error::NoSuchPart`], [`Error::PartAlreadyWritten`], or a
    /// failure to make the file.
    pub fn begin_part(&mut self, index: usize) -> Result<PartWriter<'_>, Error> {
        let precision = self.manifest.precision;
        let (context, slot) = self.part_to_write(index)?;
        PartWriter::new(context, slot, precision)
    }

    /// Starts to write a part in f32: one that turned out to have values beyond the range of the
    /// plan's precision ([`Error::BeyondPrecision`]), and so is kept as it is.
    ///
    /// # Errors
    /// As [`Store::begin_part`].
    pub fn begin_exact_part(&mut self, index: usize) -> Result<PartWriter<'_>, Error> {
        let (context, slot) = self.part_to_write(index)?;
        PartWriter::new(context, slot, Precision::F32)
    }

    pub(crate) fn part_to_write(
        &mut self,
        index: usize,
    ) -> Result<(PartContext<'_>, &mut Option<PartRecord>), Error> {
        self.require_lock()?;
        let n_parts = self.parts.len();
        let slot = self
            .parts
            .get_mut(index)
            .ok_or(Error::NoSuchPart { index, n_parts })?;
        if slot.is_some() {
            return Err(Error::PartAlreadyWritten { index });
        }
        let context = PartContext {
            folder: &self.folder,
            manifest: &self.manifest,
            manifest_sha256: &self.manifest_sha256,
            plan: &self.manifest.parts[index],
        };
        Ok((context, slot))
    }

    /// Writes `dialogues.parquet`: the plan's dialogues in the plan's order.
    ///
    /// # Errors
    /// [`Error::OpenedForReading`], [`Error::UnexpectedDialogue`] or [`Error::MissingDialogue`] if
    /// these are not the plan's dialogues, and failures to write.
    pub fn write_dialogues(&mut self, dialogues: &[Dialogue]) -> Result<(), Error> {
        self.require_lock()?;
        self.check_dialogues(dialogues)?;
        dialogues::write(&self.folder, &self.manifest_sha256, dialogues)?;
        self.has_dialogues = true;
        Ok(())
    }

    /// The plan's dialogues, in the order of the rows.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if they are not written yet, [`Error::Damaged`] if the file is not
    /// what was written, and failures to read.
    pub fn dialogues(&self) -> Result<Vec<Dialogue>, Error> {
        self.read_dialogues()?.ok_or_else(|| self.incomplete())
    }

    /// All rows in order, part by part, reading no other vectors than those of `hook_points`.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if parts are missing, [`Error::UnknownColumn`] if the store does not
    /// hold a hook point. An item is an error if a file is not what was committed or holds a value
    /// that is not finite; then nothing follows.
    pub fn token_batches(&self, hook_points: &[HookPoint]) -> Result<TokenBatches<'_>, Error> {
        let columns = self.columns(hook_points)?;
        if !self.is_complete() {
            return Err(self.incomplete());
        }
        Ok(TokenBatches::new(
            &self.folder,
            &self.manifest_sha256,
            self.manifest.parts.iter().zip(self.parts()).collect(),
            columns,
        ))
    }

    /// As [`Store::token_batches`], with the rows of each dialogue put together.
    ///
    /// # Errors
    /// As [`Store::token_batches`].
    pub fn captured_dialogues(
        &self,
        hook_points: &[HookPoint],
    ) -> Result<CapturedDialogues<'_>, Error> {
        let batches = self.token_batches(hook_points)?;
        Ok(CapturedDialogues::new(batches, hook_points.to_vec()))
    }

    /// Reads every committed file and compares it with what was written.
    ///
    /// # Errors
    /// [`Error::WrongSize`], [`Error::WrongHash`] or [`Error::Damaged`] for the first file that is
    /// not what was committed.
    pub fn verify(&self) -> Result<(), Error> {
        for record in self.parts() {
            record.check_content(&self.folder)?;
            check_part(&self.folder, &self.manifest_sha256, record)?;
        }
        self.read_dialogues().map(drop)
    }

    /// Takes over what is sound of an earlier run and clears the rest away.
    fn recover(&mut self) -> Result<(), Error> {
        for index in 0..self.parts.len() {
            match self.check_committed(index) {
                Ok(Some(record)) => self.parts[index] = Some(record),
                // Renamed, but not committed before the run ended.
                Ok(None) => remove_if_present(&part_path(&self.folder, index))?,
                Err(reason) => {
                    self.reject(Some(index), reason)?;
                    // The record goes first: without it the part does not count.
                    remove_if_present(&record_path(&self.folder, index))?;
                    remove_if_present(&part_path(&self.folder, index))?;
                }
            }
        }
        match self.read_dialogues() {
            Ok(Some(_)) => self.has_dialogues = true,
            Ok(None) => remove_if_present(&self.folder.join(DIALOGUES_FILE))?,
            Err(reason) => {
                self.reject(None, reason)?;
                remove_if_present(&self.folder.join(DIALOGUES_RECORD_FILE))?;
                remove_if_present(&self.folder.join(DIALOGUES_FILE))?;
            }
        }
        sync_folder(&self.folder)
    }

    fn check_committed(&self, index: usize) -> Result<Option<PartRecord>, Error> {
        let Some(record) = PartRecord::read(&self.folder, index)? else {
            return Ok(None);
        };
        record.check_content(&self.folder)?;
        check_part(&self.folder, &self.manifest_sha256, &record)?;
        Ok(Some(record))
    }

    fn read_dialogues(&self) -> Result<Option<Vec<Dialogue>>, Error> {
        let dialogues = dialogues::read(&self.folder, &self.manifest_sha256)?;
        if let Some(dialogues) = &dialogues {
            let path = self.folder.join(DIALOGUES_FILE);
            self.check_dialogues(dialogues)
                .map_err(|e| Error::damaged(&path, e))?;
        }
        Ok(dialogues)
    }

    /// Notes a damaged file. Any other error means that its state is not known: that is returned.
    fn reject(&mut self, part: Option<usize>, reason: Error) -> Result<(), Error> {
        match reason {
            Error::WrongSize { .. } | Error::WrongHash { .. } | Error::Damaged { .. } => {
                self.rejected.push(RejectedFile { part, reason });
                Ok(())
            }
            other => Err(other),
        }
    }

    fn check_dialogues(&self, dialogues: &[Dialogue]) -> Result<(), Error> {
        let mut expected = self.manifest.dialogue_ids();
        for dialogue in dialogues {
            let expected = expected.next();
            if expected != Some(&dialogue.id) {
                return Err(Error::UnexpectedDialogue {
                    found: dialogue.id.clone(),
                    expected: expected.map(str::to_owned),
                });
            }
        }
        match expected.next() {
            None => Ok(()),
            Some(next) => Err(Error::MissingDialogue {
                file: DIALOGUES_FILE.to_owned(),
                next: next.to_owned(),
            }),
        }
    }

    fn columns(&self, hook_points: &[HookPoint]) -> Result<Vec<HookPointWidth>, Error> {
        let column = |&hook_point: &HookPoint| {
            let width = self.manifest.width(hook_point);
            let width = width.ok_or_else(|| self.unknown_column(hook_point))?;
            Ok(HookPointWidth { hook_point, width })
        };
        hook_points.iter().map(column).collect()
    }

    fn unknown_column(&self, hook_point: HookPoint) -> Error {
        let available = self.manifest.hook_points.iter();
        let available: Vec<String> = available.map(|c| format!("`{}`", c.hook_point)).collect();
        Error::UnknownColumn {
            folder: self.folder.clone(),
            hook_point,
            available: available.join(", "),
        }
    }

    fn n_missing(&self) -> usize {
        self.remaining().len() + usize::from(!self.has_dialogues)
    }

    fn incomplete(&self) -> Error {
        Error::Incomplete {
            folder: self.folder.clone(),
            n_missing: self.n_missing(),
            n_files: self.parts.len() + 1,
        }
    }

    fn require_lock(&self) -> Result<(), Error> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(Error::OpenedForReading {
                folder: self.folder.clone(),
            }),
        }
    }
}

fn create_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| Error::write(folder, "create", e))?;
    match folder.parent() {
        Some(parent) if parent != Path::new("") => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Keeps the store out of folders with other contents, which resuming could overwrite.
fn refuse_foreign_folder(folder: &Path) -> Result<(), Error> {
    let manifest_tmp = format!("{MANIFEST_FILE}{TMP_SUFFIX}");
    let mut entries = file_names(folder)?;
    if entries.iter().any(|name| name == MANIFEST_FILE) {
        return Ok(());
    }
    entries.retain(|name| name != LOCK_FILE && *name != manifest_tmp);
    match entries.into_iter().min() {
        None => Ok(()),
        Some(entry) => Err(Error::FolderNotEmpty {
            folder: folder.to_owned(),
            entry,
        }),
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| Error::write(&path, "create", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::FolderInUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(Error::write(&path, "lock", e)),
    }
}

/// Removes what an interrupted run was writing.
fn remove_temporaries(folder: &Path) -> Result<(), Error> {
    for name in file_names(folder)? {
        let is_ours = ["part-", "dialogues.", MANIFEST_FILE]
            .iter()
            .any(|start| name.starts_with(start));
        if is_ours && name.ends_with(TMP_SUFFIX) {
            remove_if_present(&folder.join(name))?;
        }
    }
    Ok(())
}

fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |e| Error::read(folder, e);
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into()))
        .collect()
}

#[cfg(test)]
mod tests;
