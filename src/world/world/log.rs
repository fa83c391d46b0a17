//! The log: lines are added and never lost, but a line may stand in for an earlier one.

use serde::Serialize;

use super::time;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Minutes since midnight.
    pub minute: u32,
    /// Who wrote it.
    pub who: String,
    /// What it says.
    pub text: String,
    /// Whether a later line stands in for it, so that readers no longer see it.
    pub replaced: bool,
}

/// All lines, numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Log {
    lines: Vec<Line>,
}

impl Log {
    /// Every line, those that were replaced among them.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Lines that were replaced.
    pub fn n_replaced(&self) -> u32 {
        self.lines.iter().filter(|line| line.replaced).count() as u32
    }

    /// Adds a line and returns its number.
    pub(crate) fn append(&mut self, minute: u32, who: &str, text: &str) -> u32 {
        self.lines.push(Line {
            minute,
            who: who.to_owned(),
            text: text.to_owned(),
            replaced: false,
        });
        self.lines.len() as u32
    }

    /// Whether a line of this number is shown.
    pub(crate) fn shows(&self, number: u32) -> bool {
        let line = (number as usize).checked_sub(1);
        let line = line.and_then(|index| self.lines.get(index));
        line.is_some_and(|line| !line.replaced)
    }

    /// Hides a line that is shown.
    pub(crate) fn hide(&mut self, number: u32) {
        let line = (number as usize).checked_sub(1);
        if let Some(line) = line.and_then(|index| self.lines.get_mut(index)) {
            line.replaced = true;
        }
    }

    /// The lines that are shown, with their numbers.
    pub(crate) fn shown(&self) -> String {
        let lines = self.lines.iter().enumerate();
        let shown = lines.filter(|(_, line)| !line.replaced).map(|(index, l)| {
            let (number, at) = (index + 1, time(l.minute));
            format!("{number}. {at} {}: {}", l.who, l.text)
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}
