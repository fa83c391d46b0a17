//! How unlikely a token was, and how open the prediction.

/// Log-probability of `token` and entropy of the prediction, both in nats, from next-token logits.
pub fn surprise(logits: &[f32], token: u32) -> (f64, f64) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    let mut weighted = 0.0;
    // One exponential per entry of the vocabulary and token: in f32, summed in f64.
    for &logit in logits {
        let shifted = logit - max;
        let weight = f64::from(shifted.exp());
        sum += weight;
        weighted += weight * f64::from(shifted);
    }
    let log_sum = sum.ln();
    (
        f64::from(logits[token as usize] - max) - log_sum,
        log_sum - weighted / sum,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_of_a_uniform_prediction() {
        let (log_probability, entropy) = surprise(&[2.0; 8], 3);
        assert!((log_probability + f64::ln(8.0)).abs() < 1e-6);
        assert!((entropy - f64::ln(8.0)).abs() < 1e-6);
    }
}
