//! Parts of tensors that a file stores stacked.

use std::ops::Range;

/// Which rows of a file's tensor a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// The queries' of query, key and value.
    Query,
    /// The keys', before as many rows of values.
    Key,
    /// The values', the last rows.
    Value,
    /// The first half: the gate's of gate and up.
    Gate,
    /// The second half.
    Up,
    /// One expert's of `[n_experts, rows, width]`.
    Expert(usize),
    /// The first half of one expert's.
    ExpertGate(usize),
    /// The second half of one expert's.
    ExpertUp(usize),
}

impl Part {
    /// Rows of a tensor of shape `stacked` that hold this part, which must be of `shape`; `None`
    /// where it does not fit. Rows run over all dimensions but the fastest.
    pub(crate) fn rows(self, stacked: &[usize], shape: &[usize]) -> Option<Range<usize>> {
        let (&width, stacked_rows) = stacked.split_last()?;
        let (&part_width, part_rows) = shape.split_last()?;
        if self == Self::Whole {
            return (stacked == shape).then(|| 0..stacked_rows.iter().product());
        }
        let &[n] = part_rows else { return None };
        let range = match (self, stacked_rows) {
            (Self::Query, &[total]) if n <= total => 0..n,
            (Self::Key, &[total]) if n <= total / 2 => total - 2 * n..total - n,
            (Self::Value, &[total]) if n <= total => total - n..total,
            (Self::Gate, &[total]) if total == n.checked_mul(2)? => 0..n,
            (Self::Up, &[total]) if total == n.checked_mul(2)? => n..total,
            (Self::Expert(e), &[n_experts, each]) if e < n_experts && each == n => {
                e * n..(e + 1) * n
            }
            (Self::ExpertGate(e), &[n_experts, each])
                if e < n_experts && each == n.checked_mul(2)? =>
            {
                e * each..e * each + n
            }
            (Self::ExpertUp(e), &[n_experts, each])
                if e < n_experts && each == n.checked_mul(2)? =>
            {
                e * each + n..(e + 1) * each
            }
            _ => return None,
        };
        (width == part_width).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "cases read better")]
    fn check(part: Part, stacked: &[usize], shape: &[usize], expected: Option<Range<usize>>) {
        assert_eq!(part.rows(stacked, shape), expected);
    }

    #[test]
    fn rows_of_stacked_tensors() {
        check(Part::Whole, &[6, 4], &[6, 4], Some(0..6));
        check(Part::Whole, &[4], &[4], Some(0..1));
        check(Part::Whole, &[6, 4], &[4, 6], None);
        // 4 rows of queries, 2 of keys, 2 of values.
        check(Part::Query, &[8, 4], &[4, 4], Some(0..4));
        check(Part::Key, &[8, 4], &[2, 4], Some(4..6));
        check(Part::Value, &[8, 4], &[2, 4], Some(6..8));
        check(Part::Gate, &[8, 4], &[4, 4], Some(0..4));
        check(Part::Up, &[8, 4], &[4, 4], Some(4..8));
        check(Part::Expert(1), &[3, 2, 4], &[2, 4], Some(2..4));
        check(Part::ExpertGate(1), &[3, 4, 4], &[2, 4], Some(4..6));
        check(Part::ExpertUp(1), &[3, 4, 4], &[2, 4], Some(6..8));
    }

    #[test]
    fn what_does_not_fit_is_no_part() {
        check(Part::Query, &[8, 4], &[9, 4], None);
        check(Part::Key, &[8, 4], &[5, 4], None);
        check(Part::Value, &[8, 4], &[2, 5], None);
        check(Part::Gate, &[7, 4], &[4, 4], None);
        check(Part::Up, &[8, 4], &[usize::MAX, 4], None);
        check(Part::Expert(3), &[3, 2, 4], &[2, 4], None);
        check(Part::Expert(0), &[3, 2, 4], &[3, 4], None);
        check(Part::Expert(0), &[6, 4], &[2, 4], None);
        check(Part::Query, &[8], &[8], None);
        check(Part::Whole, &[], &[], None);
    }
}
