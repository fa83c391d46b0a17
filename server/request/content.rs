//! A message's content: text, or a list of parts.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer,
};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Ref, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::MAX_PARTS;
use crate::bounded::Bounded;
use crate::error::{ApiError, ErrorCode};

/// A message's content.
#[derive(PartialEq)]
pub(crate) enum Content {
    Text(String),
    Parts(Bounded<Part, MAX_PARTS>),
}

/// One part of a content.
#[derive(PartialEq, Deserialize, ToSchema)]
#[schema(as = TextPart)]
pub(crate) struct Part {
    /// `text`; nothing else can be scored.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "text")]
    kind: Option<String>,
    /// The text.
    #[schema(value_type = String)]
    text: Option<String>,
}

impl Content {
    /// The text, parts put together without anything between them; `param` names the field in errors.
    pub(super) fn into_text(self, param: &str) -> Result<String, ApiError> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts.into_vec().ok_or_else(|| {
                let what = format!("`{param}` has more than {MAX_PARTS} parts");
                ApiError::new(ErrorCode::InputTooLong, what).param(param)
            })?,
        };
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let param = format!("{param}[{index}]");
            let (Some("text"), Some(part)) = (part.kind.as_deref(), &part.text) else {
                let what = format!("`{param}` is not `{{\"type\": \"text\", \"text\": …}}`");
                return Err(ApiError::new(ErrorCode::InvalidInput, what)
                    .param(param)
                    .hint("only text can be scored; leave other parts out on purpose"));
            };
            text.push_str(part);
        }
        Ok(text)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Content, A::Error> {
                Bounded::deserialize(SeqAccessDeserializer::new(seq)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

impl PartialSchema for Content {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(String::schema())
            .item(ArrayBuilder::new().items(Ref::from_schema_name(Part::name())))
            .description(Some("Text, or a list of text parts."))
            .into()
    }
}

impl ToSchema for Content {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Part::name().into_owned(), Part::schema()));
        Part::schemas(schemas);
    }
}

/// Whether a list or object that is not read holds anything.
#[derive(PartialEq)]
pub(crate) struct NotEmpty(pub(super) bool);

impl<'de> Deserialize<'de> for NotEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;

        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = NotEmpty;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NotEmpty, A::Error> {
                let mut found = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    found = true;
                }
                Ok(NotEmpty(found))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NotEmpty, A::Error> {
                let mut found = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    found = true;
                }
                Ok(NotEmpty(found))
            }
        }

        deserializer.deserialize_any(AnyVisitor)
    }
}
