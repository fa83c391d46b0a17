//! Append-only hash-chained log of verdicts, one JSON row per line.
//!
//! Each row holds the SHA-256 of the row before it and of itself, so a changed, removed, repeated
//! or reordered row shows. Rows cut off at the *end* do not show in a chain: to notice those, keep
//! [`Report::n_rows`] and [`Report::head_sha256`] elsewhere from time to time. The log holds no
//! text of prompts or replies. It does not decide, review or forget anything.
//!
//! ```
//! use candor_audit::{AuditLog, verify};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("audit.jsonl");
//! let log = AuditLog::open(&path)?.sync_each_row(true);
//! assert_eq!(log.n_rows(), 0);
//! assert!(verify(&path)?.broken.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;

mod chain;

mod log;
mod verify;

pub use error::{Break, Error, Fault, Result};
pub use log::AuditLog;
pub use verify::{Report, verify};
