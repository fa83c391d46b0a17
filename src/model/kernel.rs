//! The arithmetic of a forward pass on the CPU: packed weights, products, attention, and the pool
//! that runs them.
//!
//! Everything here keeps two promises. A result of one row never depends on the other rows of a
//! step, on how rows are cut into tiles, or on the number of threads: every output element is one
//! chain of additions whose order is fixed by position alone. And every processor gives the same
//! bits: each kernel is plain Rust first (its "twin"), compiled a second time for AVX2; the AVX-512
//! versions do the same operations in the same order, which tests check bit for bit. On other
//! processors (NEON among them) the compiler vectorises the twin.
//!
//! All `unsafe` of the crate but the mapping of files stands in this folder.

#![allow(
    clippy::inline_always,
    reason = "a twin must be compiled with the features of its caller"
)]

mod activation;
mod aligned;
mod attention;
mod dense;
mod exp;
mod ggml;
mod int8_rows;
mod integer;
mod integer_panel;
mod level;
mod linear;
mod norm;
mod opened;
mod packed;
mod place;
mod pool;
mod rows;
mod shared;

pub(crate) use activation::{add, gated, softcap};
pub(crate) use attention::{Attention, Queries, attend, padded_head};
pub(crate) use int8_rows::Int8Rows;
pub(crate) use level::Level;
pub(crate) use linear::{Input, linear};
pub(crate) use norm::{rms_norm, rotate};
pub(crate) use packed::{Packed, PackedType};
pub(crate) use pool::Pool;
pub(crate) use rows::for_rows;
