//! The body of a score request, and how it becomes what the detector takes.

mod body;
mod content;

#[cfg(test)]
mod tests;

use candor_detect::ScoreInput;
use candor_schema::{HookPoint, Message, OnPolicy, Role};

pub(crate) use body::{ScoreRequest, WireActivations, WireMessage, WireTokenIds};

use crate::activations::{self, Dtype};
use crate::error::{ApiError, ErrorCode};

/// Most messages of a chat. Finding a content in the rendered text renders all messages once more, so
/// the work grows with the square of this.
pub(crate) const MAX_MESSAGES: usize = 512;
/// Most parts of one message's content.
pub(crate) const MAX_PARTS: usize = 1024;
/// Most probes that can be named.
pub(crate) const MAX_PROBES: usize = 256;
/// Most hook points of which activations are taken.
pub(crate) const MAX_HOOK_POINTS: usize = 1024;
/// Bytes of text per token of context beyond which text is not even tokenised. No vocabulary in use
/// has a token this long, so longer text cannot fit.
const MAX_BYTES_PER_TOKEN: usize = 512;

/// A checked request. Its parts that are user data redact their `Debug` form.
#[derive(Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) input: ScoreInput,
    /// Names; empty for all.
    pub(crate) probes: Vec<String>,
    pub(crate) tokens: bool,
    pub(crate) readings: bool,
    pub(crate) on_policy: OnPolicy,
}

/// What a request is checked against before it is queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    /// Name of the loaded model.
    pub(crate) model: &'a str,
    /// Its context in tokens.
    pub(crate) n_ctx: usize,
}

impl Ask {
    /// Reads and checks a body.
    pub(crate) fn parse(bytes: &[u8], served: Served<'_>) -> Result<Self, ApiError> {
        Self::check(body::parse(bytes)?, served)
    }

    fn check(request: ScoreRequest, served: Served<'_>) -> Result<Self, ApiError> {
        if let Some(model) = &request.model
            && model != served.model
        {
            return Err(ApiError::new(
                ErrorCode::ModelNotFound,
                format!(
                    "this server has loaded `{}` and no other model",
                    served.model
                ),
            )
            .param("model")
            .hint("leave `model` out, or ask the server that has loaded it"));
        }
        if request.stream == Some(true) {
            return Err(
                invalid("stream", "`stream` is true, but a score is one reply")
                    .hint("leave `stream` out"),
            );
        }
        let on_policy = match request.on_policy.as_deref() {
            None | Some("unknown") => OnPolicy::Unknown,
            Some("yes") => OnPolicy::Yes,
            Some("no") => OnPolicy::No,
            Some(_) => {
                let what = "`on_policy` is none of `yes`, `no` and `unknown`";
                return Err(invalid("on_policy", what));
            }
        };
        let probes = match request.probes {
            None => Vec::new(),
            Some(names) => check_probes(names.into_vec())?,
        };
        let forms = [
            ("messages", request.messages.is_some()),
            (
                "prompt",
                request.prompt.is_some() || request.response.is_some(),
            ),
            ("token_ids", request.token_ids.is_some()),
            ("activations", request.activations.is_some()),
        ];
        let given: Vec<&str> = forms
            .iter()
            .filter(|form| form.1)
            .map(|form| form.0)
            .collect();
        if let [first, second, ..] = given[..] {
            let what = format!("`{first}` and `{second}` were both given, but one reply is scored");
            return Err(invalid(second, what).hint(FORMS));
        }
        let input = if let Some(messages) = request.messages {
            check_messages(messages.into_vec(), served)?
        } else if let Some(ids) = request.token_ids {
            check_token_ids(ids)?
        } else if let Some(activations) = request.activations {
            check_activations(activations)?
        } else if given.is_empty() {
            return Err(invalid("messages", "there is nothing to score").hint(FORMS));
        } else {
            check_text(request.prompt, request.response, served)?
        };
        Ok(Self {
            input,
            probes,
            tokens: request.tokens.unwrap_or(false),
            readings: request.readings.unwrap_or(false),
            on_policy,
        })
    }
}

const FORMS: &str =
    "send exactly one of `messages`, `prompt` with `response`, `token_ids`, `activations`";

fn check_probes(names: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let Some(names) = names else {
        let what = format!("`probes` has more than {MAX_PROBES} names");
        return Err(invalid("probes", what).hint("name each probe once"));
    };
    if names.is_empty() {
        return Err(
            invalid("probes", "`probes` is empty, so nothing would be scored")
                .hint("leave `probes` out to ask all of them"),
        );
    }
    let twice = (1..names.len()).find(|&index| names[..index].contains(&names[index]));
    if let Some(index) = twice {
        let param = format!("probes[{index}]");
        let what = format!("`{}` is named twice", names[index]);
        return Err(invalid(param, what).hint("name each probe once"));
    }
    Ok(names)
}

fn check_messages(
    messages: Option<Vec<WireMessage>>,
    served: Served<'_>,
) -> Result<ScoreInput, ApiError> {
    let Some(messages) = messages else {
        let what = format!("there are more than {MAX_MESSAGES} messages");
        return Err(too_long("messages", what));
    };
    let mut checked = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let at = |field: &str| format!("messages[{index}].{field}");
        let role = match message.role.as_deref() {
            Some(name) => Role::ALL.iter().copied().find(|role| role.as_str() == name),
            None => None,
        };
        let Some(role) = role else {
            let known: Vec<String> = Role::ALL.iter().map(|role| format!("`{role}`")).collect();
            let what = format!("`{}` is none of {}", at("role"), known.join(", "));
            return Err(invalid(at("role"), what));
        };
        // A template may or may not write them, so the score could be that of another conversation.
        if message.tool_calls.is_some_and(|given| given.0) {
            let what = format!("`{}` cannot be scored yet", at("tool_calls"));
            return Err(invalid(at("tool_calls"), what).hint(
                "render the dialogue as the model saw it, and send `prompt` and `response`",
            ));
        }
        let content = match message.content {
            None => String::new(),
            Some(content) => content.into_text(&at("content"))?,
        };
        checked.push(Message::new(role, content));
    }
    let Some(last) = checked.last() else {
        let error = ApiError::new(ErrorCode::EmptyInput, "`messages` is empty");
        return Err(error.param("messages").hint("end with the reply to score"));
    };
    if last.role != Role::Assistant {
        let what = format!(
            "the last message is the {}'s, not the assistant's",
            last.role
        );
        return Err(invalid("messages", what).hint("end with the reply to score"));
    }
    let n_bytes = checked.iter().map(|message| message.content.len()).sum();
    check_size("messages", n_bytes, served)?;
    Ok(ScoreInput::Messages(checked))
}

fn check_text(
    prompt: Option<String>,
    response: Option<String>,
    served: Served<'_>,
) -> Result<ScoreInput, ApiError> {
    let missing = |field: &str| {
        invalid(field, format!("`{field}` is missing")).hint("send `prompt` with `response`")
    };
    let prompt = prompt.ok_or_else(|| missing("prompt"))?;
    let response = response.ok_or_else(|| missing("response"))?;
    check_size(
        "prompt",
        prompt.len().saturating_add(response.len()),
        served,
    )?;
    Ok(ScoreInput::Text { prompt, response })
}

fn check_token_ids(ids: WireTokenIds) -> Result<ScoreInput, ApiError> {
    let missing = |field: &str| {
        let param = format!("token_ids.{field}");
        let what = format!("`{param}` is missing");
        invalid(param, what).hint("send `prompt` (which may be empty) with `response`")
    };
    Ok(ScoreInput::TokenIds {
        prompt: ids.prompt.ok_or_else(|| missing("prompt"))?,
        response: ids.response.ok_or_else(|| missing("response"))?,
    })
}

fn check_activations(activations: WireActivations) -> Result<ScoreInput, ApiError> {
    let missing = |param: String| {
        let what = format!("`{param}` is missing");
        invalid(param, what).hint("send `n_tokens`, and `hook_point`, `dtype` and `data` per value")
    };
    let n_tokens = activations
        .n_tokens
        .ok_or_else(|| missing("activations.n_tokens".into()))?;
    let list = activations
        .values
        .ok_or_else(|| missing("activations.values".into()))?;
    let Some(list) = list.into_vec() else {
        let what = format!("`activations.values` has more than {MAX_HOOK_POINTS} entries");
        return Err(too_long("activations.values", what));
    };
    let mut values: Vec<(HookPoint, Vec<f32>)> = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let at = |field: &str| format!("activations.values[{index}].{field}");
        let name = value.hook_point.ok_or_else(|| missing(at("hook_point")))?;
        let point: HookPoint = name.parse().map_err(|error: candor_schema::Error| {
            ApiError::new(ErrorCode::UnknownHookPoint, error.to_string())
                .param(at("hook_point"))
                .hint(error.hint())
        })?;
        if values.iter().any(|(other, _)| *other == point) {
            let what = format!("`{point}` is given twice");
            return Err(invalid(at("hook_point"), what).hint("give each hook point once"));
        }
        let dtype = value.dtype.ok_or_else(|| missing(at("dtype")))?;
        let dtype = Dtype::parse(&dtype).ok_or_else(|| {
            let what = format!("`{}` is not {}", at("dtype"), Dtype::NAMES);
            invalid(at("dtype"), what)
        })?;
        let data = value.data.ok_or_else(|| missing(at("data")))?;
        values.push((point, activations::decode(&data, dtype, &at("data"))?));
    }
    Ok(ScoreInput::Activations { n_tokens, values })
}

/// Refuses text that cannot fit the context before it is tokenised, which takes the engine's time.
fn check_size(param: &str, n_bytes: usize, served: Served<'_>) -> Result<(), ApiError> {
    let limit = served.n_ctx.saturating_mul(MAX_BYTES_PER_TOKEN);
    if n_bytes <= limit {
        return Ok(());
    }
    let n_ctx = served.n_ctx;
    let what = format!("text has {n_bytes} bytes, which cannot fit the model's {n_ctx} tokens");
    Err(too_long(param, what))
}

fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidInput, message).param(param)
}

fn too_long(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InputTooLong, message)
        .param(param)
        .hint("shorten the text; candor never truncates it silently")
}
