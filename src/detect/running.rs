//! A probe's running score of one reply. Reading, writing and activations all end here.

use std::sync::Arc;

use candor_probe::{Logit, ProbeState};

use crate::detector::LoadedProbe;
use crate::error::{Error, Result};
use crate::vectors::Vectors;

/// One probe at work on one reply. A clone goes its own way, for snapshots and branches.
#[derive(Debug, Clone)]
pub struct RunningProbe {
    loaded: Arc<LoadedProbe>,
    state: ProbeState,
    intent: Option<Logit>,
    tokens: Vec<Logit>,
    first_flag_token: Option<usize>,
}

impl RunningProbe {
    pub(crate) fn new(loaded: Arc<LoadedProbe>) -> Self {
        let state = loaded.probe().start();
        Self {
            loaded,
            state,
            intent: None,
            tokens: Vec::new(),
            first_flag_token: None,
        }
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
        self.state.logit()
    }

    /// Pooled logit of each reading so far.
    pub fn readings(&self) -> Vec<Logit> {
        self.state.readings()
    }

    /// The first token at which the pooled logit reached the threshold.
    pub fn first_flag_token(&self) -> Option<usize> {
        self.first_flag_token
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

    /// Reads the next token of the reply.
    pub(crate) fn push(&mut self, vectors: Vectors<'_>, token: usize) -> Result<()> {
        let rows = self.rows(vectors, token)?;
        let logit = self.state.push(self.loaded.probe(), &rows)?;
        let pooled = self.state.logit().expect("a token was pushed");
        if self.first_flag_token.is_none() && self.loaded.probe().flags(pooled) == Some(true) {
            self.first_flag_token = Some(self.tokens.len());
        }
        self.tokens.push(logit);
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
