//! Evaluation JSON to one self-contained HTML file, and to the tables and pictures of the README.
//!
//! The page loads nothing: no script, no font, no image from anywhere. Every number stands beside
//! its interval and beside the baselines that could explain it, and what the numbers do not show
//! comes before the plots. All text of an evaluation is data and is escaped, dialogues above all.
//!
//! What this crate does not do: it computes no metric. What is not in the [`Evaluation`] is not on
//! the page.
//!
//! ```
//! # let json = include_str!("../../tests/fixtures/report/evaluation.json");
//! let evaluation = candor_report::parse(json)?;
//! let page = candor_report::html(&evaluation);
//! assert!(page.starts_with("<!DOCTYPE html>"));
//!
//! let readme = "# Probe\n<!-- results:begin --><!-- results:end -->\n";
//! let table = candor_report::markdown_table(&evaluation);
//! let readme = candor_report::insert_between_markers(readme, "results", &table)?;
//! assert!(readme.contains("| AUROC [95 % CI] |"));
//! # Ok::<(), candor_report::Error>(())
//! ```
//!
//! [`Evaluation`]: candor_schema::Evaluation

mod error;
mod evaluation;

mod html;
mod table;
mod verdict;

mod heat_map;
mod heat_map_svg;
mod plot;

mod markdown;

mod colour;
mod markup;
mod number;

pub use error::Error;
pub use evaluation::parse;
pub use heat_map_svg::{Theme, heat_map_svg};
pub use html::html;
pub use markdown::{insert_between_markers, markdown_table};
pub use verdict::verdict;
