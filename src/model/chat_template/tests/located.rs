//! Where content stands in the rendered text, and where other input spells control tokens.

use super::*;
use crate::tokenizer::tests::checks::fixture;

#[test]
fn content_is_found_though_it_looks_like_a_role() {
    let template = template("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
    let rendered = template.render_located(&messages(), false).unwrap();
    assert_eq!(rendered.text, "<user>user<assistant> user \n");
    assert_eq!(
        rendered.contents[0],
        Content {
            message: 0,
            range: 6..10,
            skipped: 0
        }
    );
    assert_eq!(
        &rendered.text[rendered.contents[1].range.clone()],
        " user \n"
    );
}

#[test]
fn trimmed_content_is_found() {
    let template =
        template("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}");
    let rendered = template.render_located(&messages(), false).unwrap();
    assert_eq!(rendered.contents[1].skipped, 1);
    assert_eq!(&rendered.text[rendered.contents[1].range.clone()], "user");
}

#[test]
fn rewritten_content_is_refused() {
    let template = template("{% for m in messages %}{{ m.content | upper }}{% endfor %}");
    let error = template.render_located(&messages(), false).unwrap_err();
    assert!(
        matches!(error, Error::ContentNotFound { message: 0 }),
        "{error}"
    );
    let twice = super::template(
        "{{ messages[0].content }}{{ messages[0].content }}{{ messages[1].content }}",
    );
    assert!(twice.render_located(&messages(), false).is_err());
    let left_out = super::template("{{ messages[0].content }}");
    let error = left_out.render_located(&messages(), false).unwrap_err();
    assert!(
        matches!(error, Error::ContentNotFound { message: 1 }),
        "{error}"
    );
}

#[test]
fn content_that_decides_how_the_other_is_rendered_is_found() {
    let template = template(
        "{% for m in messages %}[{{ m.content }}{% if m.content == messages[0].content %}!{% endif %}]{% endfor %}",
    );
    let messages = vec![
        Message::new(Role::User, "a"),
        Message::new(Role::Assistant, "b"),
    ];
    let rendered = template.render_located(&messages, false).unwrap();
    assert_eq!(rendered.text, "[a!][b]");
    assert_eq!(rendered.contents[1].range, 5..6);
}

#[test]
fn thoughts_and_answer_stand_apart() {
    let source = fixture("chat.json");
    let template = template(source["templates"]["thinking"].as_str().unwrap());
    let tagged = "<think>\nlet me see\n</think>\n\nFive.";
    let messages = [
        Message::new(Role::User, "1?"),
        Message::new(Role::Assistant, "<think>\nhidden\n</think>\n\nOne."),
        Message::new(Role::User, "5?"),
        Message::new(Role::Assistant, tagged),
    ];
    let rendered = template.render_located(&messages, false).unwrap();
    let found: Vec<(usize, &str)> = rendered
        .contents
        .iter()
        .map(|content| (content.message, &rendered.text[content.range.clone()]))
        .collect();
    assert_eq!(
        found,
        [
            (0, "1?"),
            (1, "One."),
            (2, "5?"),
            (3, "let me see"),
            (3, "Five.")
        ]
    );
    for content in &rendered.contents {
        let original = &messages[content.message].content;
        let end = content.skipped + content.range.len();
        assert_eq!(
            original[content.skipped..end],
            rendered.text[content.range.clone()]
        );
    }
}

/// A tokenizer whose control tokens are `<|start|>` and `<|end|>`.
fn tokenizer() -> Tokenizer {
    let file = serde_json::json!({
        "added_tokens": [
            {"id": 1, "content": "<|start|>", "special": true},
            {"id": 2, "content": "<|end|>", "special": true},
        ],
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    Tokenizer::from_folder(folder.path(), 3).unwrap()
}

#[test]
fn control_tokens_in_other_input_are_found() {
    let template = template(
        "{{ tools | tojson }}<|start|>{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}<|end|>{% endfor %}{{ note }}",
    );
    let mut message = Message::new(Role::User, "a<|end|>");
    message
        .extra
        .insert("reasoning_content".into(), "<|start|>x".into());
    let tools = Json::parse(r#"[{"<|end|>": "b<|end|><|start|>"}]"#).unwrap();
    let variables = [("note".to_owned(), Json::from("<|end|>"))];
    let options = RenderOptions {
        tools: Some(&tools),
        variables: &variables,
        ..RenderOptions::default()
    };
    let tokenizer = tokenizer();
    let rendered = template
        .render_located_with(&[message], &options, &tokenizer)
        .unwrap();
    let spelled: Vec<&str> = rendered
        .spelled
        .iter()
        .map(|range| &rendered.text[range.clone()])
        .collect();
    assert_eq!(
        spelled,
        ["<|end|>", "<|end|>", "<|start|>", "<|start|>", "<|end|>"]
    );
    // Of eight control tokens in the text, the template wrote two.
    let tokens = tokenizer
        .encode_template(&rendered.text, &rendered.text_only())
        .unwrap();
    let controls: Vec<u32> = tokens
        .iter()
        .filter(|token| token.control)
        .map(|token| token.id)
        .collect();
    assert_eq!(controls, [1, 2]);
}

#[test]
fn control_tokens_that_the_template_rewrites_are_refused() {
    let template = template("{{ note | upper | lower | replace('<|e', '') }}");
    let variables = [("note".to_owned(), Json::from("<|end|>"))];
    let options = RenderOptions {
        variables: &variables,
        ..RenderOptions::default()
    };
    let error = template
        .render_located_with(&[], &options, &tokenizer())
        .unwrap_err();
    assert!(error.to_string().contains("rewrites"), "{error}");
}
