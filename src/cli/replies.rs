//! Replies read back from a store, with their labels.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use candor_activations::{Store, Token};
use candor_probe::evaluate::Scored;
use candor_probe::{Probe, ReplyScore};
use candor_schema::{Dialogue, HookPoint, Label, Split};

use crate::exit::{Exit, Failure};

/// One scored assistant turn: its dialogue and the vectors of its tokens.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) dialogue: Dialogue,
    pub(crate) tokens: Vec<Token>,
    /// Per hook point asked for, row-major `[token, width]`.
    pub(crate) vectors: Vec<Vec<f32>>,
}

impl Reply {
    /// Whether the reply is deceptive; `None` for any label but honest and deceptive.
    pub(crate) fn deceptive(&self) -> Option<bool> {
        match self.dialogue.label {
            Label::Honest => Some(false),
            Label::Deceptive => Some(true),
            _ => None,
        }
    }

    /// The messages before the reply, as one text: equal where the prompts are.
    pub(crate) fn prompt(&self) -> anyhow::Result<String> {
        let messages = &self.dialogue.messages;
        let prompt = &messages[..messages.len().saturating_sub(1)];
        serde_json::to_string(prompt).context("a prompt as JSON")
    }

    /// What a probe says; the probe's hook points are those that were asked for, in the same order.
    pub(crate) fn score(&self, probe: &Probe) -> anyhow::Result<ReplyScore> {
        let vectors: Vec<&[f32]> = self.vectors.iter().map(Vec::as_slice).collect();
        probe
            .score(&vectors)
            .with_context(|| format!("dialogue `{}`", self.dialogue.id))
    }

    /// The reply with a detector's output, for an evaluation.
    pub(crate) fn scored(&self, logit: f64) -> Scored {
        Scored {
            scenario: self.dialogue.scenario.clone(),
            deceptive: self.dialogue.label == Label::Deceptive,
            logit,
        }
    }
}

/// The mean of `vectors: [token, width]`, `[width]`; sums in f64.
pub(crate) fn mean_of(vectors: &[f32], width: usize) -> Vec<f32> {
    let n_tokens = (vectors.len() / width).max(1) as f64;
    let mut sums = vec![0.0f64; width];
    for row in vectors.chunks_exact(width) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    sums.into_iter()
        .map(|sum| (sum / n_tokens) as f32)
        .collect()
}

/// Opens a finished store.
pub(crate) fn open(folder: &Path) -> anyhow::Result<Store> {
    Store::open(folder).with_context(|| format!("cannot open store `{}`", folder.display()))
}

/// Reads every reply of a store at some hook points; only these columns are read from disk.
pub(crate) fn load(store: &Store, points: &[HookPoint]) -> anyhow::Result<Vec<Reply>> {
    let mut dialogues: HashMap<String, Dialogue> = store
        .dialogues()?
        .into_iter()
        .map(|dialogue| (dialogue.id.clone(), dialogue))
        .collect();
    let mut replies = Vec::new();
    for captured in store.captured_dialogues(points)? {
        let captured = captured?;
        let dialogue = dialogues.remove(&captured.id).ok_or_else(|| {
            let message = format!(
                "dialogue `{}` stands twice in the store, or not in its list",
                captured.id
            );
            Failure::error(
                Exit::BadInput,
                message,
                "capture the data set again into a new folder",
            )
        })?;
        let in_response: Vec<usize> = captured
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| token.in_response)
            .map(|(index, _)| index)
            .collect();
        let vectors = captured.vectors.into_iter().map(|(_, values)| {
            let width = values.len() / captured.tokens.len().max(1);
            in_response
                .iter()
                .flat_map(|&index| values[index * width..(index + 1) * width].iter().copied())
                .collect()
        });
        let vectors = vectors.collect();
        let tokens = in_response
            .iter()
            .map(|&index| captured.tokens[index])
            .collect();
        replies.push(Reply {
            dialogue,
            tokens,
            vectors,
        });
    }
    Ok(replies)
}

/// Honest and deceptive replies of a split.
pub(crate) fn labelled(replies: &[Reply], split: Split) -> Vec<&Reply> {
    replies
        .iter()
        .filter(|reply| reply.dialogue.split == split && reply.deceptive().is_some())
        .collect()
}

/// Ordinary replies of a split, one per scenario.
pub(crate) fn controls(replies: &[Reply], split: Split) -> Vec<&Reply> {
    let mut seen = std::collections::HashSet::new();
    replies
        .iter()
        .filter(|reply| reply.dialogue.split == split && reply.dialogue.label == Label::Control)
        .filter(|reply| seen.insert(reply.dialogue.scenario.clone()))
        .collect()
}
