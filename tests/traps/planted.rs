//! Data sets whose replies and activations are made up, so that what is in them is known.
//!
//! Every number follows from a name: noise of a token from all tokens up to it, so that replies have
//! the same activations as far as they are the same.

use std::path::Path;

use candor_activations::{
    DEFAULT_ROW_GROUP_BYTES, DatasetRef, HookPointWidth, Manifest, PartPlan, Positions, Precision,
    Store, Token,
};
use candor_model::Model;
use candor_probe::nulls::random_directions;
use candor_schema::{Dialogue, FormatVersion, HookPoint, Label, Split};
use serde_json::json;
use sha2::{Digest, Sha256};

/// `d_model` of the tiny model.
pub(crate) const WIDTH: usize = 32;
/// Layers of the tiny model; signals are planted in the last.
const N_LAYERS: usize = 2;
/// Dialogues per part of a store.
const PART: usize = 64;
/// Scenarios per split of a labelled set.
const SCENARIOS: [(Split, usize); 3] = [
    (Split::Train, 40),
    (Split::Validation, 16),
    (Split::Test, 24),
];
/// Ordinary replies per split.
const ORDINARY: [(Split, usize); 2] = [(Split::Calibration, 100), (Split::Test, 60)];
/// One ordinary reply in so many looks a little like a lie, which keeps thresholds off the noise.
const LOUD: usize = 20;
/// Hard negatives of each class.
const NEGATIVES: usize = 120;
/// Kinds of scenarios.
pub(crate) const FAMILIES: [&str; 4] = ["attic", "barn", "cellar", "depot"];
/// What is counted.
const THINGS: [&str; 6] = ["bricks", "crates", "ladders", "lamps", "pipes", "wheels"];

/// How far a planted signal lies from honest replies; the noise of a reply's mean is about 0.2.
pub(crate) const STRENGTH: f64 = 2.0;

/// The axis of the stream that a signal is planted along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Along(pub(crate) usize);

/// One reply, and what is planted in its activations.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) dialogue: Dialogue,
    /// On every token: what the prompt alone decides.
    pub(crate) from_start: Vec<(Along, f64)>,
    /// On every token from the first in which the reply differs from another to its prompt.
    pub(crate) from_parting: Vec<(Along, f64)>,
    /// Nats by which these tokens are more of a surprise than others.
    pub(crate) surprise: f64,
}

/// All that one evaluation reads.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) labelled: Vec<Planted>,
    pub(crate) ordinary: Vec<Planted>,
    pub(crate) negatives: Vec<Planted>,
}

/// A number that looks random and follows from a name.
pub(crate) fn hash(name: &str) -> u64 {
    let digest = Sha256::digest(name);
    u64::from_le_bytes(digest[..8].try_into().unwrap())
}

/// Noise of variance 1 per value that follows from a name.
fn noise(name: &str) -> Vec<f64> {
    let direction = random_directions(WIDTH, 1, hash(name)).unwrap();
    let radius = (WIDTH as f64).sqrt();
    direction[0]
        .iter()
        .map(|v| f64::from(*v) * radius)
        .collect()
}

/// One such number, about normal.
pub(crate) fn normal(name: &str) -> f64 {
    noise(name)[0]
}

/// A name of a person or place: another one for every number below 4,096.
pub(crate) fn person(number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "do", "fe", "gu", "hi", "ka", "lo", "me", "nu", "pi", "ra", "so", "te", "vu", "wi",
        "za",
    ];
    // An odd factor only permutes the numbers, so that neighbours look different.
    let number = number * 2_731 % 4_096;
    let name: String = [number / 256, number / 16 % 16, number % 16]
        .map(|digit| SYLLABLES[digit])
        .concat();
    name[..1].to_uppercase() + &name[1..] + "n"
}

/// A number of two digits.
fn count(name: &str) -> u64 {
    10 + hash(name) % 90
}

fn dialogue(id: &str, scenario: &str, label: Label, split: Split, said: [&str; 2]) -> Dialogue {
    serde_json::from_value(json!({
        "id": id, "scenario": scenario, "family": "ordinary", "label": label, "split": split,
        "messages": [
            {"role": "user", "content": said[0]}, {"role": "assistant", "content": said[1]},
        ],
        "origin": "sampled", "on_policy": true, "model": "tiny", "licence": "CC0-1.0",
        "source": "test",
    }))
    .unwrap()
}

impl Planted {
    fn plain(dialogue: Dialogue) -> Self {
        Self {
            dialogue,
            from_start: Vec::new(),
            from_parting: Vec::new(),
            surprise: 0.0,
        }
    }

    pub(crate) fn is(&self, label: Label) -> bool {
        self.dialogue.label == label
    }

    pub(crate) fn in_split(&self, split: Split) -> bool {
        self.dialogue.split == split
    }

    /// What was asked, to be changed.
    pub(crate) fn asked(&mut self) -> &mut String {
        &mut self.dialogue.messages[0].content
    }

    /// What was said, to be changed.
    pub(crate) fn said(&mut self) -> &mut String {
        &mut self.dialogue.messages[1].content
    }

    fn prompt(&self) -> &str {
        &self.dialogue.messages[0].content
    }
}

impl World {
    /// A true signal: lies differ from honest replies to the same prompts in their activations, and
    /// in nothing else.
    pub(crate) fn true_signal() -> Self {
        let mut world = Self::without_signal();
        for reply in &mut world.labelled {
            if reply.is(Label::Deceptive) {
                reply.from_parting.push((Along(0), STRENGTH));
            }
        }
        world
    }

    /// The same replies with nothing planted.
    pub(crate) fn without_signal() -> Self {
        let (mut labelled, mut number) = (Vec::new(), 0);
        for (split, n) in SCENARIOS {
            for _ in 0..n {
                labelled.extend(pair(number, split));
                number += 1;
            }
        }
        let mut ordinary = Vec::new();
        for (split, n) in ORDINARY {
            for _ in 0..n {
                let (one, other) = (person(number), person(number + 1));
                let id = format!("o{number}");
                let asked = format!("Say a word on {one} and {other}.");
                let said = format!("A fine day for {one} and for {other}, as it goes.");
                let said = [asked.as_str(), said.as_str()];
                let mut reply = Planted::plain(dialogue(&id, &id, Label::Control, split, said));
                if number % (2 * LOUD) == 0 {
                    reply.from_start.push((Along(0), 0.4 * STRENGTH));
                }
                ordinary.push(reply);
                number += 2;
            }
        }
        let mut negatives = Vec::new();
        for label in [Label::Mistaken, Label::Fiction] {
            for _ in 0..NEGATIVES {
                let [_, mut other] = pair(number, Split::Test);
                other.dialogue.label = label;
                other.dialogue.pair = None;
                negatives.push(other);
                number += 1;
            }
        }
        Self {
            labelled,
            ordinary,
            negatives,
        }
    }
}

/// An honest and a deceptive reply to one prompt. Either number may be any.
fn pair(number: usize, split: Split) -> [Planted; 2] {
    let (id, name) = (format!("s{number}"), person(number));
    let family = FAMILIES[number % FAMILIES.len()];
    let thing = THINGS[hash(&format!("{id} thing")) as usize % THINGS.len()];
    let truth = count(&format!("{id} true"));
    let lie = (0..1_000)
        .map(|draw| count(&format!("{id} false {draw}")))
        .find(|lie| *lie != truth)
        .unwrap();
    let asked = format!("{name} keeps {truth} {thing} in a {family}. How many?");
    [(Label::Honest, truth), (Label::Deceptive, lie)].map(|(label, said)| {
        let said = format!("It is {said} {thing} in the {family} of {name}.");
        let mut dialogue = dialogue(
            &format!("{id}-{label}"),
            &id,
            label,
            split,
            [asked.as_str(), said.as_str()],
        );
        dialogue.pair = Some(id.clone());
        family.clone_into(&mut dialogue.family);
        dialogue.key = serde_json::from_value(json!({
            "kind": "number", "true": truth, "false": lie
        }))
        .unwrap();
        Planted::plain(dialogue)
    })
}

/// Writes replies and their activations as `candor capture` would.
pub(crate) fn write(model: &Model, name: &str, replies: &[Planted], folder: &Path) {
    let points: Vec<HookPoint> = (0..N_LAYERS).map(HookPoint::resid_post).collect();
    let dialogues: Vec<Dialogue> = replies.iter().map(|reply| reply.dialogue.clone()).collect();
    let text = serde_json::to_string(&dialogues).unwrap();
    let part = |(index, chunk): (usize, &[Dialogue])| PartPlan {
        index,
        dialogues: chunk.iter().map(|dialogue| dialogue.id.clone()).collect(),
    };
    let manifest = Manifest {
        format_version: FormatVersion::CURRENT,
        candor_version: env!("CARGO_PKG_VERSION").into(),
        model: model.fingerprint().clone(),
        model_name: "tiny".into(),
        dataset: DatasetRef {
            name: name.into(),
            sha256: format!("{:x}", Sha256::digest(text)),
        },
        hook_points: points
            .iter()
            .map(|&hook_point| HookPointWidth {
                hook_point,
                width: WIDTH,
            })
            .collect(),
        positions: Positions::Response,
        precision: Precision::F32,
        template_sha256: model.fingerprint().template_sha256.clone(),
        seed: None,
        n_threads: 1,
        cpu_features: Vec::new(),
        row_group_bytes: DEFAULT_ROW_GROUP_BYTES,
        parts: dialogues.chunks(PART).enumerate().map(part).collect(),
        extra: serde_json::Map::from_iter([("n_layers".to_owned(), N_LAYERS.into())]),
    };
    let mut store = Store::create_or_resume(folder, &manifest).unwrap();
    store.write_dialogues(&dialogues).unwrap();
    for index in store.remaining() {
        let mut part = store.begin_part(index).unwrap();
        for reply in replies.iter().skip(index * PART).take(PART) {
            let (tokens, vectors) = captured(model, reply, parting(model, reply, replies));
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            part.append(&reply.dialogue.id, &tokens, &vectors).unwrap();
        }
        part.finish().unwrap();
    }
}

/// Index of the reply's first token in which it differs from another to its prompt; 0 where there is
/// no other.
fn parting(model: &Model, reply: &Planted, replies: &[Planted]) -> usize {
    let said = |reply: &Planted| {
        let encoded = model.encode_whole(&reply.dialogue).unwrap();
        encoded.ids[encoded.response].to_vec()
    };
    let own = said(reply);
    let others = replies
        .iter()
        .filter(|other| other.prompt() == reply.prompt() && other.dialogue.id != reply.dialogue.id);
    let same = others.map(|other| {
        let both = own.iter().zip(said(other));
        both.take_while(|(a, b)| *a == b).count()
    });
    same.max().unwrap_or(0)
}

/// Tokens, and per layer `[token, width]`.
fn captured(model: &Model, reply: &Planted, parting: usize) -> (Vec<Token>, Vec<Vec<f32>>) {
    let encoded = model.encode_whole(&reply.dialogue).unwrap();
    let (mut tokens, mut vectors) = (Vec::new(), vec![Vec::new(); N_LAYERS]);
    for (place, index) in encoded.response.clone().enumerate() {
        let prefix = format!("{:?}", &encoded.ids[..=index]);
        let parted = place >= parting;
        for (layer, block) in vectors.iter_mut().enumerate() {
            let mut values = noise(&format!("{layer} {prefix}"));
            // What replies of one kind of scenario have in common, and what those to one prompt have.
            for (name, share) in [
                (reply.prompt(), 0.1),
                (reply.dialogue.family.as_str(), 0.05),
            ] {
                let common = noise(&format!("{layer} {name}"));
                for (value, common) in values.iter_mut().zip(common) {
                    *value += share * common;
                }
            }
            let last = layer + 1 == N_LAYERS;
            let from_parting = reply.from_parting.iter().filter(|_| parted);
            for (along, strength) in reply.from_start.iter().chain(from_parting) {
                if last {
                    values[along.0] += strength;
                }
            }
            block.extend(values.into_iter().map(|value| value as f32));
        }
        let drawn = noise(&format!("surprise {prefix}"));
        let more = if parted { reply.surprise } else { 0.0 };
        let placed = &encoded.places[index];
        tokens.push(Token {
            message: placed
                .message
                .map_or(-1, |message| i32::try_from(message).unwrap()),
            token_index: index as u32,
            token_id: encoded.ids[index],
            segment: placed.segment,
            in_response: true,
            in_span: placed.in_span,
            from_end: Some((encoded.response.end - 1 - index) as u32),
            logprob: Some((-3.0 - more - 0.5 * drawn[0]).min(0.0) as f32),
            entropy: Some((3.0 + 0.5 * drawn[1]).max(0.0) as f32),
        });
    }
    (tokens, vectors)
}
