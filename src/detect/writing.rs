//! Lets the model write a reply, and scores it token by token.

mod live_reply;
mod stop;
mod token_text;

pub use live_reply::{LiveReply, LiveSnapshot};

use std::ops::ControlFlow;
use std::sync::Arc;

use candor_model::{History, Sampler, Sampling};
use candor_schema::Message;

use crate::detector::{Detector, LoadedProbe};
use crate::error::{Error, Result};
use crate::reading::Scored;
use crate::running::RunningProbe;
use stop::{Stop, StopFilter};
use token_text::{Piece, TokenText};

/// How a reply is written.
#[derive(Clone, PartialEq)]
pub struct WriteOptions {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the reply; the model's context is a limit too.
    pub max_tokens: usize,
    /// The reply ends before the first of these strings, which may be spread over tokens.
    pub stop: Vec<String>,
}

impl Default for WriteOptions {
    /// The most likely tokens, at most 256 of them.
    fn default() -> Self {
        Self {
            sampling: Sampling::GREEDY,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

impl std::fmt::Debug for WriteOptions {
    /// Without the stop strings, which are user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteOptions")
            .field("sampling", &self.sampling)
            .field("max_tokens", &self.max_tokens)
            .field("n_stop", &self.stop.len())
            .finish()
    }
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn.
    EndOfTurn,
    /// The stop string with this index came.
    StopString(usize),
    /// As many tokens as were allowed, or as fit into the context.
    Length,
    /// The caller said so.
    Cancelled,
}

/// What is known after one more token of a reply.
#[derive(Debug)]
pub struct Progress<'a> {
    /// New text, of whole characters, that no later token takes back. May be empty.
    pub text: &'a str,
    /// Tokens of the reply so far. Some may yet turn out to belong to a stop string.
    pub n_tokens: usize,
    /// The probes, which have read all of them.
    pub probes: &'a [RunningProbe],
}

/// A generated reply and its scores.
#[derive(Debug)]
pub struct Generated {
    /// The reply's text.
    pub text: String,
    /// Its tokens, without the one that ends the turn and without those that are wholly part of a stop
    /// string or come after it.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
    /// What the probes say about these tokens; nothing but the intent where there is none.
    pub scored: Scored,
}

impl Detector {
    /// Lets the model reply to messages and scores every token it keeps.
    ///
    /// # Errors
    /// As [`Detector::write`].
    pub fn generate(
        &self,
        messages: &[Message],
        options: &WriteOptions,
        probes: &[Arc<LoadedProbe>],
    ) -> Result<Generated> {
        self.write(
            messages,
            options,
            probes,
            &mut |_| ControlFlow::Continue(()),
        )
    }

    /// As [`Detector::generate`], and calls `progress` after each token and once at the end. Text is
    /// given out after all its tokens were scored; its pieces together are the reply's text.
    ///
    /// # Errors
    /// As [`Detector::start`], for sampling settings out of range, and [`Error::StopString`].
    pub fn write(
        &self,
        messages: &[Message],
        options: &WriteOptions,
        probes: &[Arc<LoadedProbe>],
        progress: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generated> {
        let mut sampler = Sampler::new(options.sampling.clone())?;
        let mut draft = Draft::new(&options.stop)?;
        let prompt = self.model().encode_dialogue(messages, &[])?;
        if !prompt.response.is_empty() {
            return Err(Error::Model(candor_model::Error::ChatTemplate {
                what: "the last message is the assistant's, so there is nothing to reply to".into(),
            }));
        }
        let tokenizer = self.model().tokenizer();
        let decode = |tokens: &[u32]| Ok(tokenizer.decode(tokens)?);
        let (mut reply, mut logits) = self.start(&prompt.ids, probes, false)?;
        let room = self.model().config().n_ctx.saturating_sub(prompt.ids.len());
        let mut finish = FinishReason::Length;
        for _ in 0..options.max_tokens.min(room) {
            let history = History {
                prompt: &prompt.ids,
                reply: reply.tokens(),
            };
            let logits_now = logits.as_ref().expect("every block was run");
            let next = sampler.sample(logits_now, history)?;
            if tokenizer.is_end(next) {
                finish = FinishReason::EndOfTurn;
                break;
            }
            let (n_kept, stop) = draft.push(next, decode)?;
            if n_kept > reply.tokens().len() {
                logits = reply.push(&[next])?;
            }
            if let Some(index) = stop {
                reply.truncate(n_kept)?;
                finish = FinishReason::StopString(index);
                break;
            }
            let goes_on = progress(&Progress {
                text: draft.new_text(),
                n_tokens: reply.tokens().len(),
                probes: reply.probes(),
            });
            if goes_on.is_break() {
                finish = FinishReason::Cancelled;
                break;
            }
        }
        if matches!(finish, FinishReason::EndOfTurn | FinishReason::Length) {
            // What was held back may hold a stop string that waited for an earlier one to be completed.
            let (n_kept, stop) = draft.finish(decode)?;
            if let Some(index) = stop {
                reply.truncate(n_kept)?;
                finish = FinishReason::StopString(index);
            }
        }
        if finish != FinishReason::Cancelled {
            _ = progress(&Progress {
                text: draft.new_text(),
                n_tokens: reply.tokens().len(),
                probes: reply.probes(),
            });
        }
        reply.keep();
        Ok(Generated {
            text: draft.text,
            tokens: reply.tokens().to_vec(),
            finish,
            scored: reply.scored(),
        })
    }
}

/// The text of a reply in the making.
struct Draft {
    token_text: TokenText,
    filter: StopFilter,
    /// What was let through.
    text: String,
    /// Bytes of it that were there before the last call.
    n_old: usize,
    n_tokens: usize,
    /// Bytes of text, let through or held back, before each token; not yet there for the tokens of an
    /// unfinished character.
    starts: Vec<usize>,
    /// Bytes of text, let through or held back.
    n_bytes: usize,
}

impl Draft {
    fn new(stop: &[String]) -> Result<Self> {
        Ok(Self {
            token_text: TokenText::default(),
            filter: StopFilter::new(stop)?,
            text: String::new(),
            n_old: 0,
            n_tokens: 0,
            starts: Vec::new(),
            n_bytes: 0,
        })
    }

    /// Takes the next token. Returns how many tokens belong to the text so far, and the index of the
    /// stop string that ended it.
    fn push(
        &mut self,
        token: u32,
        decode: impl Fn(&[u32]) -> Result<String>,
    ) -> Result<(usize, Option<usize>)> {
        self.n_tokens += 1;
        let piece = self.token_text.push(token, decode)?;
        let stop = self.take(&piece);
        Ok(self.kept(stop))
    }

    /// Ends the text.
    fn finish(
        &mut self,
        decode: impl Fn(&[u32]) -> Result<String>,
    ) -> Result<(usize, Option<usize>)> {
        let piece = self.token_text.finish(decode)?;
        let mut stop = self.take(&piece);
        if stop.is_none() {
            stop = self.filter.finish(&mut self.text);
        }
        Ok(self.kept(stop))
    }

    fn take(&mut self, piece: &Piece) -> Option<Stop> {
        let starts = piece.starts.iter().map(|start| self.n_bytes + start);
        self.starts.extend(starts);
        self.n_bytes += piece.text.len();
        self.n_old = self.text.len();
        self.filter.push(&piece.text, &mut self.text)
    }

    /// Text that the last call let through.
    fn new_text(&self) -> &str {
        &self.text[self.n_old..]
    }

    /// A token with text on both sides of the cut is kept.
    fn kept(&self, stop: Option<Stop>) -> (usize, Option<usize>) {
        let n_kept = stop.map_or(self.n_tokens, |stop| {
            self.starts.partition_point(|&start| start < stop.at)
        });
        (n_kept, stop.map(|stop| stop.index))
    }
}
