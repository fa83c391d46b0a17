//! Finds message content again in the rendered text.

use std::ops::Range;

use candor_schema::Message;

use super::{ChatTemplate, Content, RenderOptions, Rendered, json_messages};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::tokenizer::Tokenizer;

/// Tags at which templates take content apart.
const TAGS: &[&str] = &["<think>", "</think>"];

/// A part of a message's content, and what stands for it while it is looked for.
#[derive(Debug)]
struct Part {
    message: usize,
    range: Range<usize>,
    marker: String,
    /// Whether it is the whole content, of which the template may trim the ends.
    whole: bool,
}

impl ChatTemplate {
    /// Renders messages and locates every message's content.
    ///
    /// Works for any template that writes each content once, trimmed or not, whole or cut at
    /// `<think>`: a content is found by rendering again with a marker in its place and comparing
    /// what stands before and after it. Control tokens spelled in other input are not located.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`], or [`Error::ContentNotFound`] if the template rewrites a content.
    pub fn render_located(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Rendered> {
        let options = RenderOptions {
            add_generation_prompt,
            ..RenderOptions::default()
        };
        self.locate_all(messages, &options)
    }

    /// Renders messages with tools, documents and variables, and locates every message's content
    /// and every control token that other input spells.
    ///
    /// # Errors
    /// As [`ChatTemplate::render_located`]; [`Error::ChatTemplate`] also if other input spells a
    /// control token and the template rewrites it.
    pub fn render_located_with(
        &self,
        messages: &[Message],
        options: &RenderOptions<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Rendered> {
        let mut rendered = self.locate_all(messages, options)?;
        rendered.spelled = self.spelled_controls(messages, options, tokenizer, &rendered.text)?;
        Ok(rendered)
    }

    fn locate_all(&self, messages: &[Message], options: &RenderOptions<'_>) -> Result<Rendered> {
        let json = json_messages(messages)?;
        let text = self.render_json(&json, options)?;
        let unused = unused_char(self.source(), &text, &json, options);
        let parts: Vec<Part> = messages
            .iter()
            .enumerate()
            .flat_map(|(index, message)| parts(index, &message.content, unused))
            .collect();
        let all = self.locate(&json, &parts, options, &text);
        // One content may decide how another is rendered; then each is looked for alone.
        let mut contents =
            all.map_or_else(|| self.locate_each(&json, &parts, options, &text), Ok)?;
        contents.sort_by_key(|content| content.range.start);
        if let Some(pair) = contents
            .windows(2)
            .find(|pair| pair[0].range.end > pair[1].range.start)
        {
            return Err(Error::ContentNotFound {
                message: pair[0].message,
            });
        }
        Ok(Rendered {
            text,
            contents,
            spelled: Vec::new(),
        })
    }

    fn locate_each(
        &self,
        messages: &[Json],
        parts: &[Part],
        options: &RenderOptions<'_>,
        text: &str,
    ) -> Result<Vec<Content>> {
        let mut contents = Vec::new();
        for parts in parts.chunk_by(|a, b| a.message == b.message) {
            let found = self.locate(messages, parts, options, text);
            contents.extend(found.ok_or(Error::ContentNotFound {
                message: parts[0].message,
            })?);
        }
        Ok(contents)
    }

    /// Renders with markers in place of `parts` and finds them in `text`; `None` if what stands
    /// around them is not the same.
    fn locate(
        &self,
        messages: &[Json],
        parts: &[Part],
        options: &RenderOptions<'_>,
        text: &str,
    ) -> Option<Vec<Content>> {
        let mut marked = messages.to_vec();
        // From the back, so that the ranges of earlier parts stay right.
        for part in parts.iter().rev() {
            if let Some(Json::String(content)) = marked[part.message].get_mut("content") {
                content.replace_range(part.range.clone(), &part.marker);
            }
        }
        // A template that looks into content may refuse the markers.
        let marked = self.render_json(&marked, options).ok()?;
        let mut places: Vec<(usize, &Part)> = Vec::new();
        for part in parts {
            let found: Vec<usize> = marked
                .match_indices(&part.marker)
                .map(|(at, _)| at)
                .collect();
            match found[..] {
                // A part that the template leaves out; a whole content must be somewhere.
                [] if !part.whole => {}
                [at] => places.push((at, part)),
                _ => return None,
            }
        }
        places.sort_by_key(|place| place.0);
        align(messages, &marked, &places, text)
    }

    /// Where input other than content spells a control token. A character that stands nowhere else
    /// is put into each, and looked for in the rendered text.
    fn spelled_controls(
        &self,
        messages: &[Message],
        options: &RenderOptions<'_>,
        tokenizer: &Tokenizer,
        text: &str,
    ) -> Result<Vec<Range<usize>>> {
        let mut json = json_messages(messages)?;
        let unused = unused_char(self.source(), text, &json, options);
        let mut n_marks = 0;
        let mut mark = |text: &mut String| {
            let mut places: Vec<usize> = tokenizer
                .spelled_controls(text)
                .iter()
                .map(|range| {
                    range.start + text[range.start..].chars().next().map_or(0, char::len_utf8)
                })
                .collect();
            places.dedup();
            for &place in places.iter().rev() {
                text.insert(place, unused);
            }
            n_marks += places.len();
        };
        for message in &mut json {
            let Json::Object(entries) = message else {
                continue;
            };
            // Content is located as a whole, and the role decides what the template does.
            for (key, value) in entries {
                if key != "content" && key != "role" {
                    value.for_each_text(&mut mark);
                }
            }
        }
        let mut marked = |list: Option<&Json>| {
            let mut list = list.cloned();
            if let Some(list) = &mut list {
                list.for_each_text(&mut mark);
            }
            list
        };
        let (tools, documents) = (marked(options.tools), marked(options.documents));
        let mut variables = options.variables.to_vec();
        for (_, value) in &mut variables {
            value.for_each_text(&mut mark);
        }
        if n_marks == 0 {
            return Ok(Vec::new());
        }
        let options = RenderOptions {
            tools: tools.as_ref(),
            documents: documents.as_ref(),
            variables: &variables,
            ..options.clone()
        };
        let marked = self.render_json(&json, &options)?;
        if marked.replace(unused, "") != text {
            return Err(Error::ChatTemplate {
                what: "tools, documents or variables spell a control token, which the template rewrites"
                    .into(),
            });
        }
        let marks = marked.match_indices(unused).enumerate();
        let marks: Vec<usize> = marks
            .map(|(n, (at, _))| at - n * unused.len_utf8())
            .collect();
        Ok(tokenizer
            .spelled_controls(text)
            .into_iter()
            .filter(|range| {
                let next = marks.partition_point(|&mark| mark <= range.start);
                marks.get(next).is_some_and(|&mark| mark < range.end)
            })
            .collect())
    }
}

/// The parts of one content: all of it, or what stands between its tags without the white space
/// around it.
fn parts(message: usize, content: &str, unused: char) -> Vec<Part> {
    if content.is_empty() {
        return Vec::new();
    }
    let mut tags: Vec<Range<usize>> = TAGS
        .iter()
        .flat_map(|tag| content.match_indices(tag))
        .map(|(at, tag)| at..at + tag.len())
        .collect();
    let whole = tags.is_empty();
    tags.sort_by_key(|tag| tag.start);
    tags.push(content.len()..content.len());
    let mut ranges = Vec::new();
    let mut done = 0;
    for tag in tags {
        let part = &content[done..tag.start];
        let start = done + part.len() - part.trim_start().len();
        let end = start + part.trim().len();
        if whole {
            ranges.push(0..content.len());
        } else if start < end {
            ranges.push(start..end);
        }
        done = tag.end;
    }
    let part = |(n, range): (usize, Range<usize>)| Part {
        message,
        range,
        marker: format!("{unused}content-{message}-{n}{unused}"),
        whole,
    };
    ranges.into_iter().enumerate().map(part).collect()
}

/// A character of the private use area that no input holds.
fn unused_char(source: &str, text: &str, messages: &[Json], options: &RenderOptions<'_>) -> char {
    let mut used = std::collections::BTreeSet::new();
    let mut note = |text: &str| {
        used.extend(
            text.chars()
                .filter(|c| ('\u{e000}'..='\u{f8ff}').contains(c)),
        );
    };
    note(source);
    note(text);
    let variables = options.variables.iter().map(|(_, value)| value);
    let inputs = messages
        .iter()
        .chain(options.tools)
        .chain(options.documents)
        .chain(variables);
    for input in inputs {
        input.clone().for_each_text(&mut |text| note(text));
    }
    // All 6,400 of them in one request would make this one ambiguous, and the comparison fail.
    ('\u{e000}'..='\u{f8ff}')
        .find(|c| !used.contains(c))
        .unwrap_or('\u{e000}')
}

/// Walks over the marked text: what stands between the markers must stand in `text` too, and
/// between it the parts, trimmed or not.
fn align(
    messages: &[Json],
    marked: &str,
    places: &[(usize, &Part)],
    text: &str,
) -> Option<Vec<Content>> {
    let mut contents = Vec::with_capacity(places.len());
    let first = places.first().map_or(marked.len(), |place| place.0);
    let mut at = first;
    if text.get(..at) != marked.get(..first) {
        return None;
    }
    for (index, (place, part)) in places.iter().enumerate() {
        let original = &messages[part.message].get("content")?.as_str()?[part.range.clone()];
        let next = places.get(index + 1);
        let literal = &marked[place + part.marker.len()..next.map_or(marked.len(), |next| next.0)];
        let trimmed = [
            original,
            original.trim(),
            original.trim_start(),
            original.trim_end(),
        ];
        let fits = |candidate: &&&str| {
            let rest = text
                .get(at..)
                .and_then(|rest| rest.strip_prefix(**candidate));
            rest.is_some_and(|rest| match next {
                Some(_) => rest.starts_with(literal),
                None => rest == literal,
            })
        };
        let found = trimmed
            .iter()
            .take(if part.whole { 4 } else { 1 })
            .find(fits)?;
        let skipped = found.as_ptr() as usize - original.as_ptr() as usize;
        contents.push(Content {
            message: part.message,
            range: at..at + found.len(),
            skipped: part.range.start + skipped,
        });
        at += found.len() + literal.len();
    }
    (at == text.len()).then_some(contents)
}
