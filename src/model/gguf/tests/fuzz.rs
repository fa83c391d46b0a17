//! Random damage: whatever a file holds, reading it returns.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::writer::tiny;
use super::{architecture, read, tokenizer};
use crate::weights::WeightSource as _;

const N_FILES: usize = 20_000;

/// Reads a file and everything in it; what is wrong may only be an error.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(gguf) = read(bytes) else {
        return false;
    };
    let _ = (gguf.main_type(), gguf.types());
    for (name, info) in &gguf.tensors {
        let _ = gguf.dense(name, &info.shape);
    }
    if let Ok(config) = crate::arch::config(&gguf) {
        let tokenizer = crate::tokenizer::Tokenizer::from_gguf(&gguf, config.n_vocab);
        if let Ok(tokenizer) = tokenizer {
            let _ = tokenizer.encode("ab <|end|> b");
        }
    }
    true
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    const NUMBERS: [u64; 8] = [0, 1, 7, 31, 1 << 20, 1 << 40, 1 << 63, u64::MAX];
    for _ in 0..rng.random_range(1..=4) {
        // The header is where numbers are believed, so half of the damage goes there.
        let end = if rng.random() {
            bytes.len()
        } else {
            bytes.len().min(200)
        };
        let at = rng.random_range(0..end);
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => {
                let number = NUMBERS[rng.random_range(0..NUMBERS.len())].to_le_bytes();
                let n = number.len().min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let until = rng.random_range(at..bytes.len().min(at + 64));
                let piece = bytes[at..until].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let until = rng.random_range(at..bytes.len().min(at + 64));
                bytes.drain(at..until);
            }
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused() {
    let seeds = [
        tiny().bytes(),
        tokenizer::add_to(architecture::llama()).bytes(),
    ];
    for seed in &seeds {
        assert!(exercise(seed));
    }
    let before = peak_memory();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut n_read = 0;
    for i in 0..N_FILES {
        let mut bytes = seeds[i % seeds.len()].clone();
        mutate(&mut bytes, &mut rng);
        n_read += usize::from(exercise(&bytes));
    }
    // Some damage is invisible and some is not; were it all one, the fuzz would test little.
    assert!((100..N_FILES - 100).contains(&n_read), "{n_read}");
    // Other tests of this process count too, so the bound is loose: the files are of 2 kB.
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 256 << 20, "{} bytes", after - before);
    }
}

/// The most memory that this process has had, in bytes; `None` where Linux's `/proc` is not there.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes = line.split_whitespace().nth(1)?.parse::<usize>().ok()?;
    Some(kilobytes * 1024)
}
