//! Append-only hash-chained log of verdicts.
