//! A live model and its probes: verdicts as text is read or generated.
//!
//! Everything that scores with a live model goes through this crate, so `candor score`,
//! `candor verify` and the server cannot differ: the same decoder, hook and scorer.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use candor_detect::{Detector, ReadOptions, ScoreInput};
//! use candor_model::Model;
//!
//! let model = Arc::new(Model::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?);
//! let detector = Detector::new(model).with_probe_dir("probes/my-probe".as_ref(), false)?;
//! let input = ScoreInput::Text { prompt: "Is the pump on? ".into(), response: "It is off.".into() };
//! let scored = detector.read(&[input], detector.probes(), ReadOptions::default()).remove(0)?;
//! assert!(scored.probes[0].logit().is_some());
//! # Ok::<(), candor_detect::Error>(())
//! ```

mod error;

mod detector;
mod input;

mod prefix_cache;
mod reading;
mod running;
mod vectors;
mod writing;

mod verdict;

mod engine;

/// What [`Error::Model`] wraps, for those who map errors without a model at hand.
pub use candor_model::Error as ModelError;
pub use detector::{Detector, LoadedProbe};
pub use engine::{Answer, Engine, EngineOptions};
pub use error::{Error, ErrorClass, Result};
pub use input::ScoreInput;
pub use prefix_cache::{PREFIX_BLOCK, PrefixCache, PrefixCacheStats};
pub use reading::{ReadOptions, Scored};
pub use running::RunningProbe;
pub use verdict::{Detail, Provenance};
pub use writing::{FinishReason, Generated, LiveReply, LiveSnapshot, Progress, WriteOptions};
