//! Tools of a dialogue, as templates expect them, and whether a template knows tools at all.

use candor_schema::{Message, Role, ToolCall};
use serde_json::{Value, json};

use super::{ChatTemplate, RenderOptions};
use crate::json::Json;

/// Order in which OpenAI's documentation, and with it the texts that models were trained on, writes
/// the fields of a tool and of a JSON schema. Others follow in the order of their names.
const ORDER: &[&str] = &[
    "type",
    "function",
    "name",
    "description",
    "parameters",
    "enum",
    "properties",
    "required",
];

/// Tools as a list for a template, with their fields in the usual order, which
/// [`serde_json::Value`] does not keep.
pub(crate) fn tool_list(tools: &[Value]) -> Json {
    let mut list = Json::Array(tools.iter().cloned().map(Json::from).collect());
    order(&mut list, true);
    list
}

/// Orders the fields of an object and of what is in it. The keys of `properties` are names of
/// arguments and stay as they are.
fn order(json: &mut Json, fields: bool) {
    match json {
        Json::Array(values) => values.iter_mut().for_each(|value| order(value, true)),
        Json::Object(entries) => {
            if fields {
                let place = |key: &str| ORDER.iter().position(|known| *known == key);
                entries.sort_by_key(|(key, _)| place(key).unwrap_or(ORDER.len()));
            }
            for (key, value) in entries {
                order(value, !(fields && key == "properties"));
            }
        }
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) => {}
    }
}

impl ChatTemplate {
    /// Whether the template writes tools, calls and their results into the text: for a short dialogue
    /// with one of each. A template that refuses such a dialogue does not know tools.
    pub fn knows_tools(&self) -> bool {
        let marks = ["candor_offered", "candor_called", "candor_returned"];
        let tools = [json!({"type": "function", "function": {
            "name": marks[0], "description": "None.",
            "parameters": {"type": "object", "properties": {}, "required": []},
        }})];
        let call = json!({
            "id": "call00001", "type": "function",
            "function": {"name": marks[1], "arguments": "{}"},
        });
        let Value::Object(fields) = call else {
            return false;
        };
        let mut called = Message::new(Role::Assistant, "");
        called.tool_calls = Some(vec![ToolCall { fields }]);
        let mut returned = Message::new(Role::Tool, marks[2]);
        returned
            .extra
            .insert("tool_call_id".to_owned(), "call00001".into());
        let messages = [
            Message::new(Role::System, "Begin."),
            Message::new(Role::User, "Go."),
            called,
            returned,
            Message::new(Role::User, "Well?"),
        ];
        let tools = tool_list(&tools);
        let options = RenderOptions {
            add_generation_prompt: true,
            tools: Some(&tools),
            parse_arguments: true,
            ..RenderOptions::default()
        };
        let text = self.render_with(&messages, &options);
        text.is_ok_and(|text| marks.iter().all(|mark| text.contains(mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_usual_order_and_arguments_keep_theirs() {
        let tools = [json!({"function": {
            "parameters": {
                "required": ["type"], "type": "object",
                "properties": {
                    "text": {"maxLength": 3, "description": "d", "type": "string"},
                    "name": {"enum": ["a"], "type": "string"},
                    "type": {"type": "integer"},
                },
            },
            "description": "d", "name": "n",
        }, "type": "function"})];
        let source = "{{ tools | tojson }}";
        let template = ChatTemplate::with_tokens(source.into(), None, Vec::new()).unwrap();
        let list = tool_list(&tools);
        let options = RenderOptions {
            tools: Some(&list),
            ..RenderOptions::default()
        };
        assert_eq!(
            template.render_with(&[], &options).unwrap(),
            "[{\"type\": \"function\", \"function\": {\"name\": \"n\", \"description\": \"d\", \
             \"parameters\": {\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \
             \"enum\": [\"a\"]}, \"text\": {\"type\": \"string\", \"description\": \"d\", \
             \"maxLength\": 3}, \"type\": {\"type\": \"integer\"}}, \"required\": [\"type\"]}}}]"
        );
    }

    #[test]
    fn a_template_knows_tools_if_it_writes_all_of_them() {
        let offered = "{{ tools | tojson }}";
        let called = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}\
                      {{ c.function.name }}{% endfor %}{% endfor %}";
        let plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
        let refuses = "{{ raise_exception('roles must alternate') }}";
        for (source, expected) in [
            (format!("{offered}{called}"), true),
            (format!("{offered}{plain}"), false),
            (called.to_owned(), false),
            (plain.to_owned(), false),
            (format!("{offered}{called}{refuses}"), false),
        ] {
            let template = ChatTemplate::with_tokens(source.clone(), None, Vec::new()).unwrap();
            assert_eq!(template.knows_tools(), expected, "{source}");
        }
    }
}
