//! Parquet store of captured activations.
