//! Parquet store of captured activations.
//!
//! A store is a folder. `manifest.json` is the plan: model, data set, hook points, precision, and
//! the dialogues of each part; it is written first and never changes. `part-00000.parquet` and its
//! like hold one row per token, with one vector column per hook point; `part-00000.json`, written
//! after it, commits a part. `dialogues.parquet`, committed by `dialogues.json`, holds what is known
//! of the dialogues. Every file is whole or absent, so a capture that was killed goes on where it stopped, and ends with the
//! bytes it would have had without the interruption.
//!
//! Rows are `&[f32]`: this crate knows no model and no tensor library. It writes to a local file
//! system only, and one process at a time writes in a folder.
//!
//! ```
//! use candor_activations::*;
//! use candor_schema::{HookPoint, Segment};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! # let model = serde_json::from_str(r#"{"base": "m", "architecture": "llama",
//! #     "config_sha256": "", "weights_sha256": "", "quantisation": "Q4_1",
//! #     "tokenizer_sha256": "", "template_sha256": "", "compute": "f32"}"#)?;
//! # let dialogue = serde_json::from_str(r#"{"id": "d-1", "scenario": "s", "family": "f",
//! #     "messages": [], "label": "honest", "origin": "written", "split": "train",
//! #     "licence": "CC0-1.0", "source": "us"}"#)?;
//! let point = HookPoint::resid_post(12);
//! let plan = Manifest {
//!     format_version: Default::default(),
//!     candor_version: "0.1.0".into(),
//!     model, // the loaded model's fingerprint
//!     model_name: "tiny".into(),
//!     dataset: DatasetRef { name: "example".into(), sha256: "…".into() },
//!     hook_points: vec![HookPointWidth { hook_point: point, width: 3 }],
//!     positions: Positions::All,
//!     precision: Precision::F16,
//!     template_sha256: "…".into(),
//!     seed: None,
//!     n_threads: 1,
//!     cpu_features: vec!["avx2".into()],
//!     row_group_bytes: DEFAULT_ROW_GROUP_BYTES,
//!     parts: vec![PartPlan { index: 0, dialogues: vec!["d-1".into()] }],
//!     extra: Default::default(),
//! };
//!
//! let mut store = Store::create_or_resume(folder, &plan)?;
//! store.write_dialogues(&[dialogue])?;
//! for index in store.remaining() {
//!     let mut part = store.begin_part(index)?;
//!     let token = Token {
//!         message: 0, token_index: 0, token_id: 42, segment: Segment::Assistant,
//!         in_response: true, in_span: false, from_end: Some(0),
//!         logprob: None, entropy: None,
//!     };
//!     part.append("d-1", &[token], &[&[0.5, -1.0, 2.0]])?;
//!     part.finish()?;
//! }
//!
//! let store = Store::open(folder)?;
//! for dialogue in store.captured_dialogues(&[point])? {
//!     let dialogue = dialogue?;
//!     assert_eq!(dialogue.vectors, [(point, vec![0.5, -1.0, 2.0])]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;

mod durable;
mod manifest;
mod precision;
mod token;

mod part;
mod record;

mod captured;
mod dialogues;
mod reader;
mod store;

#[cfg(test)]
mod testing;

pub use captured::{CapturedDialogue, CapturedDialogues};
pub use error::Error;
pub use manifest::{
    DEFAULT_ROW_GROUP_BYTES, DatasetRef, HookPointWidth, Manifest, PartPlan, Positions,
};
pub use part::PartWriter;
pub use precision::Precision;
pub use reader::{TokenBatch, TokenBatches};
pub use record::PartRecord;
pub use store::{RejectedFile, Store};
pub use token::Token;
