use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use candor_schema::HookPoint;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SERVED: Served<'_> = Served {
    model: "m",
    n_ctx: 16,
};

fn parse(body: &Value) -> Result<Ask, ApiError> {
    Ask::parse(body.to_string().as_bytes(), SERVED)
}

#[track_caller]
fn refused(body: &Value, code: ErrorCode, param: &str) {
    let response = parse(body).map(drop).unwrap_err();
    let rest = format!("{response:?}");
    assert_eq!(response.code, code, "{rest}");
    assert_eq!(response, response.clone().param(param), "{rest}");
}

fn text() -> Value {
    json!({"prompt": "Is it on? ", "response": "No."})
}

/// The body of `text` with more fields.
fn text_with(more: &Value) -> Value {
    let mut body = text();
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn chat(messages: &Value) -> Value {
    json!({"messages": messages})
}

fn base64_f32(values: &[f32]) -> String {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    BASE64_STANDARD.encode(bytes)
}

#[test]
fn the_four_forms() {
    let ask = parse(&text()).unwrap();
    assert_eq!(
        ask,
        Ask {
            input: ScoreInput::Text {
                prompt: "Is it on? ".into(),
                response: "No.".into()
            },
            probes: vec![],
            tokens: false,
            readings: false,
            on_policy: OnPolicy::Unknown,
        }
    );

    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Is it"}, {"type": "text", "text": " on?"}]},
        {"role": "assistant", "content": "No.", "name": "ignored", "tool_calls": []},
    ]);
    let expected = vec![
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "Is it on?"),
        Message::new(Role::Assistant, "No."),
    ];
    assert_eq!(
        parse(&chat(&messages)).unwrap().input,
        ScoreInput::Messages(expected)
    );

    let ids = json!({"token_ids": {"prompt": [], "response": [4, 5]}});
    let expected = ScoreInput::TokenIds {
        prompt: vec![],
        response: vec![4, 5],
    };
    assert_eq!(parse(&ids).unwrap().input, expected);

    let activations = json!({"activations": {"n_tokens": 1, "values": [
        {"hook_point": "blocks.3.hook_resid_post", "dtype": "f32", "data": base64_f32(&[1.0, -2.0])},
        {"hook_point": "blocks.4.hook_resid_post", "dtype": "f16", "data": "ADw="},
    ]}});
    let values = vec![
        (HookPoint::resid_post(3), vec![1.0, -2.0]),
        (HookPoint::resid_post(4), vec![1.0]),
    ];
    let expected = ScoreInput::Activations {
        n_tokens: 1,
        values,
    };
    assert_eq!(parse(&activations).unwrap().input, expected);
}

#[test]
fn exactly_one_form() {
    refused(&json!({}), ErrorCode::InvalidInput, "messages");
    refused(
        &json!({"tokens": true, "model": "m"}),
        ErrorCode::InvalidInput,
        "messages",
    );
    let ids = json!({"prompt": [1], "response": [2]});
    let two = text_with(&json!({"token_ids": ids}));
    refused(&two, ErrorCode::InvalidInput, "token_ids");
    let two = json!({"messages": [], "response": "x"});
    refused(&two, ErrorCode::InvalidInput, "prompt");
    let two = json!({"messages": [], "activations": {}});
    refused(&two, ErrorCode::InvalidInput, "activations");
    // Halves of a form.
    refused(&json!({"prompt": "x"}), ErrorCode::InvalidInput, "response");
    refused(&json!({"response": "x"}), ErrorCode::InvalidInput, "prompt");
    refused(
        &json!({"token_ids": {"response": [1]}}),
        ErrorCode::InvalidInput,
        "token_ids.prompt",
    );
    refused(
        &json!({"token_ids": {"prompt": [1]}}),
        ErrorCode::InvalidInput,
        "token_ids.response",
    );
}

#[test]
fn null_is_absent_and_unknown_fields_are_accepted() {
    let body = text_with(&json!({
        "messages": null, "token_ids": null, "activations": null, "probes": null, "tokens": null,
        "readings": null, "on_policy": null, "model": null, "stream": null,
        "unknown": {"deep": [[[1, "x"]]]}, "temperature": 1,
    }));
    assert_eq!(parse(&body).unwrap(), parse(&text()).unwrap());
    assert!(parse(&text_with(&json!({"stream": false}))).is_ok());
}

#[test]
fn options_are_taken_over() {
    let body = text_with(&json!({
        "probes": ["b", "a"], "tokens": true, "readings": true, "on_policy": "yes", "model": "m",
    }));
    let ask = parse(&body).unwrap();
    assert_eq!(ask.probes, ["b", "a"]);
    assert!(ask.tokens && ask.readings);
    assert_eq!(ask.on_policy, OnPolicy::Yes);
    let no = text_with(&json!({"on_policy": "no"}));
    assert_eq!(parse(&no).unwrap().on_policy, OnPolicy::No);
}

#[test]
fn options_without_meaning_are_refused() {
    let check = |more: Value, code, param| refused(&text_with(&more), code, param);
    check(json!({"model": "other"}), ErrorCode::ModelNotFound, "model");
    check(json!({"stream": true}), ErrorCode::InvalidInput, "stream");
    check(
        json!({"on_policy": "maybe"}),
        ErrorCode::InvalidInput,
        "on_policy",
    );
    check(json!({"probes": []}), ErrorCode::InvalidInput, "probes");
    check(
        json!({"probes": ["a", "b", "a"]}),
        ErrorCode::InvalidInput,
        "probes[2]",
    );
    let many: Vec<String> = (0..=MAX_PROBES).map(|index| index.to_string()).collect();
    check(json!({"probes": many}), ErrorCode::InvalidInput, "probes");
}

#[test]
fn messages_are_checked() {
    let check = |messages: Value, code, param| refused(&chat(&messages), code, param);
    let reply = json!({"role": "assistant", "content": "x"});
    check(json!([]), ErrorCode::EmptyInput, "messages");
    check(
        json!([{"role": "user", "content": "x"}]),
        ErrorCode::InvalidInput,
        "messages",
    );
    check(
        json!([{"role": "robot", "content": "x"}, reply]),
        ErrorCode::InvalidInput,
        "messages[0].role",
    );
    check(
        json!([{"content": "x"}]),
        ErrorCode::InvalidInput,
        "messages[0].role",
    );
    let image = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]);
    check(
        json!([{"role": "user", "content": image}, reply]),
        ErrorCode::InvalidInput,
        "messages[0].content[1]",
    );
    let calls = json!([{"id": "1", "type": "function"}]);
    check(
        json!([{"role": "assistant", "content": null, "tool_calls": calls}, reply]),
        ErrorCode::InvalidInput,
        "messages[0].tool_calls",
    );
    let many = vec![reply.clone(); MAX_MESSAGES + 1];
    check(json!(many), ErrorCode::InputTooLong, "messages");
    let parts = vec![json!({"type": "text", "text": ""}); MAX_PARTS + 1];
    check(
        json!([{"role": "assistant", "content": parts}]),
        ErrorCode::InputTooLong,
        "messages[0].content",
    );
}

#[test]
fn text_that_cannot_fit_is_not_tokenised() {
    let limit = SERVED.n_ctx * MAX_BYTES_PER_TOKEN;
    let body = |n: usize| json!({"prompt": "xx", "response": "y".repeat(n)});
    assert!(parse(&body(limit - 2)).is_ok());
    refused(&body(limit - 1), ErrorCode::InputTooLong, "prompt");
    let message = json!([{"role": "assistant", "content": "y".repeat(limit + 1)}]);
    refused(&chat(&message), ErrorCode::InputTooLong, "messages");
}

#[test]
fn activations_are_checked() {
    let value = |point: &str, dtype: &str, data: &str| json!({"hook_point": point, "dtype": dtype, "data": data});
    let check = |values: Value, code, param: &str| {
        let body = json!({"activations": {"n_tokens": 1, "values": values}});
        refused(&body, code, &format!("activations.values{param}"));
    };
    let point = "blocks.3.hook_resid_post";
    let good = value(point, "f32", "AACAPw==");
    check(
        json!([value("layer_3", "f32", "")]),
        ErrorCode::UnknownHookPoint,
        "[0].hook_point",
    );
    check(
        json!([good, good]),
        ErrorCode::InvalidInput,
        "[1].hook_point",
    );
    check(
        json!([value(point, "bf16", "")]),
        ErrorCode::InvalidInput,
        "[0].dtype",
    );
    check(
        json!([value(point, "f32", "???")]),
        ErrorCode::InvalidBase64,
        "[0].data",
    );
    check(
        json!([value(point, "f32", "AAA=")]),
        ErrorCode::WrongWidth,
        "[0].data",
    );
    check(
        json!([{"dtype": "f32", "data": ""}]),
        ErrorCode::InvalidInput,
        "[0].hook_point",
    );
    check(
        json!([{"hook_point": point, "data": ""}]),
        ErrorCode::InvalidInput,
        "[0].dtype",
    );
    check(
        json!([{"hook_point": point, "dtype": "f16"}]),
        ErrorCode::InvalidInput,
        "[0].data",
    );
    check(
        json!(vec![json!({}); MAX_HOOK_POINTS + 1]),
        ErrorCode::InputTooLong,
        "",
    );
    check(Value::Null, ErrorCode::InvalidInput, "");
    refused(
        &json!({"activations": {"values": []}}),
        ErrorCode::InvalidInput,
        "activations.n_tokens",
    );
}

#[test]
fn what_is_not_json_or_not_of_the_shape() {
    let check = |body: &[u8], code: ErrorCode, param: Option<&str>| {
        let error = Ask::parse(body, SERVED).unwrap_err();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(error.code, code, "{shown}");
        if let Some(param) = param {
            assert_eq!(error, error.clone().param(param), "{shown}");
        }
        // A body may be anything, so nothing of it is repeated.
        assert!(!format!("{error:?}").contains("secret"), "{shown}");
    };
    for body in [
        &b""[..],
        b"{",
        b"{\"prompt\": \"secret",
        b"{'prompt': 1}",
        b"{\"prompt\": \"secret\"} trailing",
        b"nonsense",
        b"\xff\xfe",
        b"{\"prompt\": \"\xff\"}",
        b"{\"tokens\": NaN}",
    ] {
        check(body, ErrorCode::InvalidJson, None);
    }
    for body in [&b"[]"[..], b"\"secret\"", b"1", b"null"] {
        check(body, ErrorCode::InvalidBody, None);
    }
    let wrong = [
        (json!({"messages": "secret"}), "messages"),
        (json!({"messages": ["secret"]}), "messages"),
        (
            json!({"messages": [{"role": "user", "content": 1}]}),
            "messages",
        ),
        (json!({"prompt": ["secret"]}), "prompt"),
        (json!({"response": 1}), "response"),
        (json!({"token_ids": [1]}), "token_ids"),
        (json!({"token_ids": {"response": [-1]}}), "token_ids"),
        (
            json!({"token_ids": {"response": [4_294_967_296_u64]}}),
            "token_ids",
        ),
        (json!({"token_ids": {"response": ["secret"]}}), "token_ids"),
        (json!({"activations": {"n_tokens": -1}}), "activations"),
        (json!({"activations": {"n_tokens": 1.5}}), "activations"),
        (
            json!({"activations": {"values": {"secret": 1}}}),
            "activations",
        ),
        (json!({"probes": "secret"}), "probes"),
        (json!({"tokens": "secret"}), "tokens"),
        (json!({"readings": 1}), "readings"),
        (json!({"on_policy": true}), "on_policy"),
        (json!({"model": 1}), "model"),
        (json!({"stream": "secret"}), "stream"),
    ];
    for (body, param) in wrong {
        check(
            body.to_string().as_bytes(),
            ErrorCode::InvalidBody,
            Some(param),
        );
    }
    check(
        b"{\"model\":\"m\",\"model\":\"n\"}",
        ErrorCode::InvalidBody,
        Some("model"),
    );
    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    check(deep.as_bytes(), ErrorCode::InvalidJson, None);
}

#[test]
fn what_was_said_is_not_shown() {
    let messages = json!([{"role": "assistant", "content": "secret"}]);
    for body in [
        chat(&messages),
        json!({"prompt": "secret", "response": "secret"}),
    ] {
        let ask = parse(&body).unwrap();
        assert!(!format!("{ask:?}").contains("secret"));
        let request = body::parse(body.to_string().as_bytes()).unwrap();
        assert!(!format!("{request:?}").contains("secret"));
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Ask::parse(&body, SERVED);
    }

    #[test]
    fn no_numbers_make_it_panic(n_tokens in any::<u64>(), id in any::<i64>(), data in "[A-Za-z0-9+/=]{0,24}") {
        let values = json!([{"hook_point": "blocks.0.hook_resid_post", "dtype": "f16", "data": data}]);
        let _ = parse(&json!({"activations": {"n_tokens": n_tokens, "values": values}}));
        let _ = parse(&json!({"token_ids": {"prompt": [], "response": [id]}}));
    }
}
