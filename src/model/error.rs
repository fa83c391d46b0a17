//! What can go wrong between a file and a residual stream.

use std::path::PathBuf;

use candor_schema::HookPoint;

use crate::decoder::Compute;
use crate::device::Device;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A situation in which a model cannot be loaded, or text cannot be run through it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read at all.
    #[error("cannot read model file `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not GGUF.
    #[error("`{path}` is not a GGUF file (expected magic `GGUF`, found {found:?})")]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A GGUF version that this reader does not know.
    #[error("GGUF version {found} is not supported (expected 2 or 3)")]
    GgufVersion {
        /// The version in the file.
        found: u32,
    },
    /// The file ends before something it announces.
    #[error(
        "model file is truncated: {what} needs {needed} bytes at offset {offset}, but the file has {size}"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: usize,
        /// Its length.
        needed: u64,
        /// Length of the file.
        size: usize,
    },
    /// A number in the file that no valid file has.
    #[error("model file is malformed: {what}")]
    Malformed {
        /// What is wrong, with the numbers.
        what: String,
    },
    /// A metadata key that the architecture needs.
    #[error("GGUF metadata `{key}` is missing or not {expected}")]
    Metadata {
        /// The key.
        key: String,
        /// The type or range it should have.
        expected: &'static str,
    },
    /// A setting in a folder's JSON that is needed.
    #[error("`{file}`: `{key}` is missing or not {expected}")]
    Config {
        /// The file.
        file: &'static str,
        /// The setting.
        key: String,
        /// The type or range it should have.
        expected: &'static str,
    },
    /// A setting that is well formed, but that this build cannot follow.
    #[error("`{setting}` is {found}, which is not supported (supported: {supported})")]
    Unsupported {
        /// The setting, as the file names it.
        setting: String,
        /// Its value.
        found: String,
        /// What this build can follow.
        supported: String,
    },
    /// A tensor that the model as it is described has no use for.
    #[error(
        "tensor `{tensor}` has no place in a model of type `{architecture}` with these settings"
    )]
    UnusedTensor {
        /// The tensor, by its name in the file.
        tensor: String,
        /// The model's architecture.
        architecture: String,
    },
    /// An adapter that cannot be applied to the model.
    #[error("adapter cannot be used: {what}")]
    Adapter {
        /// What is wrong.
        what: String,
    },
    /// An architecture that has no file in `arch/`.
    #[error("architecture `{found}` is not supported (supported: {supported})")]
    Architecture {
        /// What the file says.
        found: String,
        /// What this build knows.
        supported: String,
    },
    /// A weight type that cannot be dequantised here.
    #[error("tensor `{tensor}` has GGML type {type_id}, which is not supported")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// GGML's number of the type.
        type_id: u32,
    },
    /// A tensor that the architecture needs.
    #[error("tensor `{tensor}` is missing")]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of the wrong shape.
    #[error("tensor `{tensor}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// Shape in the file, rows first.
        found: Vec<usize>,
        /// Shape that the metadata implies.
        expected: Vec<usize>,
    },
    /// A weight that is not a number.
    #[error("tensor `{tensor}` holds a value that is not finite")]
    NonFiniteWeight {
        /// The tensor.
        tensor: String,
    },
    /// A tokenizer that cannot be rebuilt from the file.
    #[error("tokenizer cannot be built: {what}")]
    Tokenizer {
        /// What is wrong.
        what: String,
    },
    /// A pre-tokeniser that has no line in the table.
    #[error("pre-tokeniser `{found}` is not supported (supported: {supported})")]
    PreTokenizer {
        /// What the file says.
        found: String,
        /// What this build knows.
        supported: String,
    },
    /// The model has no chat template, but messages were given.
    #[error("model `{model}` has no chat template")]
    NoChatTemplate {
        /// The model.
        model: String,
    },
    /// The chat template does not render these messages.
    #[error("chat template failed: {what}")]
    ChatTemplate {
        /// What the template engine says.
        what: String,
    },
    /// A message's content cannot be found again in the rendered text.
    #[error("content of message {message} cannot be located in the rendered text")]
    ContentNotFound {
        /// Index of the message.
        message: usize,
    },
    /// Text that has no tokens.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// More tokens than the model was made for.
    #[error("text has {n_tokens} tokens, but the model's context is {n_ctx}")]
    ContextLength {
        /// Tokens asked for.
        n_tokens: usize,
        /// Tokens possible.
        n_ctx: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {token} is outside the vocabulary of {n_vocab}")]
    TokenId {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        n_vocab: usize,
    },
    /// A hook point that this model does not have.
    #[error(
        "`{point}` does not exist in `{model}`, which has {n_layers} layers of type `{architecture}`"
    )]
    NoSuchHookPoint {
        /// The point asked for.
        point: HookPoint,
        /// The model.
        model: String,
        /// Its number of layers.
        n_layers: usize,
        /// Its architecture.
        architecture: String,
    },
    /// A cache that was filled to fewer layers than are now asked for.
    #[error("the sequence was computed to layer {filled}, but layer {wanted} is asked for")]
    ShallowCache {
        /// Layers computed so far.
        filled: usize,
        /// Layers wanted.
        wanted: usize,
    },
    /// A snapshot of another model.
    #[error("the snapshot belongs to another model")]
    ForeignSnapshot,
    /// A sequence that a model on another kind of device computed.
    #[error("the sequence was computed on another device")]
    ForeignSequence,
    /// A device that has no such name.
    #[error("unknown device `{found}`")]
    UnknownDevice {
        /// What was asked for.
        found: String,
    },
    /// A device that this build cannot use.
    #[error("this build has no support for the device `{device}`")]
    DeviceNotBuilt {
        /// What was asked for.
        device: Device,
    },
    /// A device that is not there, or does not work.
    #[error("the device `{device}` cannot be used")]
    NoDevice {
        /// What was asked for.
        device: Device,
        /// Why.
        source: candle_core::Error,
    },
    /// An arithmetic that a device does not have.
    #[error("there is no `{compute}` on the device `{device}`")]
    ComputeOnDevice {
        /// The arithmetic.
        compute: Compute,
        /// The device.
        device: Device,
    },
    /// An edit whose vector does not fit its site.
    #[error("edit at `{point}` has width {found}, but the site has {expected}")]
    EditWidth {
        /// Where it edits.
        point: HookPoint,
        /// Width of the edit.
        found: usize,
        /// Width of the site.
        expected: usize,
    },
    /// An observer that refuses what it sees.
    #[error("{what}")]
    Observer {
        /// What it says.
        what: String,
    },
    /// Sampling settings out of range.
    #[error("sampling setting `{name}` is {value}, expected {expected}")]
    Sampling {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range.
        expected: &'static str,
    },
    /// Next-token logits from which no token can be chosen.
    #[error("next-token logit {index} is not a usable number")]
    NextLogit {
        /// Index of the first one, 0 where all tokens are ruled out.
        index: usize,
    },
    /// The tensor library failed.
    #[error("inference failed")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check the path; `candor model list` shows the models that can be pulled".into(),
            Self::NotGguf { .. } => "give a `.gguf` file, or a folder with `config.json` and `model.safetensors`".into(),
            Self::GgufVersion { .. } => "convert the file again with a current llama.cpp".into(),
            Self::Truncated { .. } | Self::Malformed { .. } | Self::NonFiniteWeight { .. } => {
                "the download may have been cut: compare its sha256 with the publisher's and fetch it again".into()
            }
            Self::Metadata { .. } | Self::MissingTensor { .. } | Self::TensorShape { .. } => {
                "the file does not follow its own metadata; fetch it again or use another conversion".into()
            }
            Self::Config { file, .. } => format!("fetch `{file}` again from the publisher"),
            Self::Unsupported { .. } | Self::UnusedTensor { .. } => {
                "following only a part of the model would silently change every result, so it is refused; use \
                 another variant of the model"
                    .into()
            }
            Self::Adapter { .. } => {
                "give a PEFT LoRA folder made for this model, with `bias` \"none\" and neither DoRA nor `modules_to_save`"
                    .into()
            }
            Self::Architecture { .. } => {
                "use a model of a supported architecture; adding one is one file in `src/model/arch/`".into()
            }
            Self::TensorType { .. } => {
                "use a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or a K-quant type".into()
            }
            Self::Tokenizer { .. } => {
                "a wrong tokenizer would silently change every result, so it is refused; fetch the files \
                 again or use another conversion of the model"
                    .into()
            }
            Self::PreTokenizer { .. } => {
                "a wrong tokenizer would silently change every result, so it is refused; use a file whose \
                 `tokenizer.ggml.pre` is supported"
                    .into()
            }
            Self::NoChatTemplate { .. } => "score plain text with `prompt` and `response` instead of `messages`".into(),
            Self::ChatTemplate { .. } => "check the roles and their order".into(),
            Self::ContentNotFound { .. } => {
                "the template rewrites this content; score it as plain text or as token ids".into()
            }
            Self::Empty { .. } => "give at least one token of text".into(),
            Self::ContextLength { .. } => "shorten the text; candor never truncates it silently".into(),
            Self::TokenId { .. } => "the ids must come from this model's own tokenizer".into(),
            Self::NoSuchHookPoint { .. } => "`candor model info` lists the model's hook points".into(),
            Self::ShallowCache { .. } | Self::ForeignSequence => "start a new sequence".into(),
            Self::UnknownDevice { .. } => "devices are `cpu`, `cuda`, `cuda:1`, `metal` and `tensors`".into(),
            Self::DeviceNotBuilt { device } => format!("build with `--features {}`", device.kind()),
            Self::NoDevice { device: Device::Cuda(_), .. } => {
                "`nvidia-smi` shows the GPUs and their numbers; `--device cpu` needs none".into()
            }
            Self::NoDevice { .. } => "`--device cpu` needs no GPU".into(),
            Self::ComputeOnDevice { device: Device::Cpu, .. } => {
                "bf16 is for GPUs: add `--device cuda`, or take `--compute int8` or `--compute f32`".into()
            }
            Self::ComputeOnDevice { .. } => {
                "take `--compute bf16` or `--compute f32`; int8 runs with `--device cpu`".into()
            }
            Self::ForeignSnapshot => "restore a snapshot with the model that made it".into(),
            Self::EditWidth { .. } => "make the edit's vector from this model".into(),
            Self::Sampling { .. } | Self::NextLogit { .. } | Self::Observer { .. } | Self::Candle(_) => return None,
        })
    }
}
