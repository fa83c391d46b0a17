//! Tokenizers as Hugging Face folders describe them: `tokenizer.json`, and beside it
//! `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and `config.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::{
    DecoderWrapper, Encoding, NormalizerWrapper, PostProcessor as _, PostProcessorWrapper,
    PreTokenizerWrapper,
};

use super::added::{AddedToken, AddedTokens, Precedence};
use super::pipeline::{self, BpeOptions, Cutting, Pipeline};
use super::{Engine, Kind, SpecialIds, Tokenizer, ends};
use crate::error::{Error, Result};

/// The largest file that is read; Gemma 3's `tokenizer.json` has 33 MB.
const MAX_BYTES: u64 = 128 << 20;

/// The parts of a pipeline that are known to do what the reference does and to end.
const COMPONENTS: &[&str] = &[
    "Sequence",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "Prepend",
    "Replace",
    "Strip",
    "StripAccents",
    "Split",
    "ByteLevel",
    "Metaspace",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "ByteFallback",
    "Fuse",
    "TemplateProcessing",
];

/// `tokenizer.json`.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Model,
}

/// An added token of `tokenizer.json`, or of `added_tokens_decoder` in `tokenizer_config.json`.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the file's own fields")]
struct Added {
    #[serde(default)]
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Debug, Deserialize)]
struct Model {
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// A merge: two tokens, in older files with a space between them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// Only the kind of model, for a clear error about another kind.
#[derive(Debug, Deserialize)]
struct Head {
    model: HeadModel,
}

#[derive(Debug, Deserialize)]
struct HeadModel {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// The files beside `tokenizer.json`; each may be missing.
#[derive(Debug, Default)]
struct Beside {
    tokenizer_config: BTreeMap<String, Value>,
    special_tokens_map: BTreeMap<String, Value>,
    generation_config: BTreeMap<String, Value>,
    config: BTreeMap<String, Value>,
}

fn fail(what: String) -> Error {
    Error::Tokenizer { what }
}

/// Reads a text file of at most [`MAX_BYTES`], or `None` where there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if size > MAX_BYTES {
        return Err(fail(format!(
            "`{}` has {size} bytes, more than {MAX_BYTES}",
            path.display()
        )));
    }
    std::fs::read_to_string(path).map(Some).map_err(io)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text);
    value
        .map(Some)
        .map_err(|error| fail(format!("`{}`: {error}", path.display())))
}

impl Tokenizer {
    /// Rebuilds the tokenizer of a Hugging Face folder and checks that it fits an embedding of
    /// `n_vocab` rows, which may be more than there are tokens.
    ///
    /// Added tokens that are special, that the configuration gives a role, or that look like
    /// `<|…|>` are control tokens, as they are after a conversion to GGUF.
    pub(crate) fn from_folder(folder: &Path, n_vocab: usize) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let text = read_text(&path)?.ok_or_else(|| {
            fail(format!(
                "`{}` is missing; a folder needs the file that the `tokenizers` library writes",
                path.display()
            ))
        })?;
        let file = parse(&text).map_err(|what| fail(format!("`{}`: {what}", path.display())))?;
        drop(text);
        let beside = Beside {
            tokenizer_config: read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default(),
            special_tokens_map: read_json(&folder.join("special_tokens_map.json"))?
                .unwrap_or_default(),
            generation_config: read_json(&folder.join("generation_config.json"))?
                .unwrap_or_default(),
            config: read_json(&folder.join("config.json"))?.unwrap_or_default(),
        };
        build(file, &beside, n_vocab)
    }
}

fn parse(text: &str) -> std::result::Result<File, String> {
    let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(kind) = head.model.kind.filter(|kind| kind != "BPE") {
        return Err(format!(
            "its model is `{kind}`, only byte-pair encoding (`BPE`) is supported"
        ));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl Beside {
    /// The text of a special token: a string, or an object with `content`.
    fn token(&self, name: &str) -> Option<&str> {
        let text = |value: &'_ Value| -> Option<String> {
            let value = value.get("content").unwrap_or(value);
            value.as_str().map(str::to_owned)
        };
        let maps = [&self.tokenizer_config, &self.special_tokens_map];
        maps.into_iter()
            .filter_map(|map| map.get(name))
            .find(|value| text(value).is_some())
            .and_then(|value| value.get("content").unwrap_or(value).as_str())
    }

    /// Every text to which the configuration gives a role.
    fn named(&self) -> BTreeSet<&str> {
        let single = [
            "bos_token",
            "eos_token",
            "unk_token",
            "pad_token",
            "sep_token",
            "cls_token",
            "mask_token",
        ];
        let mut named: BTreeSet<&str> = single.iter().filter_map(|name| self.token(name)).collect();
        for map in [&self.tokenizer_config, &self.special_tokens_map] {
            for key in ["additional_special_tokens", "extra_special_tokens"] {
                let list: Vec<&Value> = match map.get(key) {
                    Some(Value::Array(list)) => list.iter().collect(),
                    Some(Value::Object(list)) => list.values().collect(),
                    _ => Vec::new(),
                };
                let texts = list
                    .into_iter()
                    .filter_map(|value| value.get("content").unwrap_or(value).as_str());
                named.extend(texts);
            }
        }
        named
    }

    /// Token ids under `key` in the generation's configuration, or else in the model's.
    fn ids(&self, key: &str, tokens: &[String]) -> Result<Vec<u32>> {
        let maps = [&self.generation_config, &self.config];
        let value = maps
            .into_iter()
            .filter_map(|map| map.get(key))
            .find(|value| !value.is_null());
        let values = match value {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
        };
        let id = |value: &Value| {
            let id = value.as_u64().filter(|&id| id < tokens.len() as u64);
            id.map(|id| id as u32)
                .ok_or_else(|| fail(format!("`{key}` is {value}, outside the vocabulary")))
        };
        values.into_iter().map(id).collect()
    }
}

fn build(mut file: File, beside: &Beside, n_vocab: usize) -> Result<Tokenizer> {
    add_from_config(&mut file.added_tokens, beside)?;
    let mut tokens = tokens(&file, n_vocab)?;
    let mut kinds = vec![Kind::Normal; tokens.len()];
    let named = beside.named();
    for added in &file.added_tokens {
        let text = added.content.as_str();
        let looks_special = text.starts_with("<|") && text.ends_with("|>");
        kinds[added.id as usize] = if added.special || looks_special || named.contains(text) {
            Kind::Control
        } else {
            Kind::UserDefined
        };
    }
    if file.model.byte_fallback {
        for (text, &id) in &file.model.vocab {
            if text.len() == 6 && text.starts_with("<0x") && text.ends_with('>') {
                kinds[id as usize] = Kind::Byte;
            }
        }
    }
    let sha256 = sha256(&file, &tokens, &kinds);

    let id_of = |text: &str| {
        let added = file.added_tokens.iter().find(|added| added.content == text);
        added
            .map(|added| added.id)
            .or_else(|| file.model.vocab.get(text).copied())
    };
    let special_id = |name: &str, key: Option<&str>| -> Result<Option<u32>> {
        if let Some(text) = beside.token(name) {
            let id = id_of(text);
            return id.map(Some).ok_or_else(|| {
                fail(format!(
                    "`{name}` is `{text}`, which is not in the vocabulary"
                ))
            });
        }
        let ids = key.map_or(Ok(Vec::new()), |key| beside.ids(key, &tokens))?;
        Ok(ids.first().copied())
    };
    let special = SpecialIds {
        bos: special_id("bos_token", Some("bos_token_id"))?,
        eos: special_id("eos_token", Some("eos_token_id"))?,
        unknown: special_id("unk_token", None)?,
        pad: special_id("pad_token", None)?,
    };
    let mut named_ends = beside.ids("eos_token_id", &tokens)?;
    named_ends.extend(special.eos);
    // Roles may be given to tokens that are not added ones; text must not become these either.
    let roles = [special.bos, special.eos, special.unknown, special.pad];
    for id in roles
        .into_iter()
        .flatten()
        .chain(named_ends.iter().copied())
    {
        kinds[id as usize] = Kind::Control;
    }
    let add_bos = match beside.tokenizer_config.get("add_bos_token") {
        Some(Value::Bool(add)) => *add,
        _ => begins_with(file.post_processor.clone(), special.bos)?,
    };
    let ends = ends(named_ends, &tokens, &kinds);
    let (pipeline, added) = pipeline(file, &kinds)?;
    // What is found in normalised text decodes to that, as in the library.
    for token in pipeline.normalized_added.tokens() {
        tokens[token.id as usize].clone_from(&token.text);
    }
    Ok(Tokenizer {
        engine: Engine::Pipeline(Box::new(pipeline)),
        added,
        tokens,
        kinds,
        n_vocab,
        special,
        add_bos,
        ends,
        sha256,
    })
}

/// transformers adds the tokens of `added_tokens_decoder` that `tokenizer.json` lacks.
fn add_from_config(added: &mut Vec<Added>, beside: &Beside) -> Result<()> {
    let Some(Value::Object(more)) = beside.tokenizer_config.get("added_tokens_decoder") else {
        return Ok(());
    };
    let known: BTreeSet<String> = added.iter().map(|token| token.content.clone()).collect();
    for (id, token) in more {
        let wrong = |what: String| fail(format!("`added_tokens_decoder`, id `{id}`: {what}"));
        let mut token: Added =
            serde_json::from_value(token.clone()).map_err(|error| wrong(error.to_string()))?;
        token.id = id.parse().map_err(|_| wrong("not a token id".into()))?;
        if !known.contains(&token.content) {
            added.push(token);
        }
    }
    Ok(())
}

/// Text of each id; empty where an id has none.
fn tokens(file: &File, n_vocab: usize) -> Result<Vec<String>> {
    let all = file.model.vocab.iter().map(|(text, id)| (text, *id));
    let all = all.chain(
        file.added_tokens
            .iter()
            .map(|added| (&added.content, added.id)),
    );
    let mut tokens: Vec<String> = Vec::new();
    for (text, id) in all {
        let index = id as usize;
        if index >= n_vocab {
            return Err(fail(format!(
                "token `{text}` has id {id}, but the embedding has {n_vocab} rows"
            )));
        }
        if index >= tokens.len() {
            tokens.resize(index + 1, String::new());
        }
        if !tokens[index].is_empty() && tokens[index] != *text {
            return Err(fail(format!(
                "id {id} is both `{}` and `{text}`",
                tokens[index]
            )));
        }
        tokens[index].clone_from(text);
    }
    for added in &file.added_tokens {
        match file.model.vocab.get(&added.content) {
            Some(&id) if id != added.id => {
                return Err(fail(format!(
                    "token `{}` stands at ids {id} and {}",
                    added.content, added.id
                )));
            }
            _ => {}
        }
    }
    if tokens.is_empty() {
        return Err(fail("the vocabulary is empty".into()));
    }
    Ok(tokens)
}

fn pipeline(file: File, kinds: &[Kind]) -> Result<(Pipeline, AddedTokens)> {
    let normalizer: Option<NormalizerWrapper> = component("normalizer", file.normalizer)?;
    let cutter: Option<PreTokenizerWrapper> = component("pre_tokenizer", file.pre_tokenizer)?;
    let decoder: Option<DecoderWrapper> = component("decoder", file.decoder)?;
    let Model {
        vocab,
        merges,
        dropout,
        unk_token,
        continuing_subword_prefix,
        end_of_word_suffix,
        fuse_unk,
        byte_fallback,
        ignore_merges,
    } = file.model;
    if dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(fail("its model drops merges at random (`dropout`)".into()));
    }
    let affix = [continuing_subword_prefix, end_of_word_suffix];
    if affix.iter().flatten().any(|affix| !affix.is_empty()) {
        return Err(fail(
            "its model marks subwords with an affix, which is not supported".into(),
        ));
    }

    let mut raw = Vec::new();
    let mut normalized = Vec::new();
    for added in file.added_tokens {
        let token = AddedToken {
            id: added.id,
            control: kinds[added.id as usize].is_control(),
            single_word: added.single_word,
            lstrip: added.lstrip,
            rstrip: added.rstrip,
            text: added.content,
        };
        // Control tokens are always found as they are spelled: content is located in raw text.
        match &normalizer {
            Some(normalizer) if added.normalized && !token.control => {
                let text = normalised(normalizer, &token.text)?;
                normalized.push(AddedToken { text, ..token });
            }
            _ => raw.push(token),
        }
    }

    let merges = merges.into_iter().map(|merge| match merge {
        Merge::Pair(left, right) => Ok((left, right)),
        Merge::Line(line) => match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(fail(format!("merge `{line}`"))),
        },
    });
    let merges = merges.collect::<Result<Vec<_>>>()?;
    let excluded = kinds
        .iter()
        .zip(0u32..)
        .filter(|(kind, _)| kind.is_control());
    let excluded = excluded.map(|(_, id)| id).collect();
    let options = BpeOptions {
        unknown: unk_token,
        fuse_unknown: fuse_unk,
        byte_fallback,
        whole_pieces: ignore_merges,
    };
    let pipeline = Pipeline {
        normalized_added: AddedTokens::new(normalized, Precedence::Leftmost)?,
        normalizer,
        cutting: Cutting::File(cutter),
        bpe: pipeline::bpe(vocab.into_iter().collect(), &merges, &excluded, options)?,
        decoder,
    };
    Ok((pipeline, AddedTokens::new(raw, Precedence::Leftmost)?))
}

fn normalised(normalizer: &NormalizerWrapper, text: &str) -> Result<String> {
    use tokenizers::{NormalizedString, Normalizer as _};
    let mut text = NormalizedString::from(text);
    normalizer
        .normalize(&mut text)
        .map_err(|error| fail(error.to_string()))?;
    Ok(text.get().to_owned())
}

/// Reads one step of the pipeline after checking that it consists of known parts.
fn component<T: DeserializeOwned>(name: &str, value: Option<Value>) -> Result<Option<T>> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    check_parts(name, &value)?;
    let step = serde_json::from_value(value);
    step.map(Some)
        .map_err(|error| fail(format!("`{name}`: {error}")))
}

fn check_parts(name: &str, value: &Value) -> Result<()> {
    let kind = value
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !COMPONENTS.contains(&kind) {
        return Err(fail(format!(
            "`{name}` has a part of type `{kind}`, which is not supported"
        )));
    }
    for key in ["normalizers", "pretokenizers", "processors", "decoders"] {
        if let Some(Value::Array(parts)) = value.get(key) {
            for part in parts {
                check_parts(name, part)?;
            }
        }
    }
    Ok(())
}

/// Whether the post-processor puts the beginning-of-text token in front of a text.
fn begins_with(post_processor: Option<Value>, bos: Option<u32>) -> Result<bool> {
    let (Some(bos), Some(processor)) = (
        bos,
        component::<PostProcessorWrapper>("post_processor", post_processor)?,
    ) else {
        return Ok(false);
    };
    let encoding = processor
        .process(Encoding::default(), None, true)
        .map_err(|error| fail(format!("`post_processor`: {error}")))?;
    Ok(encoding.get_ids().first() == Some(&bos))
}

/// Over everything that decides which ids a text gets.
fn sha256(file: &File, tokens: &[String], kinds: &[Kind]) -> String {
    let mut hasher = Sha256::new();
    let mut text = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text("tokenizer.json");
    for step in [&file.normalizer, &file.pre_tokenizer, &file.decoder] {
        text(&canonical(step.as_ref().unwrap_or(&Value::Null)));
    }
    let Model {
        unk_token,
        fuse_unk,
        byte_fallback,
        ignore_merges,
        ..
    } = &file.model;
    text(&format!(
        "{unk_token:?} {fuse_unk} {byte_fallback} {ignore_merges}"
    ));
    for token in tokens {
        text(token);
    }
    for merge in &file.model.merges {
        match merge {
            Merge::Line(line) => text(line),
            Merge::Pair(left, right) => text(&format!("{left} {right}")),
        }
    }
    let mut added: Vec<&Added> = file.added_tokens.iter().collect();
    added.sort_by_key(|added| added.id);
    for added in added {
        let Added {
            id,
            single_word,
            lstrip,
            rstrip,
            normalized,
            ..
        } = added;
        text(&format!(
            "{id} {single_word} {lstrip} {rstrip} {normalized}"
        ));
    }
    for kind in kinds {
        text(&format!("{kind:?}"));
    }
    format!("{:x}", hasher.finalize())
}

/// JSON with sorted keys, whatever order the file has.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let entries = sorted.into_iter().map(|(key, value)| {
                let key = Value::String(key.clone());
                format!("{key}:{}", canonical(value))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(canonical).collect();
            format!("[{}]", values.join(","))
        }
        other => other.to_string(),
    }
}
