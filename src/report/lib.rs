//! Evaluation JSON to one self-contained HTML file.
