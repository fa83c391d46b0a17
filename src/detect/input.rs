//! What can be scored.

use candor_model::{DialogueTokens, Model};
use candor_schema::{HookPoint, Message, ScoreSource, Span};

use crate::error::{Error, Result};

/// A reply to score, in one of four forms.
#[derive(Clone, PartialEq)]
pub enum ScoreInput {
    /// A chat whose last message is the assistant's.
    Messages(Vec<Message>),
    /// Plain text, without a chat template.
    Text {
        /// What stands before the response.
        prompt: String,
        /// What is scored.
        response: String,
    },
    /// Token ids of the model's own tokenizer.
    TokenIds {
        /// What stands before the response; may be empty.
        prompt: Vec<u32>,
        /// What is scored.
        response: Vec<u32>,
    },
    /// Activations of the response's tokens, row-major `[n_tokens, width]` per hook point.
    Activations {
        /// Number of response tokens.
        n_tokens: usize,
        /// One entry per hook point.
        values: Vec<(HookPoint, Vec<f32>)>,
    },
}

impl std::fmt::Debug for ScoreInput {
    /// Kind and size only: texts and activations are user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Messages(messages) => write!(f, "Messages({})", messages.len()),
            Self::Text { prompt, response } => {
                write!(f, "Text({} + {} bytes)", prompt.len(), response.len())
            }
            Self::TokenIds { prompt, response } => {
                write!(f, "TokenIds({} + {})", prompt.len(), response.len())
            }
            Self::Activations { n_tokens, values } => {
                write!(f, "Activations({n_tokens} tokens, {} points)", values.len())
            }
        }
    }
}

/// Tokens that are ready to go through the model.
#[derive(Clone, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) prompt: Vec<u32>,
    pub(crate) response: Vec<u32>,
    /// Text of each response token.
    pub(crate) texts: Vec<String>,
}

impl Prepared {
    pub(crate) fn from_dialogue(tokens: &DialogueTokens) -> Self {
        let response = tokens.response.clone();
        Self {
            prompt: tokens.ids[..response.start].to_vec(),
            response: tokens.ids[response.clone()].to_vec(),
            texts: tokens.places[response]
                .iter()
                .map(|place| place.text.clone())
                .collect(),
        }
    }
}

impl ScoreInput {
    /// Where the scored tokens come from.
    pub fn source(&self) -> ScoreSource {
        match self {
            Self::Activations { .. } => ScoreSource::Activations,
            _ => ScoreSource::Read,
        }
    }

    /// Renders and encodes; checks that tokens exist and fit the context. Activations have no tokens.
    pub(crate) fn prepare(&self, model: &Model) -> Result<Prepared> {
        let no_spans: &[Span] = &[];
        let prepared = match self {
            Self::Messages(messages) => {
                let tokens = model.encode_dialogue(messages, no_spans)?;
                if tokens.response.is_empty() {
                    return Err(candor_model::Error::Empty {
                        what: "assistant turn",
                    }
                    .into());
                }
                Prepared::from_dialogue(&tokens)
            }
            Self::Text { prompt, response } => {
                Prepared::from_dialogue(&model.encode_text(prompt, response)?)
            }
            Self::TokenIds { prompt, response } => {
                if response.is_empty() {
                    return Err(candor_model::Error::Empty { what: "response" }.into());
                }
                let texts = response.iter().map(|&id| model.tokenizer().token_text(id));
                let texts = texts.collect::<candor_model::Result<_>>()?;
                Prepared {
                    prompt: prompt.clone(),
                    response: response.clone(),
                    texts,
                }
            }
            Self::Activations { .. } => return Err(Error::NoProbe),
        };
        model.check_tokens(&[prepared.prompt.as_slice(), &prepared.response].concat())?;
        Ok(prepared)
    }
}
