//! Which sequence and position each packed row belongs to.

/// Maps the rows of a step, packed over sequences without padding, to where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMap {
    rows: Vec<Row>,
    /// First row of each item, and one past the last row of all. Rows of an item are consecutive.
    starts: Vec<usize>,
}

/// Where one row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index of the item in the step's batch.
    pub item: usize,
    /// Position in the sequence, from 0.
    pub position: usize,
}

impl RowMap {
    /// One entry per item: its first position and its number of rows.
    pub(crate) fn new(items: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut map = Self {
            rows: Vec::new(),
            starts: vec![0],
        };
        for (item, (first, n_rows)) in items.into_iter().enumerate() {
            map.rows
                .extend((first..first + n_rows).map(|position| Row { item, position }));
            map.starts.push(map.rows.len());
        }
        map
    }

    /// Every row in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.starts.len() - 1
    }

    /// The rows of one item.
    pub fn item_rows(&self, item: usize) -> std::ops::Range<usize> {
        self.starts[item]..self.starts[item + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_items_are_consecutive() {
        let map = RowMap::new([(5, 2), (0, 3)]);
        assert_eq!(map.n_rows(), 5);
        assert_eq!(map.item_rows(0), 0..2);
        assert_eq!(map.item_rows(1), 2..5);
        assert_eq!(
            map.rows()[1],
            Row {
                item: 0,
                position: 6
            }
        );
        assert_eq!(
            map.rows()[2],
            Row {
                item: 1,
                position: 0
            }
        );
    }
}
