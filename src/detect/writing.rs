//! Scores a reply token by token, as it is read in or written by the model.

use std::sync::Arc;

use candor_model::{
    Hooks, LogitRows, Model, Recorder, Sampler, Sampling, Sequence, Snapshot, StepItem,
};
use candor_schema::{HookPoint, Message, Usage};

use crate::detector::{Detector, LoadedProbe, hook_points};
use crate::error::{Error, Result};
use crate::input::ScoreInput;
use crate::reading::Scored;
use crate::running::RunningProbe;
use crate::vectors::kept;

/// A reply in the making and what the probes say about it so far.
#[derive(Debug)]
pub struct LiveReply {
    model: Arc<Model>,
    sequence: Sequence,
    probes: Vec<RunningProbe>,
    points: Vec<HookPoint>,
    depth: usize,
    n_prompt: usize,
    texts: Vec<String>,
}

/// A place to go back to: tokens, caches, pooling states and token logits of the prefix.
#[derive(Debug)]
pub struct LiveSnapshot {
    snapshot: Snapshot,
    probes: Vec<RunningProbe>,
    texts: Vec<String>,
}

impl LiveReply {
    /// Appends tokens of the reply, scores each, and returns the next-token logits where every block
    /// was run.
    ///
    /// # Errors
    /// What the model or a probe refuses; the reply is then as it was.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Option<Vec<f32>>> {
        let n_before = self.sequence.tokens().len();
        let result = self.step(tokens, n_before);
        if result.is_err() {
            self.sequence.truncate(n_before);
        }
        result
    }

    fn step(&mut self, tokens: &[u32], first_kept: usize) -> Result<Option<Vec<f32>>> {
        let wants_logits = self.depth == self.model.config().n_layers;
        let logits = if wants_logits {
            LogitRows::Last
        } else {
            LogitRows::None
        };
        let mut recorder = Recorder::new(&self.points, vec![first_kept]);
        let item = StepItem {
            sequence: &mut self.sequence,
            tokens,
            logits,
        };
        let mut out = self.model.step(
            &mut [item],
            self.depth,
            &mut Hooks::none().observe(&mut recorder),
        )?;
        let texts = tokens
            .iter()
            .map(|&id| self.model.tokenizer().decode(&[id]));
        let texts: Vec<String> = texts.collect::<candor_model::Result<_>>()?;
        let mut probes = self.probes.clone();
        for probe in &mut probes {
            for token in 0..tokens.len() {
                probe.push(kept(&recorder, 0), token)?;
            }
        }
        self.probes = probes;
        self.texts.extend(texts);
        Ok(out.remove(0).pop())
    }

    /// The probes so far.
    pub fn probes(&self) -> &[RunningProbe] {
        &self.probes
    }

    /// The reply's tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.sequence.tokens()[self.n_prompt..]
    }

    /// The scores so far.
    pub fn scored(&self) -> Scored {
        let n_tokens = self.sequence.tokens().len();
        let usage = Usage {
            prompt_tokens: self.n_prompt,
            response_tokens: n_tokens - self.n_prompt,
            computed_tokens: n_tokens,
        };
        Scored {
            probes: self.probes.clone(),
            texts: self.texts.clone(),
            usage,
        }
    }

    /// A place to go back to.
    ///
    /// # Errors
    /// What the model reports.
    pub fn snapshot(&self) -> Result<LiveSnapshot> {
        let snapshot = self.model.snapshot(&self.sequence)?;
        Ok(LiveSnapshot {
            snapshot,
            probes: self.probes.clone(),
            texts: self.texts.clone(),
        })
    }

    /// Goes back to a snapshot of this reply; later tokens and their scores are forgotten.
    ///
    /// # Errors
    /// What the model reports.
    pub fn rewind(&mut self, to: &LiveSnapshot) -> Result<()> {
        self.sequence = self.model.restore(&to.snapshot)?;
        self.probes.clone_from(&to.probes);
        self.texts.clone_from(&to.texts);
        Ok(())
    }
}

/// A generated reply and its scores.
#[derive(Debug)]
pub struct Generated {
    /// The reply's text.
    pub text: String,
    /// Its tokens, without the one that ends the turn.
    pub tokens: Vec<u32>,
    /// Whether the model ended its turn, rather than the limit.
    pub ended: bool,
    /// What the probes say.
    pub scored: Scored,
}

impl Detector {
    /// Runs a prompt and starts scoring the reply. With `early_exit` only the probed layers are run
    /// and no next-token logits are to be had.
    ///
    /// # Errors
    /// What the model or a probe refuses; [`candor_model::Error::Empty`] for an empty prompt.
    pub fn start(
        &self,
        prompt: &[u32],
        probes: &[Arc<LoadedProbe>],
        early_exit: bool,
    ) -> Result<(LiveReply, Option<Vec<f32>>)> {
        let points = hook_points(probes);
        let depth = self.depth(&points, early_exit);
        let mut sequence = Sequence::new();
        let mut recorder = Recorder::new(&points, vec![prompt.len().saturating_sub(1)]);
        let logits = if depth == self.model().config().n_layers {
            LogitRows::Last
        } else {
            LogitRows::None
        };
        let item = StepItem {
            sequence: &mut sequence,
            tokens: prompt,
            logits,
        };
        let mut out = self.model().step(
            &mut [item],
            depth,
            &mut Hooks::none().observe(&mut recorder),
        )?;
        let mut running: Vec<RunningProbe> =
            probes.iter().cloned().map(RunningProbe::new).collect();
        for probe in &mut running {
            probe.read_intent(kept(&recorder, 0), 0)?;
        }
        let reply = LiveReply {
            model: Arc::clone(self.model()),
            sequence,
            probes: running,
            points,
            depth,
            n_prompt: prompt.len(),
            texts: Vec::new(),
        };
        Ok((reply, out.remove(0).pop()))
    }

    /// Scores a reply one token at a time, as it would be while it is written.
    ///
    /// # Errors
    /// As [`Detector::start`]; activations have no tokens to go through.
    pub fn read_incrementally(
        &self,
        input: &ScoreInput,
        probes: &[Arc<LoadedProbe>],
        early_exit: bool,
    ) -> Result<Scored> {
        let prepared = input.prepare(self.model())?;
        let (mut reply, _) = self.start(&prepared.prompt, probes, early_exit)?;
        for &token in &prepared.response {
            reply.push(&[token])?;
        }
        Ok(reply.scored())
    }

    /// Lets the model reply to messages and scores every token it keeps.
    ///
    /// # Errors
    /// As [`Detector::start`], and for sampling settings out of range.
    pub fn generate(
        &self,
        messages: &[Message],
        sampling: Sampling,
        max_tokens: usize,
        probes: &[Arc<LoadedProbe>],
    ) -> Result<Generated> {
        let mut sampler = Sampler::new(sampling)?;
        let prompt = self.model().encode_dialogue(messages, &[])?;
        if !prompt.response.is_empty() {
            return Err(Error::Model(candor_model::Error::ChatTemplate {
                what: "the last message is the assistant's, so there is nothing to reply to".into(),
            }));
        }
        let (mut reply, mut logits) = self.start(&prompt.ids, probes, false)?;
        let eos = self.model().tokenizer().eos();
        let mut ended = false;
        for _ in 0..max_tokens {
            let next = logits
                .as_ref()
                .map(|logits| sampler.sample(logits))
                .expect("every block was run");
            if Some(next) == eos {
                ended = true;
                break;
            }
            logits = reply.push(&[next])?;
        }
        let tokens = reply.tokens().to_vec();
        Ok(Generated {
            text: self.model().tokenizer().decode(&tokens)?,
            tokens,
            ended,
            scored: reply.scored(),
        })
    }
}
