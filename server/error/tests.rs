use candor_schema::HookPoint;

use super::*;

/// The list is a promise to callers: lines are added, never changed.
#[test]
fn codes_are_stable() {
    let expected = "\
        400 invalid_json invalid_request_error
        400 invalid_body invalid_request_error
        400 invalid_content_type invalid_request_error
        401 missing_api_key authentication_error
        403 invalid_api_key permission_error
        404 route_not_found invalid_request_error
        404 probe_not_found invalid_request_error
        404 model_not_found invalid_request_error
        405 method_not_allowed invalid_request_error
        409 probe_mismatch invalid_request_error
        413 body_too_large invalid_request_error
        422 invalid_input invalid_request_error
        422 empty_input invalid_request_error
        422 input_too_long invalid_request_error
        422 chat_template invalid_request_error
        422 invalid_token invalid_request_error
        422 invalid_base64 invalid_request_error
        422 unknown_hook_point invalid_request_error
        422 wrong_width invalid_request_error
        422 not_finite invalid_request_error
        422 missing_activations invalid_request_error
        422 unscorable invalid_request_error
        429 queue_full rate_limit_error
        500 internal server_error
        503 not_ready server_error
        503 draining server_error
        504 deadline_exceeded server_error";
    let found: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|code| {
            format!(
                "{} {} {}",
                code.status().as_u16(),
                code.as_str(),
                code.kind()
            )
        })
        .collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(found, expected);
    for code in ErrorCode::ALL {
        let json = serde_json::to_value(code).unwrap();
        assert_eq!(json, code.as_str());
    }
}

/// One error of each situation, and the code that its callers rely on.
#[test]
fn every_error_of_the_detector_has_its_code() {
    let point = HookPoint::resid_post(3);
    let cases: Vec<(DetectError, ErrorCode)> = vec![
        (DetectError::NoProbe, ErrorCode::ProbeNotFound),
        (
            DetectError::UnknownProbe {
                name: "a".into(),
                known: "b".into(),
            },
            ErrorCode::ProbeNotFound,
        ),
        (
            DetectError::DuplicateProbe { name: "a".into() },
            ErrorCode::ProbeMismatch,
        ),
        (
            DetectError::Mismatch {
                probe: "a".into(),
                expected: "m".into(),
                found: "n".into(),
                difference: "base".into(),
            },
            ErrorCode::ProbeMismatch,
        ),
        (
            DetectError::ProbeWidth {
                probe: "a".into(),
                point,
                expected: 4,
                found: 5,
            },
            ErrorCode::ProbeMismatch,
        ),
        (
            DetectError::MissingActivations {
                point,
                probe: "a".into(),
            },
            ErrorCode::MissingActivations,
        ),
        (
            DetectError::ActivationLength {
                point,
                found: 1,
                n_tokens: 2,
                width: 3,
            },
            ErrorCode::WrongWidth,
        ),
        (
            DetectError::NonFiniteActivation { point, index: 0 },
            ErrorCode::NotFinite,
        ),
        (DetectError::QueueFull { capacity: 1 }, ErrorCode::QueueFull),
        (DetectError::Draining, ErrorCode::Draining),
        (DetectError::Deadline, ErrorCode::DeadlineExceeded),
        (
            DetectError::Thread(std::io::Error::other("no")),
            ErrorCode::Internal,
        ),
        (
            ModelError::Empty { what: "response" }.into(),
            ErrorCode::EmptyInput,
        ),
        (
            ModelError::ContextLength {
                n_tokens: 9,
                n_ctx: 8,
            }
            .into(),
            ErrorCode::InputTooLong,
        ),
        (
            ModelError::TokenId {
                token: 9,
                n_vocab: 8,
            }
            .into(),
            ErrorCode::InvalidToken,
        ),
        (
            ModelError::NoChatTemplate { model: "m".into() }.into(),
            ErrorCode::ChatTemplate,
        ),
        (
            ModelError::ContentNotFound { message: 0 }.into(),
            ErrorCode::ChatTemplate,
        ),
        (ModelError::ForeignSnapshot.into(), ErrorCode::Unscorable),
        (
            ModelError::Io {
                path: "/secret/model.gguf".into(),
                source: std::io::Error::other("gone"),
            }
            .into(),
            ErrorCode::Internal,
        ),
    ];
    for (error, code) in cases {
        let text = error.to_string();
        let status = code_of(error.class()).status();
        let api = ApiError::from(error);
        assert_eq!(api.code, code, "{text}");
        assert_eq!(api.code.status(), status, "class and code disagree: {text}");
        if code == ErrorCode::Internal {
            assert!(!api.message.contains("secret"), "{}", api.message);
        } else {
            assert_eq!(api.message, text);
            assert!(
                api.code.status() != 422 || code == ErrorCode::Unscorable || api.hint.is_some()
            );
        }
    }
}

#[test]
fn overload_and_absence_say_when_to_come_back() {
    for &code in ErrorCode::ALL {
        let response = ApiError::new(code, "x").into_response();
        let retry = response.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(
            retry,
            matches!(code.status().as_u16(), 429 | 503),
            "{code:?}"
        );
        let challenge = response.headers().contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(challenge, code.status() == 401, "{code:?}");
    }
}
