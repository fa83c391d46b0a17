//! Any text from the agent, hostile or not: no panic, and a transcript in order.

use candor_world::{Next, parse_turn};
use proptest::prelude::*;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{FORMS, episodes, expect_order};

/// What calls are made of, and what is not.
const PIECES: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "<think>",
    "</think>",
    "{\"name\": \"",
    "\"name\"",
    "\"arguments\": {",
    "read_log",
    "write_log",
    "copy_self",
    "book_compute",
    "\"text\": \"",
    "\"hours\": 99999999999999999999",
    "\"machine\": ",
    "null",
    "}",
    "}}",
    "[[[[",
    "\"",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\n",
    "é漢🙂",
    "<|im_end|>",
    "{question}",
    " ",
    "-1e309",
];

#[test]
fn any_pieces_in_any_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for round in 0..12 {
        for form in FORMS {
            for mut episode in episodes(round * 3..round * 3 + 3, form) {
                while episode.next() != Next::Nothing {
                    let n_pieces = rng.random_range(0..24);
                    let pieces = (0..n_pieces).map(|_| *PIECES.choose(&mut rng).unwrap());
                    let text: String = pieces.collect();
                    episode.take(&text).unwrap();
                    expect_order(&episode);
                    serde_json::to_string(&episode.dialogue()).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_good_call_with_some_bytes_changed() {
    let good = "Look.\n<tool_call>\n{\"name\": \"write_log\", \"arguments\": {\"text\": \"all quiet\", \
                \"replaces\": 1}}\n</tool_call>";
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let mut n_read = 0;
    for _ in 0..4000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..3) {
                0 => bytes[at] = rng.random_range(32..127),
                1 => _ = bytes.remove(at),
                _ => bytes.insert(at, rng.random_range(32..127)),
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        n_read += u32::from(parse_turn(&text).is_ok_and(|turn| !turn.calls.is_empty()));
    }
    assert!((400..3800).contains(&n_read), "{n_read}");
}

proptest! {
    #[test]
    fn any_text(text in any::<String>(), inside in any::<String>()) {
        let _ = parse_turn(&text);
        let _ = parse_turn(&format!("{text}<tool_call>{inside}</tool_call>"));
        for mut episode in episodes(0..1, FORMS[0]) {
            episode.take(&text).unwrap();
            expect_order(&episode);
        }
    }
}
