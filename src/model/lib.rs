//! Language models on candle, with hooks that observe or edit the residual stream.
//!
//! One generic decoder, driven by an architecture description, runs packed rows of many sequences
//! and lets listeners read or change every site of every block by its TransformerLens name. It
//! does not know what a probe is, and it does not reach the network.
//!
//! ```no_run
//! use candor_model::{Hooks, LogitRows, Model, Sequence, StepItem};
//!
//! let model = Model::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
//! let text = model.encode_text("The capital of France is", " Paris")?;
//! let mut sequence = Sequence::new();
//! let item = StepItem { sequence: &mut sequence, tokens: &text.ids, logits: LogitRows::Last };
//! let logits = model.step(&mut [item], model.config().n_layers, &mut Hooks::none())?;
//! assert_eq!(logits[0][0].len(), model.config().n_vocab);
//! # Ok::<(), candor_model::Error>(())
//! ```

mod error;

mod adapter;
mod arch;
mod config;
mod file_map;
mod gguf;
mod json;
mod safetensors;
mod source;
mod tensor;
mod threads;
mod weights;

mod chat_template;
mod dialogue_tokens;
mod tokenizer;

mod backend;
mod cache;
mod decoder;
mod device;
mod edit;
mod hooks;
#[allow(
    unsafe_code,
    reason = "vector instructions, and buffers that several threads write in parts"
)]
mod kernel;
mod kv_cache;
mod recorder;
mod rope;
mod row_map;
mod sampler;
mod sequence;

mod fingerprint;
mod model;

pub use arch::architecture_names;
pub use chat_template::{ChatTemplate, Content, RenderOptions, Rendered};
pub use config::{Activation, DecoderConfig, Experts, Norms, QkNorm, RopeConfig, RopeScaling};
pub use decoder::Compute;
pub use device::{DEVICES, Device};
pub use dialogue_tokens::{DialogueTokens, TokenPlace};
pub use edit::{Ablate, EDITS, Edit, Patch, Steer};
pub use error::{Error, Result};
pub use hooks::{Hooks, Observer};
pub use json::Json;
pub use model::{LogitBlock, LogitRow, LogitRows, Logits, Model, Options, StepItem, WeightType};
pub use recorder::Recorder;
pub use row_map::{Row, RowMap};
pub use sampler::{History, Sampler, Sampling, surprise};
pub use sequence::{Sequence, Snapshot};
pub use threads::n_threads;
pub use tokenizer::{Token, Tokenizer};
