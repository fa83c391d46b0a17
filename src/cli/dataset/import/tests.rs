//! Files for the tests of containers that are opened here.

use std::path::{Path, PathBuf};

/// A file of `tests/fixtures/import`.
pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/import")
        .join(name)
}

/// Copies of a fixture with bytes changed or its end cut off, the same ones each time.
pub(super) struct Damaged {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Damaged {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, PathBuf> {
        self.paths.iter()
    }
}

pub(super) fn damaged(name: &str, n: u64) -> Damaged {
    let whole = std::fs::read(fixture(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut state = 7;
    let mut random = |below: usize| (split_mix(&mut state) % below as u64) as usize;
    let paths = (0..n).map(|index| {
        let mut bytes = whole.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        if random(4) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        let path = folder.path().join(format!("{index}-{name}"));
        std::fs::write(&path, bytes).unwrap();
        path
    });
    let paths = paths.collect();
    Damaged {
        _folder: folder,
        paths,
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
