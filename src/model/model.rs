//! A loaded model: weights, tokenizer, chat template, identity, and the step that runs it.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use candor_schema::{HookPoint, ModelFingerprint, Site};
use serde::Serialize;

use crate::adapter::Adapter;
use crate::backend::{Backend, Place};
use crate::chat_template::ChatTemplate;
use crate::config::DecoderConfig;
use crate::decoder::Compute;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint;
use crate::hooks::Hooks;
use crate::row_map::RowMap;
use crate::sequence::{Sequence, Snapshot};
use crate::source::{Files, Source};
use crate::tokenizer::Tokenizer;

/// Rows whose logits are made at a time, which bounds them to this many vocabularies.
const LOGIT_ROWS: usize = 16;

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where it runs.
    pub device: Device,
    /// Arithmetic of products with weights; `None` for the device's own.
    pub compute: Option<Compute>,
    /// Folders of `LoRA` adapters as PEFT saves them, each with a factor on its contribution; with
    /// a factor of 0 the model is its base, to the bit.
    pub adapters: Vec<(PathBuf, f32)>,
}

/// A model in memory.
#[derive(Debug)]
pub struct Model {
    name: String,
    device: Device,
    backend: Backend,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    fingerprint: ModelFingerprint,
    key: String,
    types: Vec<WeightType>,
}

/// How much of a file or of memory is in one type.
#[derive(Debug, Clone, Serialize)]
pub struct WeightType {
    /// Name of the type.
    pub name: String,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Their bytes.
    pub n_bytes: usize,
}

/// One item of a step: tokens to append to a sequence.
#[derive(Debug)]
pub struct StepItem<'a> {
    /// The sequence.
    pub sequence: &'a mut Sequence,
    /// New tokens, at least one.
    pub tokens: &'a [u32],
    /// Rows whose next-token logits are wanted.
    pub logits: LogitRows,
}

/// Which rows of an item get next-token logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None.
    None,
    /// The last one.
    Last,
    /// From this index into the item's new tokens on.
    From(usize),
}

/// Which token of a step a row of logits follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogitRow {
    /// Index of the item.
    pub item: usize,
    /// Index into the item's new tokens.
    pub token: usize,
}

/// Next-token logits of a few rows.
#[derive(Debug, Clone, Copy)]
pub struct LogitBlock<'a> {
    owners: &'a [LogitRow],
    values: &'a [f32],
    n_vocab: usize,
}

impl<'a> LogitBlock<'a> {
    /// Each row with its `[n_vocab]` logits, in ascending order per item.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (LogitRow, &'a [f32])> {
        let values = self.values.chunks_exact(self.n_vocab);
        self.owners.iter().copied().zip(values)
    }
}

/// Next-token logits of one item, `[row, n_vocab]`, one row per wanted row.
pub type Logits = Vec<Vec<f32>>;

/// What a model is made of, without its identity.
struct Parts {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// With the factor on each one's contribution, not 0.
    adapters: Vec<(Adapter, f32)>,
    backend: Backend,
}

impl Parts {
    fn load(source: &Source, options: &Options, place: &Place) -> Result<Self> {
        let config = source.config().clone();
        let (tokenizer, template) = match source.files() {
            Files::Gguf(gguf) => {
                let tokenizer = Tokenizer::from_gguf(gguf, config.n_vocab)?;
                let template = ChatTemplate::from_gguf(gguf, &tokenizer)?;
                (tokenizer, template)
            }
            Files::Folder(folder) => {
                let tokenizer = Tokenizer::from_folder(folder.path(), config.n_vocab)?;
                let template = ChatTemplate::from_folder(folder.path(), &tokenizer)?;
                (tokenizer, template)
            }
        };
        let mut adapters = Vec::new();
        for (folder, factor) in &options.adapters {
            if !factor.is_finite() {
                return Err(Error::Adapter {
                    what: format!("the factor {factor} of `{}`", folder.display()),
                });
            }
            let adapter = Adapter::open(folder, &config)?;
            if *factor != 0.0 {
                adapters.push((adapter, *factor));
            }
        }
        let backend = Backend::load(source.weights(), config, place, &adapters)?;
        Ok(Self {
            tokenizer,
            template,
            adapters,
            backend,
        })
    }
}

impl Model {
    /// Loads a GGUF file onto the processor with the default arithmetic.
    ///
    /// # Errors
    /// Any [`Error`] that tells what in the file is missing, malformed or not supported.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &Options::default())
    }

    /// Loads a GGUF file, or a folder with `config.json` and safetensors files.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::DeviceNotBuilt`], [`Error::NoDevice`] and
    /// [`Error::ComputeOnDevice`] before anything is read.
    pub fn open_with(path: &Path, options: &Options) -> Result<Self> {
        let place = Place::open(options.device, options.compute)?;
        let source = Source::open(path)?;
        let (weights_sha256, parts) = std::thread::scope(|scope| {
            // Hashing takes one thread about as long as all of them need for the rest.
            let hash = scope.spawn(|| source.weights_sha256());
            let parts = Parts::load(&source, options, &place);
            (hash.join(), parts)
        });
        let weights_sha256 = weights_sha256.unwrap_or_else(|panic| resume_unwind(panic));
        let Parts {
            tokenizer,
            template,
            adapters,
            backend,
        } = parts?;
        let types = source.types().into_iter();
        let types = types
            .map(|(name, (n_tensors, n_bytes))| WeightType {
                name,
                n_tensors,
                n_bytes,
            })
            .collect();
        let mut fingerprint = fingerprint::of(
            &source,
            weights_sha256,
            &tokenizer,
            template.as_ref(),
            backend.compute(&place),
        );
        fingerprint.adapters = adapters
            .iter()
            .map(|(adapter, factor)| candor_schema::Adapter {
                sha256: adapter.sha256().to_owned(),
                scale: f64::from(*factor),
            })
            .collect();
        let name = path.file_stem().map_or_else(
            || "model".into(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        Ok(Self {
            name,
            device: options.device,
            backend,
            tokenizer,
            template,
            key: fingerprint::key(&fingerprint),
            fingerprint,
            types,
        })
    }

    /// File name without its extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sizes and constants.
    pub fn config(&self) -> &DecoderConfig {
        self.backend.config()
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Rows of one pass over the blocks. Longer steps are cut; shorter ones leave a device idle.
    pub fn max_rows(&self) -> usize {
        self.backend.max_rows()
    }

    /// Identity.
    pub fn fingerprint(&self) -> &ModelFingerprint {
        &self.fingerprint
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Types of the weights in the file.
    pub fn weight_types(&self) -> &[WeightType] {
        &self.types
    }

    /// The chat template.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`] if the file has none.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().ok_or_else(|| Error::NoChatTemplate {
            model: self.name.clone(),
        })
    }

    /// Types of the weight matrices in memory, with their number and bytes.
    pub fn packed_types(&self) -> Vec<WeightType> {
        let mut types: Vec<WeightType> = Vec::new();
        for (name, n_bytes) in self.backend.matrices() {
            let index = types.iter().position(|kind| kind.name == name);
            let index = index.unwrap_or_else(|| {
                types.push(WeightType {
                    name: name.to_owned(),
                    n_tensors: 0,
                    n_bytes: 0,
                });
                types.len() - 1
            });
            types[index].n_tensors += 1;
            types[index].n_bytes += n_bytes;
        }
        types
    }

    /// Bytes of the weights in the device's memory.
    pub fn weight_bytes(&self) -> usize {
        self.backend.matrices().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that one token adds to the caches of all blocks.
    pub fn cache_bytes_per_token(&self) -> usize {
        self.backend.cache_bytes_per_token()
    }

    /// Width of the vectors at `site`, or `None` where the model has no such site.
    pub fn width(&self, site: Site) -> Option<usize> {
        let config = self.config();
        match site {
            Site::ResidPre | Site::AttnOut | Site::ResidMid | Site::MlpOut | Site::ResidPost => {
                Some(config.d_model)
            }
            Site::AttnZ => Some(config.n_heads * config.d_head),
            Site::MlpPost if config.experts.is_none() => Some(config.d_mlp),
            Site::MlpRouterLogits => config.experts.map(|experts| experts.n_experts),
            _ => None,
        }
    }

    /// Checks that a hook point exists, and returns its width. To be called when a run is planned.
    ///
    /// # Errors
    /// [`Error::NoSuchHookPoint`].
    pub fn hook_width(&self, point: HookPoint) -> Result<usize> {
        let config = self.config();
        let width = self
            .width(point.site)
            .filter(|_| point.layer.0 < config.n_layers);
        width.ok_or_else(|| Error::NoSuchHookPoint {
            point,
            model: self.name.clone(),
            n_layers: config.n_layers,
            architecture: config.architecture.clone(),
        })
    }

    /// Checks tokens before they are queued: not empty, in the vocabulary, within the context.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TokenId`], [`Error::ContextLength`].
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        self.check_step(0, tokens)
    }

    fn check_step(&self, n_past: usize, tokens: &[u32]) -> Result<()> {
        let DecoderConfig { n_vocab, n_ctx, .. } = *self.config();
        if tokens.is_empty() {
            return Err(Error::Empty { what: "token list" });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= n_vocab) {
            return Err(Error::TokenId { token, n_vocab });
        }
        if n_past + tokens.len() > n_ctx {
            return Err(Error::ContextLength {
                n_tokens: n_past + tokens.len(),
                n_ctx,
            });
        }
        Ok(())
    }

    /// Appends tokens to each item's sequence and runs blocks `0..depth` over all of them, packed.
    ///
    /// An item's vectors and logits do not depend on the other items, on how its tokens are cut into
    /// steps, or on `depth`: to the bit on [`Device::Cpu`], to the rounding of its arithmetic on
    /// others. Logits need every block, so they may only be wanted where
    /// `depth` is the number of layers. Everything is checked before the first sequence is touched;
    /// a failure later leaves the sequences as they were.
    ///
    /// # Errors
    /// What [`Model::check_tokens`] refuses, hook points that do not exist, edits of the wrong
    /// width, a depth other than the sequence's, a sequence of the other decoder, and whatever an
    /// observer reports.
    pub fn step(
        &self,
        items: &mut [StepItem<'_>],
        depth: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<Vec<Logits>> {
        let mut logits: Vec<Logits> = vec![Vec::new(); items.len()];
        self.step_with(items, depth, hooks, &mut |block| {
            for (owner, row) in block.rows() {
                logits[owner.item].push(row.to_vec());
            }
        })?;
        Ok(logits)
    }

    /// The same, with logits lent to `read` a few rows at a time instead of kept: those of a long
    /// text are a vocabulary per token.
    ///
    /// # Errors
    /// As [`Model::step`].
    pub fn step_with(
        &self,
        items: &mut [StepItem<'_>],
        depth: usize,
        hooks: &mut Hooks<'_>,
        read: &mut dyn FnMut(LogitBlock<'_>),
    ) -> Result<()> {
        let config = self.config();
        let wants_logits = items.iter().any(|item| item.logits != LogitRows::None);
        if depth == 0 || depth > config.n_layers || (wants_logits && depth < config.n_layers) {
            return Err(Error::ShallowCache {
                filled: depth,
                wanted: config.n_layers,
            });
        }
        for point in hooks.points() {
            self.hook_width(point)?;
        }
        for (point, found) in hooks.edit_widths() {
            let expected = self.hook_width(point)?;
            if found != expected {
                return Err(Error::EditWidth {
                    point,
                    found,
                    expected,
                });
            }
        }
        for item in items.iter_mut() {
            self.check_step(item.sequence.tokens.len(), item.tokens)?;
            item.sequence.prepare(depth, &self.backend.empty_cache())?;
        }

        let before: Vec<usize> = items
            .iter()
            .map(|item| item.sequence.tokens.len())
            .collect();
        let result = self.run(items, depth, hooks, read);
        if result.is_err() {
            for (item, len) in items.iter_mut().zip(before) {
                item.sequence.truncate(len);
            }
        }
        result
    }

    /// Cuts the step into passes of at most [`Model::max_rows`] rows.
    fn run(
        &self,
        items: &mut [StepItem<'_>],
        depth: usize,
        hooks: &mut Hooks<'_>,
        read: &mut dyn FnMut(LogitBlock<'_>),
    ) -> Result<()> {
        let mut pass = self.backend.pass();
        let n_vocab = self.config().n_vocab;
        let mut done = vec![0; items.len()];
        while done
            .iter()
            .zip(items.iter())
            .any(|(&done, item)| done < item.tokens.len())
        {
            let mut room = self.max_rows();
            let counts: Vec<usize> = done
                .iter()
                .zip(items.iter())
                .map(|(&done, item)| {
                    let n = (item.tokens.len() - done).min(room);
                    room -= n;
                    n
                })
                .collect();
            let first = items.iter().map(|item| item.sequence.tokens.len());
            // Items without rows in this pass keep their index, so that edits and observers find them.
            let rows = RowMap::new(first.zip(counts.iter().copied()).collect::<Vec<_>>());
            let tokens: Vec<u32> = items
                .iter()
                .zip(done.iter().zip(&counts))
                .flat_map(|(item, (&done, &n))| item.tokens[done..done + n].iter().copied())
                .collect();
            let mut sequences: Vec<&mut Sequence> =
                items.iter_mut().map(|item| &mut *item.sequence).collect();
            pass.forward(&tokens, &mut sequences, &rows, depth, hooks)?;

            let mut chosen = Vec::new();
            let mut owners = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let wanted_from = match item.logits {
                    LogitRows::None => usize::MAX,
                    LogitRows::Last => item.tokens.len() - 1,
                    LogitRows::From(first) => first,
                };
                for (offset, row) in rows.item_rows(index).enumerate() {
                    let token = done[index] + offset;
                    if token >= wanted_from {
                        chosen.push(row);
                        owners.push(LogitRow { item: index, token });
                    }
                }
            }
            for (chosen, owners) in chosen.chunks(LOGIT_ROWS).zip(owners.chunks(LOGIT_ROWS)) {
                let values = pass.logits(chosen)?;
                read(LogitBlock {
                    owners,
                    values,
                    n_vocab,
                });
            }
            for (item, (done, n)) in items.iter_mut().zip(done.iter_mut().zip(counts)) {
                item.sequence.tokens.extend(&item.tokens[*done..*done + n]);
                *done += n;
            }
        }
        Ok(())
    }

    /// Copies a sequence, so that it can be gone back to.
    pub fn snapshot(&self, sequence: &Sequence) -> Snapshot {
        Snapshot {
            tokens: sequence.tokens.clone(),
            caches: sequence.caches.clone(),
            model_key: self.key.clone(),
        }
    }

    /// A new sequence that goes on from a snapshot.
    ///
    /// # Errors
    /// [`Error::ForeignSnapshot`] if another model made it.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<Sequence> {
        if snapshot.model_key != self.key {
            return Err(Error::ForeignSnapshot);
        }
        Ok(Sequence {
            tokens: snapshot.tokens.clone(),
            caches: snapshot.caches.clone(),
        })
    }
}
