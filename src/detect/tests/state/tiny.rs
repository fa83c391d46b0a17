//! A model of a few kilobytes: four blocks, 32 wide, random weights, a token per byte.

use std::collections::BTreeSet;

use candor_model::Model;

const D_MODEL: usize = 32;
const D_KV: usize = 16;
const D_MLP: usize = 48;
const N_LAYERS: usize = 4;
/// Longest text.
pub(crate) const N_CTX: usize = 256;
const N_VOCAB: usize = 258;

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {{ message.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// GGUF's numbers of value types.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Writes the model to a file and opens it.
pub(crate) fn model() -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, file()).unwrap();
    Model::open(&path).unwrap()
}

/// The token of a byte.
pub(crate) fn byte(byte: u8) -> u32 {
    u32::from(byte)
}

fn file() -> Vec<u8> {
    let mut entries: Vec<(&str, u32, Vec<u8>)> = vec![
        ("general.architecture", STRING, string("llama")),
        ("general.name", STRING, string("tiny")),
    ];
    for (key, value) in [
        ("llama.block_count", N_LAYERS),
        ("llama.context_length", N_CTX),
        ("llama.embedding_length", D_MODEL),
        ("llama.feed_forward_length", D_MLP),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("llama.rope.dimension_count", 8),
        ("tokenizer.ggml.eos_token_id", N_VOCAB - 1),
    ] {
        entries.push((key, U32, (value as u32).to_le_bytes().to_vec()));
    }
    for (key, value) in [
        ("llama.rope.freq_base", 10_000.0f32),
        ("llama.attention.layer_norm_rms_epsilon", 1e-5),
    ] {
        entries.push((key, F32, value.to_le_bytes().to_vec()));
    }
    let mut vocabulary = byte_symbols();
    vocabulary.extend(["<|im_start|>".to_owned(), "<|im_end|>".to_owned()]);
    let kinds = (0..N_VOCAB).map(|id| if id < 256 { 1i32 } else { 3 });
    let kinds: Vec<u8> = kinds.flat_map(i32::to_le_bytes).collect();
    let words: Vec<u8> = vocabulary.iter().flat_map(|text| string(text)).collect();
    entries.extend([
        ("tokenizer.ggml.model", STRING, string("gpt2")),
        ("tokenizer.ggml.pre", STRING, string("gpt-2")),
        (
            "tokenizer.ggml.tokens",
            ARRAY,
            array(STRING, N_VOCAB, &words),
        ),
        (
            "tokenizer.ggml.token_type",
            ARRAY,
            array(I32, N_VOCAB, &kinds),
        ),
        ("tokenizer.ggml.merges", ARRAY, array(STRING, 0, &[])),
        ("tokenizer.chat_template", STRING, string(TEMPLATE)),
    ]);

    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![N_VOCAB, D_MODEL]),
        ("output_norm.weight".to_owned(), vec![D_MODEL]),
    ];
    for layer in 0..N_LAYERS {
        for (name, shape) in [
            ("attn_norm", vec![D_MODEL]),
            ("attn_q", vec![D_MODEL, D_MODEL]),
            ("attn_k", vec![D_KV, D_MODEL]),
            ("attn_v", vec![D_KV, D_MODEL]),
            ("attn_output", vec![D_MODEL, D_MODEL]),
            ("ffn_norm", vec![D_MODEL]),
            ("ffn_gate", vec![D_MLP, D_MODEL]),
            ("ffn_up", vec![D_MLP, D_MODEL]),
            ("ffn_down", vec![D_MODEL, D_MLP]),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }

    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        out.extend(string(key));
        out.extend(kind.to_le_bytes());
        out.extend(value);
    }
    let mut data: Vec<u8> = Vec::new();
    let mut state = 1u64;
    for (name, shape) in tensors {
        out.extend(string(&name));
        out.extend((shape.len() as u32).to_le_bytes());
        for dim in shape.iter().rev() {
            out.extend((*dim as u64).to_le_bytes());
        }
        out.extend(0u32.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        let n: usize = shape.iter().product();
        for _ in 0..n {
            let weight = if shape.len() == 1 {
                1.0
            } else {
                draw(&mut state)
            };
            data.extend(weight.to_le_bytes());
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

/// A number in −0.5 to 0.5 (Knuth's linear congruential generator, MMIX).
fn draw(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
}

/// GPT-2's visible symbol of each byte: itself where it is printable, otherwise the next one from
/// `U+0100` on.
fn byte_symbols() -> Vec<String> {
    let printable: BTreeSet<u32> = (33..=126).chain(161..=172).chain(174..=255).collect();
    let mut next = 256;
    (0..256u32)
        .map(|byte| {
            let symbol = if printable.contains(&byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(symbol).unwrap().to_string()
        })
        .collect()
}

fn string(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

fn array(element: u32, n: usize, elements: &[u8]) -> Vec<u8> {
    let mut out = element.to_le_bytes().to_vec();
    out.extend((n as u64).to_le_bytes());
    out.extend(elements);
    out
}
