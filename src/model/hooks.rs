//! Observers and edits that listen at hook points during a forward pass.

use std::collections::BTreeSet;

use candor_schema::HookPoint;

use crate::edit::Edit;
use crate::error::Result;
use crate::row_map::RowMap;

/// Reads the vectors that pass a set of hook points.
pub trait Observer {
    /// Where it listens.
    fn points(&self) -> &[HookPoint];

    /// Called once per step and point, with all rows of the batch.
    ///
    /// `values` is row-major `[rows.n_rows(), width]` and holds what the next operation will read,
    /// after any edit at this point.
    ///
    /// # Errors
    /// Ends the step.
    fn observe(&mut self, point: HookPoint, rows: &RowMap, values: &[f32]) -> Result<()>;
}

/// The listeners of one step. Without listeners a hook point costs one set look-up.
#[derive(Default)]
pub struct Hooks<'a> {
    observers: Vec<&'a mut dyn Observer>,
    edits: Vec<ItemEdit<'a>>,
    points: BTreeSet<HookPoint>,
}

/// An edit that applies to one item of the batch.
struct ItemEdit<'a> {
    item: usize,
    edit: &'a dyn Edit,
}

impl std::fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("points", &self.points)
            .finish_non_exhaustive()
    }
}

impl<'a> Hooks<'a> {
    /// No listeners.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an observer of all rows.
    #[must_use]
    pub fn observe(mut self, observer: &'a mut dyn Observer) -> Self {
        self.points.extend(observer.points());
        self.observers.push(observer);
        self
    }

    /// Adds an edit of the rows of one item; items without edits are untouched, to the bit.
    #[must_use]
    pub fn edit(mut self, item: usize, edit: &'a dyn Edit) -> Self {
        self.points.insert(edit.point());
        self.edits.push(ItemEdit { item, edit });
        self
    }

    /// Every point with a listener.
    pub(crate) fn points(&self) -> impl Iterator<Item = HookPoint> + '_ {
        self.points.iter().copied()
    }

    /// Width that each edit expects, for checking before the pass.
    pub(crate) fn edit_widths(&self) -> impl Iterator<Item = (HookPoint, usize)> + '_ {
        self.edits
            .iter()
            .map(|item| (item.edit.point(), item.edit.width()))
    }

    /// Whether anything listens at `point`.
    pub(crate) fn listens(&self, point: HookPoint) -> bool {
        self.points.contains(&point)
    }

    /// Whether an edit stands at `point`.
    pub(crate) fn edits(&self, point: HookPoint) -> bool {
        self.edits.iter().any(|item| item.edit.point() == point)
    }

    /// Lets listeners at `point` edit, then observe `values`, `[row, width]`.
    pub(crate) fn at(&mut self, point: HookPoint, values: &mut [f32], rows: &RowMap) -> Result<()> {
        if !self.listens(point) {
            return Ok(());
        }
        let width = values.len() / rows.n_rows();
        for item in self.edits.iter().filter(|item| item.edit.point() == point) {
            for row in rows.item_rows(item.item) {
                item.edit.apply(
                    rows.rows()[row].position,
                    &mut values[row * width..(row + 1) * width],
                );
            }
        }
        for observer in &mut self.observers {
            if observer.points().contains(&point) {
                observer.observe(point, rows, values)?;
            }
        }
        Ok(())
    }
}
