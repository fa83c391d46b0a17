//! A probe's running score of one reply. Reading, writing and activations all end here.

use std::sync::Arc;

use candor_probe::{Logit, ProbeState};

use crate::detector::LoadedProbe;
use crate::error::{Error, Result};
use crate::vectors::Vectors;

/// Bytes that the state of one reading's pooling is taken to need.
const STATE_BYTES: usize = 64;

/// One probe at work on one reply. A clone goes its own way, for snapshots and branches.
#[derive(Debug, Clone)]
pub struct RunningProbe {
    loaded: Arc<LoadedProbe>,
    intent: Option<Logit>,
    tokens: Vec<Logit>,
    /// State after each token, so that going back needs no computing. As long as `tokens`.
    states: Vec<ProbeState>,
    first_flag_token: Option<usize>,
}

impl RunningProbe {
    fn new(loaded: Arc<LoadedProbe>) -> Self {
        Self {
            loaded,
            intent: None,
            tokens: Vec::new(),
            states: Vec::new(),
            first_flag_token: None,
        }
    }

    /// One per probe, before any token.
    pub(crate) fn start(probes: &[Arc<LoadedProbe>]) -> Vec<Self> {
        probes.iter().cloned().map(Self::new).collect()
    }

    /// The probe.
    pub fn loaded(&self) -> &LoadedProbe {
        &self.loaded
    }

    /// Logit at the end of the prompt.
    pub fn intent(&self) -> Option<Logit> {
        self.intent
    }

    /// Logit of each token of the reply so far.
    pub fn tokens(&self) -> &[Logit] {
        &self.tokens
    }

    /// Pooled logit so far.
    pub fn logit(&self) -> Option<Logit> {
        self.states.last()?.logit()
    }

    /// Pooled logit of each reading so far.
    pub fn readings(&self) -> Vec<Logit> {
        self.states
            .last()
            .map_or_else(Vec::new, ProbeState::readings)
    }

    /// The first token at which the pooled logit reached the threshold.
    pub fn first_flag_token(&self) -> Option<usize> {
        self.first_flag_token
    }

    /// Forgets the reply's tokens from `n_tokens` on. What is left has the bits it had then.
    pub(crate) fn truncate(&mut self, n_tokens: usize) {
        self.tokens.truncate(n_tokens);
        self.states.truncate(n_tokens);
        self.first_flag_token = self.first_flag_token.filter(|&token| token < n_tokens);
    }

    /// Whether this is a score by `probe`, and not by another or by a later version of it.
    pub(crate) fn is_by(&self, probe: &Arc<LoadedProbe>) -> bool {
        Arc::ptr_eq(&self.loaded, probe)
    }

    /// Whether both are scores by the same probe.
    pub(crate) fn is_same_probe(&self, other: &Self) -> bool {
        self.is_by(&other.loaded)
    }

    /// Bytes in memory, without the probe: an estimate, since a pooling's state is its own affair.
    pub(crate) fn n_bytes(&self) -> usize {
        let state = size_of::<ProbeState>() + STATE_BYTES * self.loaded.probe().readings().len();
        size_of::<Self>() + self.tokens.len() * (size_of::<Logit>() + state)
    }

    /// Reads the last token of the prompt.
    pub(crate) fn read_intent(&mut self, vectors: Vectors<'_>, token: usize) -> Result<()> {
        self.intent = Some(
            self.loaded
                .probe()
                .token_logit(&self.rows(vectors, token)?)?,
        );
        Ok(())
    }

    /// Reads the next token of the reply. A failure changes nothing.
    pub(crate) fn push(&mut self, vectors: Vectors<'_>, token: usize) -> Result<()> {
        let rows = self.rows(vectors, token)?;
        let probe = self.loaded.probe();
        let mut state = self.states.last().cloned().unwrap_or_else(|| probe.start());
        let logit = state.push(probe, &rows)?;
        let pooled = state.logit().expect("a token was pushed");
        if self.first_flag_token.is_none() && self.loaded.probe().flags(pooled) == Some(true) {
            self.first_flag_token = Some(self.tokens.len());
        }
        self.tokens.push(logit);
        self.states.push(state);
        Ok(())
    }

    /// One vector per hook point of the probe.
    fn rows<'a>(&self, vectors: Vectors<'a>, token: usize) -> Result<Vec<&'a [f32]>> {
        let readings = self.loaded.probe().readings().iter();
        readings
            .map(|reading| {
                let point = reading.hook_point();
                vectors.get(point, reading.width(), token).ok_or_else(|| {
                    Error::MissingActivations {
                        point,
                        probe: self.loaded.name().to_owned(),
                    }
                })
            })
            .collect()
    }
}
