//! The JSON of a score request.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use utoipa::ToSchema;

use super::content::{Content, NotEmpty};
use super::{MAX_HOOK_POINTS, MAX_MESSAGES, MAX_PROBES};
use crate::bounded::Bounded;
use crate::error::{ApiError, ErrorCode};

/// A reply to score, in exactly one of four forms: `messages`, `prompt` with `response`, `token_ids`,
/// or `activations`. `null` is the same as absent, and unknown fields are ignored.
#[derive(Default, PartialEq, ToSchema)]
pub(crate) struct ScoreRequest {
    /// A chat whose last message is the assistant's. At most 512 messages.
    #[schema(value_type = Option<Vec<WireMessage>>)]
    pub(crate) messages: Option<Bounded<WireMessage, MAX_MESSAGES>>,
    /// Plain text before `response`, without a chat template; may be empty.
    pub(crate) prompt: Option<String>,
    /// Plain text that is scored.
    pub(crate) response: Option<String>,
    /// Ids of the model's own tokenizer.
    pub(crate) token_ids: Option<WireTokenIds>,
    /// Vectors that were captured elsewhere from the same model.
    pub(crate) activations: Option<WireActivations>,
    /// Names of the probes to ask; all when absent.
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) probes: Option<Bounded<String, MAX_PROBES>>,
    /// Whether to return a logit per reply token.
    pub(crate) tokens: Option<bool>,
    /// Whether to return the pooled logit of each reading.
    pub(crate) readings: Option<bool>,
    /// Whether the loaded model wrote the reply: `yes`, `no` or `unknown`, the default.
    #[schema(value_type = Option<candor_schema::OnPolicy>)]
    pub(crate) on_policy: Option<String>,
    /// Name of the loaded model; another one is refused.
    pub(crate) model: Option<String>,
    /// Must not be true.
    #[schema(ignore)]
    pub(crate) stream: Option<bool>,
}

/// One message of a chat.
#[derive(PartialEq, Deserialize, ToSchema)]
#[schema(as = ScoreMessage)]
pub(crate) struct WireMessage {
    /// `system`, `user`, `assistant` or `tool`.
    #[schema(value_type = candor_schema::Role)]
    pub(crate) role: Option<String>,
    /// Text, or a list of `{"type": "text", "text": …}`.
    pub(crate) content: Option<Content>,
    #[schema(ignore)]
    pub(crate) tool_calls: Option<NotEmpty>,
}

/// Token ids.
#[derive(PartialEq, Deserialize, ToSchema)]
#[schema(as = TokenIds)]
pub(crate) struct WireTokenIds {
    /// What stands before the response; may be empty.
    #[schema(value_type = Vec<u32>)]
    pub(crate) prompt: Option<Vec<u32>>,
    /// What is scored.
    #[schema(value_type = Vec<u32>)]
    pub(crate) response: Option<Vec<u32>>,
}

/// Activations of the response's tokens.
#[derive(PartialEq, Deserialize, ToSchema)]
#[schema(as = Activations)]
pub(crate) struct WireActivations {
    /// Number of response tokens.
    #[schema(value_type = usize, minimum = 1)]
    pub(crate) n_tokens: Option<usize>,
    /// One entry per hook point that the probes read.
    #[schema(value_type = Vec<WireValues>)]
    pub(crate) values: Option<Bounded<WireValues, MAX_HOOK_POINTS>>,
}

/// Activations at one hook point.
#[derive(PartialEq, Deserialize, ToSchema)]
#[schema(as = ActivationValues)]
pub(crate) struct WireValues {
    /// TransformerLens name.
    #[schema(value_type = String, example = "blocks.12.hook_resid_post")]
    pub(crate) hook_point: Option<String>,
    /// `f16` or `f32`.
    #[schema(value_type = String, example = "f16")]
    pub(crate) dtype: Option<String>,
    /// Base64 of the little-endian numbers, row-major `[n_tokens, width]`.
    #[schema(value_type = String, format = "byte")]
    pub(crate) data: Option<String>,
}

impl fmt::Debug for ScoreRequest {
    /// Which form it has; the rest is user data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreRequest")
            .field("messages", &self.messages.is_some())
            .field("prompt", &self.prompt.is_some())
            .field("response", &self.response.is_some())
            .field("token_ids", &self.token_ids.is_some())
            .field("activations", &self.activations.is_some())
            .finish_non_exhaustive()
    }
}

/// Parses a body. An error names the field and the place, but repeats nothing of what was sent.
pub(super) fn parse(bytes: &[u8]) -> Result<ScoreRequest, ApiError> {
    let field = Cell::new(None);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let request = RequestSeed(&field)
        .deserialize(&mut json)
        .and_then(|request| json.end().map(|()| request));
    request.map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        if error.is_data() {
            let Some((name, expected)) = field.get() else {
                let what = format!("the body is not a JSON object ({place})");
                return ApiError::new(ErrorCode::InvalidBody, what).hint(SEE);
            };
            let what = format!("`{name}` is not {expected}, or is given twice ({place})");
            return ApiError::new(ErrorCode::InvalidBody, what)
                .param(name)
                .hint(SEE);
        }
        let what = if error.is_eof() {
            "ends too early"
        } else {
            "is malformed"
        };
        ApiError::new(
            ErrorCode::InvalidJson,
            format!("the JSON body {what} ({place})"),
        )
        .hint(SEE)
    })
}

const SEE: &str = "`GET /openapi.json` describes the body";

/// Name of a field and what it should be.
type Field = (&'static str, &'static str);

/// Reads a request and keeps in the cell which field it is at.
struct RequestSeed<'a>(&'a Cell<Option<Field>>);

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = ScoreRequest;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ScoreRequest, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl RequestSeed<'_> {
    fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
        &self,
        map: &mut A,
        field: Field,
        slot: &mut Option<T>,
    ) -> Result<(), A::Error> {
        self.0.set(Some(field));
        if slot.is_some() {
            return Err(A::Error::duplicate_field(field.0));
        }
        *slot = map.next_value()?;
        self.0.set(None);
        Ok(())
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = ScoreRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScoreRequest, A::Error> {
        let mut request = ScoreRequest::default();
        let to = &mut request;
        while let Some(key) = map.next_key::<String>()? {
            let map = &mut map;
            match key.as_str() {
                "messages" => {
                    let field = ("messages", "a list of `{role, content}`");
                    self.read(map, field, &mut to.messages)?;
                }
                "prompt" => self.read(map, ("prompt", "a string"), &mut to.prompt)?,
                "response" => self.read(map, ("response", "a string"), &mut to.response)?,
                "token_ids" => {
                    let field = ("token_ids", "`{prompt, response}` with lists of ids");
                    self.read(map, field, &mut to.token_ids)?;
                }
                "activations" => {
                    let field = ("activations", "`{n_tokens, values}`");
                    self.read(map, field, &mut to.activations)?;
                }
                "probes" => self.read(map, ("probes", "a list of names"), &mut to.probes)?,
                "tokens" => self.read(map, ("tokens", "a boolean"), &mut to.tokens)?,
                "readings" => self.read(map, ("readings", "a boolean"), &mut to.readings)?,
                "on_policy" => self.read(map, ("on_policy", "a string"), &mut to.on_policy)?,
                "model" => self.read(map, ("model", "a string"), &mut to.model)?,
                "stream" => self.read(map, ("stream", "a boolean"), &mut to.stream)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(request)
    }
}
