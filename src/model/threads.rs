//! How many threads the tensor library uses.

/// Threads of a forward pass: `CANDLE_NUM_THREADS`, `RAYON_NUM_THREADS`, or the number of cores.
pub fn n_threads() -> usize {
    candle_core::utils::get_num_threads()
}
