//! Published models, where `CANDOR_MODEL_DIR` has any.

use std::path::Path;

use crate::source::Source;
use crate::weights::inventory;

#[test]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print what they read and why they are skipped"
)]
fn every_published_file_is_followed_in_full() {
    let Some(folder) = std::env::var_os("CANDOR_MODEL_DIR") else {
        eprintln!("skipped: CANDOR_MODEL_DIR is not set");
        return;
    };
    for entry in std::fs::read_dir(Path::new(&folder)).unwrap() {
        let path = entry.unwrap().path();
        let is_folder = path.join("config.json").exists();
        if !is_folder && path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let source = Source::open(&path).unwrap();
        let config = source.config();
        println!("{}: {config:?}", path.display());
        // One tensor of each kind is read.
        let last = format!("blk.{}.", config.n_layers - 1);
        for (name, shape) in inventory::tensors(config) {
            if name.starts_with(&last) {
                assert!(source.weights().dense(&name, &shape).is_ok());
            }
        }
    }
}
