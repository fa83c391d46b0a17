//! What an earlier run has left in a file, for commands that go on where they stopped.

use std::path::Path;

use candor_dataset::Score;
use candor_schema::Dialogue;

use crate::exit::{Exit, Failure};

/// A line that says which model made it.
pub(super) trait Made {
    /// Its id, and the model.
    fn made(&self) -> (&str, Option<&str>);
}

impl Made for Dialogue {
    fn made(&self) -> (&str, Option<&str>) {
        (&self.id, self.model.as_deref())
    }
}

impl Made for Score {
    fn made(&self) -> (&str, Option<&str>) {
        (&self.id, self.model.as_deref())
    }
}

/// The lines that an earlier run has written with this model; none where there is no file.
pub(super) fn kept<T: Made>(
    path: &Path,
    model: &str,
    read: impl FnOnce(&Path) -> Result<Vec<T>, candor_dataset::Error>,
) -> anyhow::Result<Vec<T>> {
    // A run that was stopped at once may have left a file without a line.
    let empty = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if !path.exists() || empty {
        return Ok(Vec::new());
    }
    let lines = read(path)?;
    let mut made = lines.iter().map(Made::made);
    if let Some((id, _)) = made.find(|(_, by)| *by != Some(model)) {
        let message = format!(
            "`{id}` of `{}` was not written by `{model}`",
            path.display()
        );
        let hint = "choose another file: what two models wrote does not go into one";
        return Err(Failure::error(Exit::BadInput, message, hint));
    }
    Ok(lines)
}

/// The dialogues of such a file.
pub(super) fn dialogues(path: &Path, model: &str) -> anyhow::Result<Vec<Dialogue>> {
    kept(
        path,
        model,
        |path| Ok(candor_dataset::read(path)?.dialogues),
    )
}
