//! Verdicts.

use candor_schema::{OnPolicy, ProbeMatch, Role, ScoreSource, VerdictKind};
use candor_server::ServerOptions;
use serde_json::json;

use crate::world::{ALPHA, BETA, World, chat, close, lasting, post, with};

#[tokio::test]
async fn a_chat_is_scored_by_every_probe() {
    let Some(world) = World::new() else { return };
    let verdict = world.verdict(&chat()).await;
    assert_eq!(verdict.source, ScoreSource::Read);
    assert_eq!(verdict.on_policy, OnPolicy::Unknown);
    assert_eq!(verdict.probe_match, ProbeMatch::Exact);
    assert_eq!(verdict.model, world.model.name());
    assert!(verdict.exact);
    let names: Vec<&str> = verdict
        .probes
        .iter()
        .map(|probe| probe.name.as_str())
        .collect();
    assert_eq!(names, [ALPHA, BETA]);
    let [alpha, beta] = &verdict.probes[..] else {
        unreachable!()
    };
    assert_ne!(alpha.verdict, VerdictKind::Abstain);
    assert!(alpha.probability.is_some_and(|p| (0.0..=1.0).contains(&p)));
    assert_eq!(verdict.scores.deception, alpha.probability);
    // What is not certified abstains, and says so.
    assert_eq!(beta.verdict, VerdictKind::Abstain);
    assert_eq!((beta.probability, beta.threshold), (None, None));
    assert!(alpha.tokens.is_none() && alpha.readings.is_none());
    assert!(alpha.intent.is_some());

    let timing = verdict.timing_ms;
    assert!(
        timing.inference > 0.0 && timing.total >= timing.inference,
        "{timing:?}"
    );
    assert!(verdict.usage.prompt_tokens > 0 && verdict.usage.response_tokens > 0);
}

#[tokio::test]
async fn the_alias_says_the_same() {
    let Some(world) = World::new() else { return };
    let named = post(&world.app, "/v1/score", &chat()).await.verdict();
    let alias = post(&world.app, "/score", &chat()).await.verdict();
    assert_eq!(lasting(&named), lasting(&alias));
    assert_ne!(named.id, alias.id);
}

#[tokio::test]
async fn probes_are_chosen_by_name() {
    let Some(world) = World::new() else { return };
    let all = world.verdict(&chat()).await;
    for (names, indices) in [
        (json!([BETA]), vec![1]),
        (json!([ALPHA]), vec![0]),
        (json!([BETA, ALPHA]), vec![1, 0]),
    ] {
        let verdict = world
            .verdict(&with(&chat(), &json!({"probes": names})))
            .await;
        assert_eq!(verdict.probes.len(), indices.len());
        for (probe, index) in verdict.probes.iter().zip(indices) {
            assert_eq!(probe.name, all.probes[index].name);
            close(probe.logit, all.probes[index].logit, 1e-5);
        }
    }
}

#[tokio::test]
async fn detail_is_given_when_asked_for() {
    let Some(world) = World::new() else { return };
    let more =
        json!({"tokens": true, "readings": true, "on_policy": "yes", "model": world.model.name()});
    let verdict = world.verdict(&with(&chat(), &more)).await;
    assert_eq!(verdict.on_policy, OnPolicy::Yes);
    let tokens = verdict.probes[0].tokens.as_ref().unwrap();
    assert_eq!(tokens.len(), verdict.usage.response_tokens);
    let text: String = tokens
        .iter()
        .filter_map(|token| token.text.as_deref())
        .collect();
    assert_eq!(text, "No, I switched it off an hour ago.");
    let logits = tokens.iter().map(|token| token.logit.unwrap());
    close(
        logits.sum::<f64>() / tokens.len() as f64,
        verdict.probes[0].logit,
        1e-4,
    );
    let readings = verdict.probes[1].readings.as_ref().unwrap();
    let points: Vec<String> = readings.iter().map(|r| r.hook_point.to_string()).collect();
    assert_eq!(
        points,
        ["blocks.1.hook_resid_post", "blocks.3.hook_resid_post"]
    );
}

#[tokio::test]
async fn without_text_no_reply_quotes_any() {
    let options = ServerOptions {
        no_text: true,
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let reply = world.score(&with(&chat(), &json!({"tokens": true}))).await;
    let tokens = reply.verdict().probes[0].tokens.clone().unwrap();
    assert!(
        tokens
            .iter()
            .all(|token| token.text.is_none() && token.logit.is_some())
    );
    assert!(!reply.text.contains("switched"), "{}", reply.text);
}

/// Messages, the text that they are rendered to and its token ids are one reply.
#[tokio::test]
async fn three_forms_of_one_reply() {
    let Some(world) = World::new() else { return };
    let messages = [
        candor_schema::Message::new(Role::User, "Is the pump on?"),
        candor_schema::Message::new(Role::Assistant, "No, I switched it off an hour ago."),
    ];
    let encoded = world.model.encode_dialogue(&messages, &[]).unwrap();
    let (prompt, response) = (
        &encoded.ids[..encoded.response.start],
        &encoded.ids[encoded.response.clone()],
    );
    let more = json!({"tokens": true, "readings": true});
    let as_messages = world.verdict(&with(&chat(), &more)).await;
    let ids = json!({"token_ids": {"prompt": prompt, "response": response}});
    let as_ids = world.verdict(&with(&ids, &more)).await;
    assert_eq!(lasting(&as_messages), lasting(&as_ids));

    let parts = json!({"messages": [
        {"role": "user", "content": [{"type": "text", "text": "Is the "}, {"type": "text", "text": "pump on?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "No, I switched it off an hour ago."}]},
    ]});
    let as_parts = world.verdict(&with(&parts, &more)).await;
    assert_eq!(lasting(&as_messages), lasting(&as_parts));
}

#[tokio::test]
async fn plain_text_is_scored() {
    let Some(world) = World::new() else { return };
    let encoded = world.model.encode_text("The pump is ", "off.").unwrap();
    let text = json!({"prompt": "The pump is ", "response": "off."});
    let ids = json!({"token_ids": {
        "prompt": &encoded.ids[..encoded.response.start],
        "response": &encoded.ids[encoded.response.clone()],
    }});
    let (text, ids) = (world.verdict(&text).await, world.verdict(&ids).await);
    assert_eq!(lasting(&text), lasting(&ids));
    // Without a prompt there is no intent, which is not the same as an intent of zero.
    let bare = world
        .verdict(&json!({"prompt": "", "response": "off."}))
        .await;
    assert_eq!(
        bare.probes[0].intent.is_some(),
        bare.usage.prompt_tokens > 0
    );
}
