//! Text that a model writes, several at a time, and how its tokens are chosen.

use candor_model::{
    History, Hooks, LogitRows, Model, Sampler, Sampling, Sequence, Snapshot, StepItem,
};

/// Texts that are written in one pass.
pub(super) const BATCH: usize = 16;

/// How tokens are chosen.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SamplingArgs {
    /// Divides the logits; 0 takes the most likely token
    #[arg(long, env = "CANDOR_TEMPERATURE", default_value_t = 0.7)]
    temperature: f64,
    /// Keeps the smallest set of tokens with this much probability
    #[arg(long, env = "CANDOR_TOP_P", default_value_t = 0.95)]
    top_p: f64,
    /// Keeps this many of the most likely tokens; 0 keeps all
    #[arg(long, env = "CANDOR_TOP_K", default_value_t = 0)]
    top_k: u32,
    /// Keeps tokens with at least this fraction of the highest probability
    #[arg(long, env = "CANDOR_MIN_P", default_value_t = 0.0)]
    min_p: f64,
    /// Makes tokens that prompt or reply already have less likely; 1 does nothing
    #[arg(long, env = "CANDOR_REPETITION_PENALTY", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Seed; that of each text follows from it and from the text's place
    #[arg(long, env = "CANDOR_SEED", default_value_t = 0)]
    pub(super) seed: u64,
}

impl SamplingArgs {
    /// An empty draft whose tokens are drawn from a seed of its own.
    pub(super) fn draft(&self, seed: u64) -> anyhow::Result<Draft> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(seed),
            ..Sampling::GREEDY
        };
        Ok(Draft {
            sequence: Sequence::new(),
            sampler: Sampler::new(sampling)?,
            n_prompt: 0,
            next: Vec::new(),
            reply: Vec::new(),
            ended: true,
        })
    }
}

/// A text in the making.
pub(super) struct Draft {
    sequence: Sequence,
    sampler: Sampler,
    n_prompt: usize,
    /// Tokens that the model has yet to read.
    next: Vec<u32>,
    reply: Vec<u32>,
    ended: bool,
}

impl Draft {
    /// Begins a new text after this prompt. What the prompt has in common with what was read before
    /// is not read again.
    pub(super) fn read(&mut self, prompt: &[u32]) {
        let known = self.sequence.tokens().iter().zip(prompt);
        let n_known = known.take_while(|(old, new)| old == new).count();
        // The last token is read again in any case: its logits are wanted.
        let n_known = n_known.min(prompt.len().saturating_sub(1));
        self.sequence.truncate(n_known);
        self.n_prompt = prompt.len();
        self.next = prompt[n_known..].to_vec();
        self.reply.clear();
        self.ended = false;
    }

    /// Reads its prompt but for the last token, for others to go on from; see [`Draft::go_on_from`].
    pub(super) fn read_ahead(&mut self, model: &Model) -> anyhow::Result<Snapshot> {
        let last = self.next.split_off(self.next.len().saturating_sub(1));
        if !self.next.is_empty() {
            let item = StepItem {
                sequence: &mut self.sequence,
                tokens: &self.next,
                logits: LogitRows::None,
            };
            model.step(&mut [item], model.config().n_layers, &mut Hooks::none())?;
        }
        self.next = last;
        Ok(model.snapshot(&self.sequence))
    }

    /// Starts from what another draft has read.
    pub(super) fn go_on_from(&mut self, model: &Model, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.sequence = model.restore(snapshot)?;
        Ok(())
    }

    /// The text.
    pub(super) fn text(&self, model: &Model) -> anyhow::Result<String> {
        Ok(model.tokenizer().decode(&self.reply)?)
    }

    /// How it was written, for the field `sampling`.
    pub(super) fn settings(&self, max_tokens: usize) -> anyhow::Result<serde_json::Value> {
        let mut settings = serde_json::to_value(self.sampler.sampling())?;
        settings["max_tokens"] = max_tokens.into();
        settings["finish"] = if self.ended { "stop" } else { "length" }.into();
        Ok(settings)
    }
}

/// Writes drafts to their ends, at most `max_tokens` tokens each, all of them in one pass per token.
pub(super) fn write(
    model: &Model,
    drafts: &mut [&mut Draft],
    max_tokens: usize,
) -> anyhow::Result<()> {
    for _ in 0..max_tokens {
        let mut open: Vec<&mut Draft> = drafts
            .iter_mut()
            .map(|draft| &mut **draft)
            .filter(|draft| !draft.ended)
            .collect();
        if open.is_empty() {
            break;
        }
        let logits = {
            let mut items: Vec<StepItem<'_>> = open
                .iter_mut()
                .map(|draft| StepItem {
                    sequence: &mut draft.sequence,
                    tokens: &draft.next,
                    logits: LogitRows::Last,
                })
                .collect();
            model.step(&mut items, model.config().n_layers, &mut Hooks::none())?
        };
        for (draft, logits) in open.iter_mut().zip(logits) {
            let history = History {
                prompt: &draft.sequence.tokens()[..draft.n_prompt],
                reply: &draft.reply,
            };
            let token = draft.sampler.sample(&logits[0], history)?;
            if model.tokenizer().is_end(token) {
                draft.ended = true;
            } else {
                draft.reply.push(token);
                draft.next = vec![token];
            }
        }
    }
    Ok(())
}
