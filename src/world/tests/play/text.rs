//! What episodes say: complete texts, other names for other seeds, nothing shared by two splits.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::{Incentive, Split};
use candor_world::{Episode, Error, Next, ToolForm, situation_names};

use crate::{FORMS, INCENTIVES, episodes};

#[test]
fn no_text_has_a_gap() {
    for form in FORMS {
        for mut episode in episodes(0..60, form) {
            episode.ask();
            for message in episode.messages() {
                // The example of a call and arguments have braces of their own.
                let text = message
                    .content
                    .replace("{\"name\": ", "")
                    .replace("{}}", "");
                assert!(!text.contains(['{', '}']), "{}: {text}", episode.id());
                assert!(!text.contains("  "), "{}: {text}", episode.id());
                assert!(!text.contains(".."), "{}: {text}", episode.id());
            }
        }
    }
}

#[test]
fn an_incentive_changes_the_system_prompt_and_nothing_else() {
    for name in situation_names() {
        for seed in 0..10 {
            let episodes = INCENTIVES
                .map(|incentive| Episode::new(name, seed, incentive, ToolForm::Template).unwrap());
            let systems: BTreeSet<&str> = episodes
                .iter()
                .map(|episode| episode.messages()[0].content.as_str())
                .collect();
            assert_eq!(systems.len(), 3);
            for episode in &episodes[1..] {
                assert_eq!(episode.messages()[1..], episodes[0].messages()[1..]);
                assert_eq!(episode.world(), episodes[0].world());
                assert_eq!(episode.question(), episodes[0].question());
            }
        }
    }
}

#[test]
fn seeds_have_facts_of_their_own() {
    for name in situation_names() {
        let texts: BTreeSet<String> = (0..40)
            .map(|seed| {
                let episode = Episode::new(name, seed, Incentive::Neutral, ToolForm::Template);
                episode.unwrap().messages()[0].content.clone()
            })
            .collect();
        assert_eq!(texts.len(), 40, "{name}");
    }
}

#[test]
fn no_name_and_no_wording_is_in_two_splits() {
    let mut seen: BTreeMap<String, Split> = BTreeMap::new();
    let mut n_splits: BTreeMap<Split, usize> = BTreeMap::new();
    for mut episode in episodes(0..300, ToolForm::Template) {
        episode.ask();
        let dialogue = episode.dialogue();
        *n_splits.entry(dialogue.split).or_default() += 1;
        let marks = dialogue.entities.iter().map(|name| name.to_lowercase());
        for mark in marks.chain(dialogue.template.clone()) {
            let split = *seen.entry(mark.clone()).or_insert(dialogue.split);
            assert_eq!(split, dialogue.split, "{mark}");
        }
        // Every name in the prompt that belongs to the world is listed.
        let world = episode.world();
        for name in [&world.agent, &world.place, &world.operator.name] {
            assert!(dialogue.entities.contains(name), "{name}");
        }
    }
    let share = |split| n_splits[&split] as f64 / 2100.0;
    assert!((share(Split::Train) - 0.5).abs() < 0.08);
    assert!((share(Split::Validation) - 0.2).abs() < 0.08);
    assert!((share(Split::Test) - 0.3).abs() < 0.08);
}

#[test]
fn every_question_and_wording_is_used() {
    let mut questions = BTreeSet::new();
    let mut templates = BTreeSet::new();
    let (mut yes, mut no) = (0, 0);
    for episode in episodes(0..200, ToolForm::Template) {
        questions.insert(episode.question());
        templates.insert(episode.dialogue().template);
        match episode.truth() {
            candor_world::Truth::YesNo(true) => yes += 1,
            candor_world::Truth::YesNo(false) => no += 1,
            candor_world::Truth::Count(_) => {}
        }
    }
    assert_eq!(questions.len(), 20);
    assert_eq!(templates.len(), 28);
    // Both answers are true often enough, before the agent does anything.
    assert!(yes > 150 && no > 150, "{yes} yes, {no} no");
}

#[test]
fn the_neutral_prompt_differs_by_its_incentive_only() {
    for mut episode in episodes(0..30, ToolForm::Template) {
        assert!(episode.neutral().is_none());
        episode.ask();
        let asked = episode.neutral().unwrap();
        assert_eq!(asked.messages[1..], episode.messages()[1..]);
        assert_eq!(asked.key, Some(episode.key()));
        assert_eq!(asked.incentive, Some(Incentive::Neutral));
        let mut id = episode.id();
        id.truncate(id.find('-').unwrap());
        let seed = episode.id().rsplit('-').next().unwrap().parse().unwrap();
        let neutral = Episode::new(&id, seed, Incentive::Neutral, ToolForm::Template).unwrap();
        assert_eq!(asked.messages[0], neutral.messages()[0]);
        episode.take("Yes.").unwrap();
        assert_eq!(episode.neutral().unwrap().messages, asked.messages);
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let error = Episode::new("flood", 0, Incentive::Neutral, ToolForm::Words).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no situation `flood` (there are shutdown, ")
    );
    assert!(!error.hint().is_empty());
    let error = Episode::new("ward", 0, Incentive::None, ToolForm::Words).unwrap_err();
    assert_eq!(error, Error::NoIncentive);

    let mut episode = Episode::new("ward", 0, Incentive::Honest, ToolForm::Words).unwrap();
    episode.ask();
    episode.take("No.").unwrap();
    assert_eq!(episode.next(), Next::Nothing);
    let error = episode.take("Or yes.").unwrap_err();
    assert_eq!(error.to_string(), "episode `ward-honest-0` is over");
}
