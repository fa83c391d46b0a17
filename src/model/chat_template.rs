//! Messages to the text that the model was trained on, by the template in its file.

use std::ops::Range;

use candor_schema::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as JinjaValue};
use minijinja::{Environment, ErrorKind, context};

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::tokenizer::Tokenizer;

const NAME: &str = "chat";

/// A Jinja chat template, rendered as Hugging Face transformers renders it.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// Rendered messages, and where each message's content stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Where content stands, in order of the text.
    pub contents: Vec<Content>,
}

/// Where one message's content stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Index of the message.
    pub message: usize,
    /// Byte range in the rendered text.
    pub range: Range<usize>,
    /// Byte in the message's content at which the range starts: above 0 where the template trims.
    pub skipped: usize,
}

impl ChatTemplate {
    pub(crate) fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let source = match gguf.get("tokenizer.chat_template") {
            None => return Ok(None),
            Some(Value::String(source)) => source.clone(),
            Some(_) => {
                return Err(Error::Metadata {
                    key: "tokenizer.chat_template".into(),
                    expected: "a string",
                });
            }
        };
        let entry = |id: Option<u32>| {
            id.and_then(|id| tokenizer.vocabulary_entry(id))
                .unwrap_or_default()
                .to_owned()
        };
        Self::new(source, entry(tokenizer.bos()), entry(tokenizer.eos())).map(Some)
    }

    fn new(source: String, bos: String, eos: String) -> Result<Self> {
        let mut environment = Environment::new();
        // The settings of transformers' `_compile_jinja_template`.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the delimiters are the default ones"));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |what: String| -> std::result::Result<JinjaValue, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, what))
            },
        );
        // A template is data from a file: it must end.
        environment.set_recursion_limit(64);
        environment
            .add_template_owned(NAME, source.clone())
            .map_err(|error| Error::ChatTemplate {
                what: error.to_string(),
            })?;
        Ok(Self {
            environment,
            source,
            bos,
            eos,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders messages; `add_generation_prompt` ends the text where the assistant is to go on.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if the template refuses the messages.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self
            .environment
            .get_template(NAME)
            .expect("added by the constructor");
        let messages: Vec<JinjaValue> = messages
            .iter()
            .map(|message| JinjaValue::from(Serde(message)))
            .collect();
        template
            .render(context! {
                messages,
                add_generation_prompt,
                bos_token => &self.bos,
                eos_token => &self.eos,
            })
            .map_err(|error| Error::ChatTemplate {
                what: error.to_string(),
            })
    }

    /// Renders messages and locates every message's content.
    ///
    /// Works for any template that writes each content once, trimmed or not: a content is found by
    /// rendering again with a marker in its place and comparing what stands before and after it.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`], or [`Error::ContentNotFound`] if the template rewrites a content.
    pub fn render_located(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Rendered> {
        let text = self.render(messages, add_generation_prompt)?;
        let mut contents = Vec::new();
        for index in 0..messages.len() {
            if messages[index].content.is_empty() {
                continue;
            }
            contents.push(self.locate(messages, index, add_generation_prompt, &text)?);
        }
        contents.sort_by_key(|content| content.range.start);
        if contents
            .windows(2)
            .any(|pair| pair[0].range.end > pair[1].range.start)
        {
            return Err(Error::ContentNotFound {
                message: contents[0].message,
            });
        }
        Ok(Rendered { text, contents })
    }

    fn locate(
        &self,
        messages: &[Message],
        index: usize,
        generation_prompt: bool,
        text: &str,
    ) -> Result<Content> {
        let not_found = Error::ContentNotFound { message: index };
        let original = &messages[index].content;
        let marker = format!("candor-content-{index}");
        let mut marked = messages.to_vec();
        marked[index].content.clone_from(&marker);
        let marked = self.render(&marked, generation_prompt)?;
        let Some(start) = marked.find(&marker) else {
            return Err(not_found);
        };
        let n_after = marked.len() - start - marker.len();
        let Some(end) = text.len().checked_sub(n_after).filter(|&end| end >= start) else {
            return Err(not_found);
        };
        let same_around = text.get(..start) == marked.get(..start)
            && text.get(end..) == marked.get(start + marker.len()..);
        let Some(found) = text.get(start..end).filter(|_| same_around) else {
            return Err(not_found);
        };
        // Templates leave content as it is or trim its ends.
        let skipped = [
            original.as_str(),
            original.trim(),
            original.trim_start(),
            original.trim_end(),
        ]
        .iter()
        .find(|candidate| **candidate == found)
        .map(|candidate| candidate.as_ptr() as usize - original.as_ptr() as usize);
        match skipped {
            Some(skipped) => Ok(Content {
                message: index,
                range: start..end,
                skipped,
            }),
            None => Err(not_found),
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::Role;

    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source.into(), "<s>".into(), "</s>".into()).unwrap()
    }

    fn messages() -> Vec<Message> {
        vec![
            Message::new(Role::User, "user"),
            Message::new(Role::Assistant, " user \n"),
        ]
    }

    #[test]
    fn content_is_found_though_it_looks_like_a_role() {
        let template = template("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
        let rendered = template.render_located(&messages(), false).unwrap();
        assert_eq!(rendered.text, "<user>user<assistant> user \n");
        assert_eq!(
            rendered.contents[0],
            Content {
                message: 0,
                range: 6..10,
                skipped: 0
            }
        );
        assert_eq!(
            &rendered.text[rendered.contents[1].range.clone()],
            " user \n"
        );
    }

    #[test]
    fn trimmed_content_is_found() {
        let template =
            template("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}");
        let rendered = template.render_located(&messages(), false).unwrap();
        assert_eq!(rendered.contents[1].skipped, 1);
        assert_eq!(&rendered.text[rendered.contents[1].range.clone()], "user");
    }

    #[test]
    fn rewritten_content_is_refused() {
        let template = template("{% for m in messages %}{{ m.content | upper }}{% endfor %}");
        let error = template.render_located(&messages(), false).unwrap_err();
        assert!(
            matches!(error, Error::ContentNotFound { message: 0 }),
            "{error}"
        );
    }

    #[test]
    fn a_template_may_refuse() {
        let template = template("{{ raise_exception('roles must alternate') }}");
        let error = template.render(&messages(), false).unwrap_err();
        assert!(
            error.to_string().contains("roles must alternate"),
            "{error}"
        );
    }
}
