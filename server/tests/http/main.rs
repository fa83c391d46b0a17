//! The service without sockets, and once with one.
//!
//! What needs a model runs where `CANDOR_MODEL_DIR` names a folder with it; otherwise each such test
//! prints why it is skipped. `CANDOR_REQUIRE_MODEL=1` turns a skip into a failure.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests, but clippy knows only the functions marked so"
)]

mod activations;
mod drain;
mod errors;
mod load;
mod logs;
mod operation;
mod score;
mod world;
