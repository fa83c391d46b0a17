//! Messages to the text that the model was trained on, by the template in its file.

mod locate;
mod python;
#[cfg(test)]
mod tests;
mod tools;

pub(crate) use tools::tool_list;

use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use candor_schema::Message;
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as JinjaValue;

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::json::{Json, insert};
use crate::tokenizer::{Tokenizer, read_json, read_text};

const DEFAULT: &str = "default";
/// The template that transformers prefers where tools are given.
const TOOL_USE: &str = "tool_use";

/// What one rendering may cost: an instruction costs one, as do 64 bytes of text. Qwen3's template
/// spends about 60 per message.
const FUEL: u64 = 1_000_000;

/// A Jinja chat template, rendered as Hugging Face transformers renders it.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// Special tokens by the names that templates know.
    tokens: Vec<(String, String)>,
}

/// What a rendering gets besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions<'a> {
    /// Whether the text ends where the assistant is to go on.
    pub add_generation_prompt: bool,
    /// Tools offered to the model, a list of JSON schemas as in OpenAI's chat format.
    pub tools: Option<&'a Json>,
    /// Documents to answer from, a list of objects with `title` and `text`.
    pub documents: Option<&'a Json>,
    /// Whether the model is to think before it answers, where the template asks.
    pub enable_thinking: Option<bool>,
    /// Further variables, as in `chat_template_kwargs`.
    pub variables: &'a [(String, Json)],
    /// Gives the template the arguments of tool calls as objects, where they are strings that hold
    /// one, as in OpenAI's format. transformers does not; servers do.
    pub parse_arguments: bool,
    /// The time, in UTC, that `strftime_now` tells; without it the machine's, in its zone.
    pub now: Option<SystemTime>,
}

/// Rendered messages, and where each message's content stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Where content stands, in order of the text. A content that the template takes apart, as it
    /// does with `<think>`, stands in several places; one that it leaves out, in none.
    pub contents: Vec<Content>,
    /// Where other input, such as a tool's description, spells a control token, in order of the
    /// text. It is text there too.
    pub spelled: Vec<Range<usize>>,
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

impl Rendered {
    /// Byte ranges in which no control token may be read, in ascending order and without overlap.
    pub fn text_only(&self) -> Vec<Range<usize>> {
        let contents = self.contents.iter().map(|content| content.range.clone());
        let mut ranges: Vec<Range<usize>> = contents.chain(self.spelled.iter().cloned()).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }
}

impl ChatTemplate {
    /// Reads only the template, of a GGUF file or of a Hugging Face folder; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if it is no template, and what keeps the file from being read.
    pub fn open(path: &Path, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        if path.is_dir() {
            return Self::from_folder(path, tokenizer);
        }
        Self::from_gguf(&Gguf::open(path)?, tokenizer)
    }

    pub(crate) fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let template = |key: &str| match gguf.get(key) {
            None => Ok(None),
            Some(Value::String(source)) => Ok(Some(source.clone())),
            Some(_) => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "a string",
            }),
        };
        let Some(source) = template("tokenizer.chat_template")? else {
            return Ok(None);
        };
        let tool_use = template("tokenizer.chat_template.tool_use")?;
        Self::new(source, tool_use, tokenizer).map(Some)
    }

    /// The template of a Hugging Face folder: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json`.
    pub(crate) fn from_folder(folder: &Path, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        if let Some(source) = read_text(&folder.join("chat_template.jinja"))? {
            let tool_use = read_text(&folder.join("additional_chat_templates/tool_use.jinja"))?;
            return Self::new(source, tool_use, tokenizer).map(Some);
        }
        let config: Option<Json> = read_json(&folder.join("tokenizer_config.json"))?;
        let wrong = || {
            Error::ChatTemplate {
            what: "`chat_template` in `tokenizer_config.json` is neither a text nor a list of named texts"
                .into(),
        }
        };
        match config
            .as_ref()
            .and_then(|config| config.get("chat_template"))
        {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(source)) => Self::new(source.clone(), None, tokenizer).map(Some),
            Some(Json::Array(templates)) => {
                let named = |name: &str| -> Option<String> {
                    let named =
                        |entry: &&Json| entry.get("name").and_then(Json::as_str) == Some(name);
                    let entry = templates.iter().find(named)?;
                    Some(entry.get("template")?.as_str()?.to_owned())
                };
                let source = named(DEFAULT).ok_or_else(wrong)?;
                Self::new(source, named(TOOL_USE), tokenizer).map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }

    fn new(source: String, tool_use: Option<String>, tokenizer: &Tokenizer) -> Result<Self> {
        let tokens = tokenizer.named_tokens().into_iter();
        let tokens = tokens.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self::with_tokens(source, tool_use, tokens.collect())
    }

    fn with_tokens(
        source: String,
        tool_use: Option<String>,
        tokens: Vec<(String, String)>,
    ) -> Result<Self> {
        let mut environment = Environment::new();
        // The settings of transformers' `_cached_compile_jinja_template`.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the delimiters are the default ones"));
        python::add_to(&mut environment);
        // A template is data from a file: it must end.
        environment.set_recursion_limit(64);
        environment.set_fuel(Some(FUEL));
        let named = tool_use.map(|source| (TOOL_USE, source));
        for (name, source) in named.iter().chain([&(DEFAULT, source.clone())]) {
            environment
                .add_template_owned(*name, without_generation_tags(source))
                .map_err(|error| failed(&error))?;
        }
        Ok(Self {
            environment,
            source,
            tokens,
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
        self.render_with(
            messages,
            &RenderOptions {
                add_generation_prompt,
                ..RenderOptions::default()
            },
        )
    }

    /// Renders messages with tools, documents and variables.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(&self, messages: &[Message], options: &RenderOptions<'_>) -> Result<String> {
        self.render_json(&json_messages(messages)?, options)
    }

    /// Renders messages that are JSON objects, whose keys keep their order.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_json(&self, messages: &[Json], options: &RenderOptions<'_>) -> Result<String> {
        let messages: Vec<JinjaValue> = messages
            .iter()
            .map(|message| {
                let mut message = message.clone();
                if options.parse_arguments {
                    parse_arguments(&mut message);
                }
                name_reasoning(&mut message);
                python::value(&message)
            })
            .collect();
        let tokens = self
            .tokens
            .iter()
            .map(|(name, text)| (name.as_str(), JinjaValue::from(text)));
        let variables = options.variables.iter();
        let variables = variables.map(|(name, value)| (name.as_str(), python::value(value)));
        let mut context: Vec<(&str, JinjaValue)> = tokens.chain(variables).collect();
        if let Some(thinking) = options.enable_thinking {
            context.push(("enable_thinking", thinking.into()));
        }
        if let Some(now) = options.now {
            context.push((python::NOW, python::seconds(now).into()));
        }
        // Absent lists are `None` there, not undefined.
        let list = |list: Option<&Json>| python::value(list.unwrap_or(&Json::Null));
        context.push(("tools", list(options.tools)));
        context.push(("documents", list(options.documents)));
        context.push(("messages", messages.into()));
        context.push((
            "add_generation_prompt",
            options.add_generation_prompt.into(),
        ));

        let tool_use = options
            .tools
            .and_then(|_| self.environment.get_template(TOOL_USE).ok());
        let template = match tool_use {
            Some(template) => template,
            None => self
                .environment
                .get_template(DEFAULT)
                .expect("added by the constructor"),
        };
        let context = JinjaValue::from_pairs(context);
        template.render(context).map_err(|error| failed(&error))
    }
}

fn failed(error: &minijinja::Error) -> Error {
    let what = if error.kind() == minijinja::ErrorKind::OutOfFuel {
        format!("it does not end within {FUEL} steps")
    } else {
        error.to_string()
    };
    Error::ChatTemplate { what }
}

fn json_messages(messages: &[Message]) -> Result<Vec<Json>> {
    let json = |message| -> serde_json::Result<Json> { Ok(serde_json::to_value(message)?.into()) };
    let messages = messages.iter().map(|message| {
        // The order of the fields of the type, which `serde_json::Value` does not keep.
        let Json::Object(mut entries) = json(message).map_err(|error| Error::ChatTemplate {
            what: error.to_string(),
        })?
        else {
            unreachable!("a struct serialises to an object");
        };
        let place = |key: &str| match key {
            "role" => 0,
            "content" => 1,
            "tool_calls" => 2,
            _ => 3,
        };
        entries.sort_by_key(|(key, _)| place(key));
        Ok(Json::Object(entries))
    });
    messages.collect()
}

/// Reasoning has one name in old messages and another in new ones; transformers gives both
/// (`_alias_reasoning_fields`).
fn name_reasoning(message: &mut Json) {
    let names = ["reasoning_content", "thinking", "reasoning"];
    let given = names
        .iter()
        .find_map(|name| message.get(name).filter(|value| **value != Json::Null));
    let Some(reasoning) = given.cloned() else {
        return;
    };
    if let Json::Object(entries) = message {
        let mut named = vec![("thinking".to_owned(), reasoning.clone())];
        for (key, value) in entries.drain(..) {
            insert(&mut named, &key, value);
        }
        insert(&mut named, "reasoning_content", reasoning);
        *entries = named;
    }
}

fn parse_arguments(message: &mut Json) {
    let Some(Json::Array(calls)) = message.get_mut("tool_calls") else {
        return;
    };
    for call in calls {
        let arguments = match call.get("function") {
            Some(_) => call
                .get_mut("function")
                .and_then(|function| function.get_mut("arguments")),
            None => call.get_mut("arguments"),
        };
        if let Some(arguments) = arguments
            && let Some(text) = arguments.as_str()
            && let Ok(object @ Json::Object(_)) = Json::parse(text)
        {
            *arguments = object;
        }
    }
}

/// Turns `{% generation %}…{% endgeneration %}`, with which transformers marks what the assistant
/// wrote, into a block with a scope of its own, which is what it is otherwise.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end_of = |open: &str, close: &str| {
            tag.starts_with(open)
                .then(|| tag.find(close).map_or(tag.len(), |end| end + close.len()))
        };
        // Neither comments nor expressions hold tags, even if they hold their delimiters.
        let skipped = end_of("{#", "#}").or_else(|| end_of("{{", "}}"));
        if let Some(end) = skipped {
            out.push_str(&tag[..end]);
            rest = &tag[end..];
            continue;
        }
        if let Some(end) = end_of("{%", "%}") {
            let (tag, mut after) = tag.split_at(end);
            out.push_str(&replaced_tag(tag).unwrap_or_else(|| tag.to_owned()));
            if tag_name(tag) == Some("raw") {
                let end = end_of_raw(after);
                out.push_str(&after[..end]);
                after = &after[end..];
            }
            rest = after;
        } else {
            out.push('{');
            rest = &tag[1..];
        }
    }
    out + rest
}

fn tag_name(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    Some(inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+'))
}

fn replaced_tag(tag: &str) -> Option<String> {
    let name = tag_name(tag)?;
    let replacement = match name {
        "generation" => "with",
        "endgeneration" => "endwith",
        _ => return None,
    };
    Some(tag.replacen(name, replacement, 1))
}

/// Where the tag that ends a `{% raw %}` block starts.
fn end_of_raw(text: &str) -> usize {
    let tags = text.match_indices("{%").map(|(at, _)| at);
    let ends = |at: &usize| {
        let tag = &text[*at..];
        let end = tag.find("%}").map(|end| end + 2);
        end.is_some_and(|end| tag_name(&tag[..end]) == Some("endraw"))
    };
    tags.into_iter().find(ends).unwrap_or(text.len())
}
