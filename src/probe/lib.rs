//! Fit, score, calibrate and evaluate linear probes; read and write probe bundles.
