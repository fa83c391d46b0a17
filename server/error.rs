//! Every error of the service: why it does not start, and what a caller is told.

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use candor_detect::{Error as DetectError, ErrorClass, ModelError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A situation in which the service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside its range.
    #[error("server option `{name}` is {found}, expected {expected}")]
    Option {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// Its range, in words.
        expected: &'static str,
    },
    /// An address that others can reach, without a key.
    #[error("`{address}` can be reached from other machines, but no API key is set")]
    PublicAddress {
        /// The address.
        address: SocketAddr,
    },
    /// A detector was given twice.
    #[error("a model is already being served")]
    AlreadyLoaded,
    /// The detector cannot be put to work.
    #[error(transparent)]
    Detect(#[from] DetectError),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Option { .. } => Some("change the setting".into()),
            Self::PublicAddress { .. } => {
                Some("set an API key, listen on 127.0.0.1, or allow open access explicitly".into())
            }
            Self::AlreadyLoaded => Some("start one server per model".into()),
            Self::Detect(error) => error.hint(),
        }
    }
}

/// Defines the codes, their text, status and `type` from one list.
macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal, $status:ident, $kind:literal;)+) => {
        /// What went wrong, for machines. Codes are never renamed or given another status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$meta])* #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// Every code, by status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is sent.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Its HTTP status.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)+
                }
            }

            /// The `type` of OpenAI's error body.
            pub fn kind(self) -> &'static str {
                match self {
                    $(Self::$variant => $kind,)+
                }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    InvalidJson = "invalid_json", BAD_REQUEST, "invalid_request_error";
    /// The body is JSON, but not of the documented shape.
    InvalidBody = "invalid_body", BAD_REQUEST, "invalid_request_error";
    /// The body is not declared as JSON.
    InvalidContentType = "invalid_content_type", BAD_REQUEST, "invalid_request_error";
    /// A key is needed and none was given.
    MissingApiKey = "missing_api_key", UNAUTHORIZED, "authentication_error";
    /// The key is not the right one.
    InvalidApiKey = "invalid_api_key", FORBIDDEN, "permission_error";
    /// No such route.
    RouteNotFound = "route_not_found", NOT_FOUND, "invalid_request_error";
    /// No such probe.
    ProbeNotFound = "probe_not_found", NOT_FOUND, "invalid_request_error";
    /// Another model is loaded.
    ModelNotFound = "model_not_found", NOT_FOUND, "invalid_request_error";
    /// The route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "invalid_request_error";
    /// The probe does not belong to the loaded model.
    ProbeMismatch = "probe_mismatch", CONFLICT, "invalid_request_error";
    /// The body is longer than the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "invalid_request_error";
    /// A value that has no meaning here.
    InvalidInput = "invalid_input", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Nothing to score.
    EmptyInput = "empty_input", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// More than the model's context or a limit of the server.
    InputTooLong = "input_too_long", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// The chat template does not render these messages.
    ChatTemplate = "chat_template", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// A token id outside the vocabulary.
    InvalidToken = "invalid_token", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Data that are not base64.
    InvalidBase64 = "invalid_base64", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// A hook point that does not exist in the model.
    UnknownHookPoint = "unknown_hook_point", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Activations of another length than tokens times width.
    WrongWidth = "wrong_width", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Activations with a number that is NaN or infinite.
    NotFinite = "not_finite", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Activations without a hook point that the probe reads.
    MissingActivations = "missing_activations", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// Another reason why the input has no score.
    Unscorable = "unscorable", UNPROCESSABLE_ENTITY, "invalid_request_error";
    /// The queue has no room.
    QueueFull = "queue_full", TOO_MANY_REQUESTS, "rate_limit_error";
    /// A fault of candor or of the machine.
    Internal = "internal", INTERNAL_SERVER_ERROR, "server_error";
    /// The model is not loaded, or its thread has died.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "server_error";
    /// The server is shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE, "server_error";
    /// The verdict did not come in time.
    DeadlineExceeded = "deadline_exceeded", GATEWAY_TIMEOUT, "server_error";
}

/// Seconds after which a caller may try again; a queue of short requests has room by then.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// An error as the caller gets it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    message: String,
    param: Option<String>,
    hint: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
            hint: None,
        }
    }

    /// Names the field that is wrong.
    #[must_use]
    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A fault that is not the caller's; what it is stands in the log only.
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the server failed on this request")
            .hint("report it with the `x-request-id` of this reply; the server's log tells more")
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(ErrorCode::NotReady, "no model is ready to score")
            .hint("wait until `GET /health` answers 200")
    }

    pub(crate) fn draining() -> Self {
        Self::new(ErrorCode::Draining, "the server is shutting down")
            .hint("try again on another replica")
    }

    pub(crate) fn deadline(timeout: std::time::Duration) -> Self {
        Self::new(
            ErrorCode::DeadlineExceeded,
            format!("no verdict within {} ms", timeout.as_millis()),
        )
        .hint("send a shorter reply, or start the server with a longer timeout")
    }
}

/// Body of every error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub(crate) error: ErrorDetail,
}

/// What went wrong, in OpenAI's form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// What failed, where, expected and found.
    pub(crate) message: String,
    /// Kind of error in OpenAI's vocabulary.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Stable code.
    pub(crate) code: ErrorCode,
    /// The field that is wrong.
    pub(crate) param: Option<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code;
        let body = ErrorBody {
            error: ErrorDetail {
                message: self.message,
                kind: code.kind().to_owned(),
                code,
                param: self.param,
                hint: self.hint,
            },
        };
        let mut response = (code.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        match code.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_S);
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            _ => {}
        }
        // For the request's log line.
        response.extensions_mut().insert(code);
        response
    }
}

impl From<DetectError> for ApiError {
    fn from(error: DetectError) -> Self {
        let (code, param) = match &error {
            DetectError::UnknownProbe { .. } | DetectError::NoProbe => {
                (ErrorCode::ProbeNotFound, Some("probes"))
            }
            DetectError::MissingActivations { .. } => {
                (ErrorCode::MissingActivations, Some("activations.values"))
            }
            DetectError::ActivationLength { .. } => {
                (ErrorCode::WrongWidth, Some("activations.values"))
            }
            DetectError::NonFiniteActivation { .. } => {
                (ErrorCode::NotFinite, Some("activations.values"))
            }
            DetectError::Model(ModelError::Empty { .. }) => (ErrorCode::EmptyInput, None),
            DetectError::Model(ModelError::ContextLength { .. }) => (ErrorCode::InputTooLong, None),
            DetectError::Model(ModelError::TokenId { .. }) => {
                (ErrorCode::InvalidToken, Some("token_ids"))
            }
            DetectError::Model(ModelError::NoSuchHookPoint { .. }) => {
                (ErrorCode::UnknownHookPoint, Some("activations.values"))
            }
            DetectError::Model(
                ModelError::NoChatTemplate { .. }
                | ModelError::ChatTemplate { .. }
                | ModelError::ContentNotFound { .. },
            ) => (ErrorCode::ChatTemplate, Some("messages")),
            _ => (code_of(error.class()), None),
        };
        if code == ErrorCode::Internal {
            // Sizes and paths of the machine; the input is not part of these errors.
            tracing::error!(error = %chain(&error), "scoring failed");
            return Self::internal();
        }
        Self {
            code,
            message: error.to_string(),
            param: param.map(str::to_owned),
            hint: error.hint(),
        }
    }
}

/// The code of a class whose situations are not told apart.
fn code_of(class: ErrorClass) -> ErrorCode {
    match class {
        ErrorClass::NotFound => ErrorCode::ProbeNotFound,
        ErrorClass::Mismatch => ErrorCode::ProbeMismatch,
        ErrorClass::Unscorable => ErrorCode::Unscorable,
        ErrorClass::Overloaded => ErrorCode::QueueFull,
        ErrorClass::Draining => ErrorCode::Draining,
        ErrorClass::Deadline => ErrorCode::DeadlineExceeded,
        ErrorClass::Internal => ErrorCode::Internal,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
