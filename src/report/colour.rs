//! The colours of detectors and logits.
//!
//! Orange against blue stays apart under every common colour blindness, red against green does
//! not (Okabe and Ito 2008, Color Universal Design). The page names its colours in `style.css`;
//! a picture for the README has to carry its own.

/// How far a logit goes towards the end of the scale, in `[-1, 1]`; above 0 is more deceptive.
///
/// `limit` is the logit of the scale's end. What is not a number has no colour.
pub(crate) fn strength(logit: f64, limit: f64) -> f64 {
    if logit.is_finite() && limit > 0.0 {
        (logit / limit).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

/// The end of a scale that is symmetric about 0: what 98 % of the logits stay within.
///
/// Not the largest, because the first token of a reply is often far outside all others.
pub(crate) fn limit<'a>(logits: impl Iterator<Item = &'a f64>) -> f64 {
    let mut sizes: Vec<f64> = logits
        .filter(|logit| logit.is_finite())
        .map(|logit| logit.abs())
        .collect();
    sizes.sort_by(f64::total_cmp);
    let index = (sizes.len() * 98).div_ceil(100).saturating_sub(1);
    sizes
        .get(index)
        .copied()
        .filter(|limit| *limit > 0.0)
        .unwrap_or(1.0)
}

/// A colour between two others, `#rrggbb`.
#[expect(
    clippy::cast_sign_loss,
    reason = "between two numbers that are not negative"
)]
pub(crate) fn mix(from: [u8; 3], to: [u8; 3], share: f64) -> String {
    let channel = |index: usize| {
        let (from, to) = (f64::from(from[index]), f64::from(to[index]));
        (from + (to - from) * share.clamp(0.0, 1.0)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0), channel(1), channel(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_does_not_bleach_the_rest() {
        let mut logits = vec![1.0; 99];
        logits.push(-50.0);
        assert!((limit(logits.iter()) - 1.0).abs() < 1e-12);
        assert!((limit([].iter()) - 1.0).abs() < 1e-12);
        assert!((limit([0.0, f64::NAN].iter()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_scale_ends() {
        for (logit, expected) in [(1.0, 0.5), (9.0, 1.0), (-9.0, -1.0), (f64::NAN, 0.0)] {
            assert!((strength(logit, 2.0) - expected).abs() < 1e-12);
        }
        assert_eq!(mix([0, 0, 0], [255, 100, 0], 0.5), "#803200");
    }
}
