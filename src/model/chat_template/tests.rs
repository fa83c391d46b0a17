//! Templates of our own against transformers' rendering, and what a template may not do.

mod located;

use std::time::{Duration, SystemTime};

use candor_schema::{Message, Role};
use serde_json::Value;

use super::*;
use crate::tokenizer::tests::checks::fixture;

fn template(source: &str) -> ChatTemplate {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_owned(), text.to_owned()));
    ChatTemplate::with_tokens(source.into(), None, tokens.into()).unwrap()
}

fn messages() -> Vec<Message> {
    vec![
        Message::new(Role::User, "user"),
        Message::new(Role::Assistant, " user \n"),
    ]
}

/// The fixture as it stands in the file, with keys in their order.
fn ordered() -> Json {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/text/chat.json"
    );
    Json::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn array(json: Option<&Json>) -> &[Json] {
    match json {
        Some(Json::Array(values)) => values,
        _ => &[],
    }
}

/// Renders one case as `render` in `make_fixtures.py` does.
fn render_case(template: &ChatTemplate, case: &Json) -> Result<String> {
    let variables = match case.get("variables") {
        Some(Json::Object(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    let options = RenderOptions {
        add_generation_prompt: case.get("add_generation_prompt") == Some(&Json::Bool(true)),
        tools: case.get("tools"),
        documents: case.get("documents"),
        variables: &variables,
        now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_720_271_109)),
        ..RenderOptions::default()
    };
    template.render_json(array(case.get("messages")), &options)
}

#[test]
fn every_feature_renders_as_in_transformers() {
    let fixture = ordered();
    let cases = array(fixture.get("cases"));
    assert!(cases.len() >= 20);
    for (index, case) in cases.iter().enumerate() {
        let name = case.get("template").and_then(Json::as_str).unwrap();
        let source = fixture
            .get("templates")
            .and_then(|templates| templates.get(name));
        let template = template(source.and_then(Json::as_str).unwrap());
        let rendered = render_case(&template, case);
        match case.get("text").and_then(Json::as_str) {
            Some(expected) => assert_eq!(rendered.unwrap(), expected, "{name}, case {index}"),
            None => assert!(rendered.is_err(), "{name}, case {index}: {rendered:?}"),
        }
    }
}

#[test]
fn messages_of_the_schema_render_as_json_does() {
    let fixture = fixture("chat.json");
    for case in fixture["cases"].as_array().unwrap() {
        let Some(expected) = case["text"].as_str() else {
            continue;
        };
        let name = case["template"].as_str().unwrap();
        // Arguments of calls lose the order of their keys on this way, and nulls their place.
        // Tools and variables lose the order of theirs.
        if matches!(name, "tools" | "values" | "json" | "documents")
            || expected.contains("other name")
        {
            continue;
        }
        let template = template(fixture["templates"][name].as_str().unwrap());
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let variables: Vec<(String, Json)> = match &case["variables"] {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect(),
            _ => Vec::new(),
        };
        let options = RenderOptions {
            add_generation_prompt: case["add_generation_prompt"] == true,
            variables: &variables,
            ..RenderOptions::default()
        };
        assert_eq!(
            template.render_with(&messages, &options).unwrap(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn thinking_is_a_variable_only_where_it_is_set() {
    let template = template("{{ enable_thinking is defined }} {{ enable_thinking }}");
    let render = |enable_thinking| {
        let options = RenderOptions {
            enable_thinking,
            ..RenderOptions::default()
        };
        template.render_with(&messages(), &options).unwrap()
    };
    assert_eq!(render(None), "False ");
    assert_eq!(render(Some(true)), "True True");
    assert_eq!(render(Some(false)), "True False");
}

#[test]
fn arguments_become_objects_where_that_is_asked_for() {
    let template = template("{{ messages[0].tool_calls[0].function.arguments | tojson }}");
    let render = |arguments: &str, parse_arguments| {
        let function = Json::Object(vec![("arguments".into(), arguments.into())]);
        let call = Json::Object(vec![("function".into(), function)]);
        let message = Json::Object(vec![
            ("role".into(), "assistant".into()),
            ("tool_calls".into(), Json::Array(vec![call])),
        ]);
        let options = RenderOptions {
            parse_arguments,
            ..RenderOptions::default()
        };
        template.render_json(&[message], &options).unwrap()
    };
    assert_eq!(render(r#"{"b":1,"a":2}"#, false), r#""{\"b\":1,\"a\":2}""#);
    assert_eq!(render(r#"{"b":1,"a":2}"#, true), r#"{"b": 1, "a": 2}"#);
    assert_eq!(render("not json", true), r#""not json""#);
    assert_eq!(render("3", true), r#""3""#);
}

#[test]
fn tools_have_a_template_of_their_own_where_the_file_has_one() {
    let template =
        ChatTemplate::with_tokens("default".into(), Some("tools".into()), Vec::new()).unwrap();
    let tools = Json::Array(Vec::new());
    let options = RenderOptions {
        tools: Some(&tools),
        ..RenderOptions::default()
    };
    assert_eq!(
        template.render_with(&messages(), &options).unwrap(),
        "tools"
    );
    assert_eq!(template.render(&messages(), false).unwrap(), "default");
    assert_eq!(template.source(), "default");
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

#[test]
fn a_template_must_end() {
    for source in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' * 90000000 * 90 }}",
    ] {
        let start = std::time::Instant::now();
        let error = template(source).render(&messages(), false).unwrap_err();
        assert!(matches!(error, Error::ChatTemplate { .. }), "{error:?}");
        assert!(
            start.elapsed().as_secs() < 20,
            "{source}: {:?}",
            start.elapsed()
        );
    }
    let recursion = template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    assert!(recursion.render(&messages(), false).is_err());
}

#[test]
fn broken_templates_are_refused() {
    for source in [
        "{% for %}",
        "{{",
        "{% endgeneration %}",
        "{% generation %}",
        "{% unknown %}",
        "{{ x | nofilter }}",
    ] {
        let tokens = Vec::new();
        let template = ChatTemplate::with_tokens(source.into(), None, tokens);
        let error = template.and_then(|template| template.render(&messages(), false));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::ChatTemplate { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
    let template = template("{{ messages | tojson(indent=99) }}");
    assert!(template.render(&messages(), false).is_err());
}

#[test]
fn what_is_no_json_is_refused() {
    for expression in [
        "nothing",
        "[nothing]",
        "'a' | tojson(separators=['x'])",
        "1 | tojson(unknown=1)",
    ] {
        let source = if expression.contains("tojson") {
            format!("{{{{ {expression} }}}}")
        } else {
            format!("{{{{ {expression} | tojson }}}}")
        };
        let rendered = ChatTemplate::with_tokens(source, None, Vec::new())
            .and_then(|template| template.render(&messages(), false));
        assert!(rendered.is_err(), "{expression}: {rendered:?}");
    }
}

#[test]
fn generation_tags_are_found_in_tags_only() {
    for (source, expected) in [
        ("{% generation %}", "{% with %}"),
        (
            "{%- generation -%}x{%-endgeneration+%}",
            "{%- with -%}x{%-endwith+%}",
        ),
        (
            "{# {% generation %} #}{{ '{% generation %}' }}",
            "{# {% generation %} #}{{ '{% generation %}' }}",
        ),
        ("{% if generation %}", "{% if generation %}"),
        ("{ {% generation", "{ {% generation"),
        ("plain {", "plain {"),
        (
            "{%- raw %}{% generation %}{{{% endraw -%}{% generation %}",
            "{%- raw %}{% generation %}{{{% endraw -%}{% with %}",
        ),
        ("{% raw %}{% generation %}", "{% raw %}{% generation %}"),
    ] {
        assert_eq!(without_generation_tags(source), expected);
    }
}
