//! A dialogue as the model sees it: token ids, and what each token belongs to.

use std::ops::Range;

use candor_schema::{Dialogue, Message, Role, Segment, Span};

use crate::chat_template::{RenderOptions, tool_list};
use crate::error::{Error, Result};
use crate::model::Model;

/// The tokens of a rendered dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogueTokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// What each token belongs to, one per id.
    pub places: Vec<TokenPlace>,
    /// The tokens of the scored assistant turn, empty where there is none.
    pub response: Range<usize>,
}

/// What one token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPlace {
    /// Message whose content the token overlaps.
    pub message: Option<usize>,
    /// Part of the dialogue.
    pub segment: Segment,
    /// Whether it overlaps a labelled span.
    pub in_span: bool,
    /// The token's text in the rendered dialogue.
    pub text: String,
}

impl Model {
    /// Renders and encodes a dialogue of a data set, with its spans and with the tools that it
    /// offers, which a template that knows tools writes into the text.
    ///
    /// # Errors
    /// As [`Model::encode_dialogue`].
    pub fn encode_whole(&self, dialogue: &Dialogue) -> Result<DialogueTokens> {
        let Dialogue {
            messages, spans, ..
        } = dialogue;
        let Some(tools) = &dialogue.tools else {
            return self.encode_dialogue(messages, spans);
        };
        let tools = tool_list(tools);
        let options = RenderOptions {
            tools: Some(&tools),
            parse_arguments: true,
            ..RenderOptions::default()
        };
        self.encode_dialogue_with(messages, spans, &options)
    }

    /// Renders and encodes messages. The scored turn is the last message if it is the assistant's;
    /// otherwise the text ends where the assistant is to go on.
    ///
    /// # Errors
    /// What the template or the tokenizer refuses; [`Error::Empty`] for an empty scored turn.
    pub fn encode_dialogue(&self, messages: &[Message], spans: &[Span]) -> Result<DialogueTokens> {
        self.encode_dialogue_with(messages, spans, &RenderOptions::default())
    }

    /// [`Model::encode_dialogue`] with tools, documents and variables; whether the text ends where
    /// the assistant is to go on still follows from the last message.
    ///
    /// # Errors
    /// As [`Model::encode_dialogue`].
    pub fn encode_dialogue_with(
        &self,
        messages: &[Message],
        spans: &[Span],
        options: &RenderOptions<'_>,
    ) -> Result<DialogueTokens> {
        if messages.is_empty() {
            return Err(Error::Empty {
                what: "list of messages",
            });
        }
        let last = messages.len() - 1;
        let scored = (messages[last].role == Role::Assistant).then_some(last);
        if scored.is_some_and(|last| messages[last].content.is_empty()) {
            return Err(Error::Empty {
                what: "assistant turn",
            });
        }
        let options = RenderOptions {
            add_generation_prompt: scored.is_none(),
            ..options.clone()
        };
        let rendered =
            self.chat_template()?
                .render_located_with(messages, &options, self.tokenizer())?;
        let tokens = self
            .tokenizer()
            .encode_template(&rendered.text, &rendered.text_only())?;

        let span_ranges: Vec<Range<usize>> = spans
            .iter()
            .flat_map(|span| {
                let contents = rendered.contents.iter();
                let contents = contents.filter(|content| content.message == span.message);
                contents.map(|content| {
                    let at = |byte: usize| {
                        let byte = content.range.start + byte.saturating_sub(content.skipped);
                        byte.min(content.range.end)
                    };
                    at(span.start)..at(span.end)
                })
            })
            .collect();
        let places: Vec<TokenPlace> = tokens
            .iter()
            .map(|token| {
                let content = rendered
                    .contents
                    .iter()
                    .find(|content| overlap(&content.range, &token.range));
                TokenPlace {
                    message: content.map(|content| content.message),
                    segment: content.map_or(Segment::Template, |content| {
                        let at = (token.range.end - 1).saturating_sub(content.range.start);
                        segment(&messages[content.message], at + content.skipped)
                    }),
                    in_span: span_ranges.iter().any(|span| overlap(span, &token.range)),
                    text: rendered
                        .text
                        .get(token.range.clone())
                        .unwrap_or_default()
                        .to_owned(),
                }
            })
            .collect();
        let in_response = |place: &TokenPlace| scored.is_some() && place.message == scored;
        let response = match places.iter().position(in_response) {
            Some(start) => {
                start
                    ..places
                        .iter()
                        .rposition(in_response)
                        .expect("`position` found one")
                        + 1
            }
            None if scored.is_some() => {
                return Err(Error::Empty {
                    what: "assistant turn",
                });
            }
            None => places.len()..places.len(),
        };
        Ok(DialogueTokens {
            ids: tokens.iter().map(|token| token.id).collect(),
            places,
            response,
        })
    }

    /// Encodes plain text, a prompt and the response that follows it, without a chat template.
    ///
    /// # Errors
    /// [`Error::Empty`] if the response, or both, have no tokens.
    pub fn encode_text(&self, prompt: &str, response: &str) -> Result<DialogueTokens> {
        if response.is_empty() {
            return Err(Error::Empty { what: "response" });
        }
        let bos = self
            .tokenizer()
            .bos()
            .filter(|_| self.tokenizer().adds_bos());
        let text = format!("{prompt}{response}");
        let tokens = self.tokenizer().encode(&text)?;
        let in_response = |range: &Range<usize>| overlap(range, &(prompt.len()..text.len()));
        let n_bos = usize::from(bos.is_some());
        let start = tokens
            .iter()
            .position(|token| in_response(&token.range))
            .unwrap_or(tokens.len())
            + n_bos;
        let mut places: Vec<TokenPlace> = Vec::with_capacity(tokens.len() + n_bos);
        if bos.is_some() {
            places.push(TokenPlace {
                message: None,
                segment: Segment::Template,
                in_span: false,
                text: String::new(),
            });
        }
        places.extend(tokens.iter().map(|token| TokenPlace {
            message: None,
            segment: if in_response(&token.range) {
                Segment::Assistant
            } else {
                Segment::User
            },
            in_span: false,
            text: text.get(token.range.clone()).unwrap_or_default().to_owned(),
        }));
        let ids: Vec<u32> = bos
            .into_iter()
            .chain(tokens.iter().map(|token| token.id))
            .collect();
        let response = start..ids.len();
        Ok(DialogueTokens {
            ids,
            places,
            response,
        })
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The part of a message that its byte `at` is in.
fn segment(message: &Message, at: usize) -> Segment {
    match (message.role, message.thinking_end()) {
        (Role::System, _) => Segment::System,
        (Role::User, _) => Segment::User,
        (Role::Tool, _) => Segment::Tool,
        (Role::Assistant, 0) => Segment::Assistant,
        (Role::Assistant, end) if at < end => Segment::Thinking,
        (Role::Assistant, _) => Segment::Answer,
    }
}
