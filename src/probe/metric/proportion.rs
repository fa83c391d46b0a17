//! Shares of counted cases.

use candor_schema::Proportion;
use statrs::distribution::{Beta, ContinuousCDF};

use crate::error::{Error, Result, check_rate};

/// `k` of `n` cases with the Clopper–Pearson interval (Clopper & Pearson 1934), which covers the true
/// share with a probability of at least `level`. With `n = 0` the interval is `[0, 1]`.
///
/// # Errors
/// [`Error::Setting`] if `k > n` or `level` is not strictly between 0 and 1.
pub fn proportion(k: u64, n: u64, level: f64) -> Result<Proportion> {
    check_rate("level", level)?;
    if k > n {
        return Err(Error::Setting {
            name: "k",
            value: k as f64,
            expected: "at most n",
        });
    }
    let tail = (1.0 - level) / 2.0;
    let quantile = |a: u64, b: u64, p: f64| {
        Beta::new(a as f64, b as f64)
            .expect("both shapes are at least 1")
            .inverse_cdf(p)
    };
    Ok(Proportion {
        k,
        n,
        low: if k == 0 {
            0.0
        } else {
            quantile(k, n - k + 1, tail)
        },
        high: if k == n {
            1.0
        } else {
            quantile(k + 1, n - k, 1.0 - tail)
        },
        level,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `P(Bin(n, p) ≥ k)`, summed term by term.
    fn at_least(k: u64, n: u64, p: f64) -> f64 {
        let mut term = (-p).ln_1p() * n as f64;
        let mut below = 0.0;
        for i in 0..k {
            below += term.exp();
            term += ((n - i) as f64).ln() - ((i + 1) as f64).ln() + p.ln() - (-p).ln_1p();
        }
        1.0 - below
    }

    #[test]
    fn published_values() {
        // scipy 1.17.1, `binomtest(k, n).proportion_ci(0.95, "exact")`.
        for (k, n, low, high) in [
            (1, 10, 0.002_528_6, 0.445_016_1),
            (5, 100, 0.016_431_9, 0.112_834_9),
            (50, 100, 0.398_321_1, 0.601_678_9),
            (0, 10, 0.0, 0.308_497_1),
            (10, 10, 0.691_502_9, 1.0),
            (3, 299, 0.002_073_9, 0.029_040_4),
            (17, 3_000, 0.003_304_4, 0.009_057_4),
        ] {
            let found = proportion(k, n, 0.95).unwrap();
            assert!((found.low - low).abs() < 1e-6, "{k}/{n}: {found:?}");
            assert!((found.high - high).abs() < 1e-6, "{k}/{n}: {found:?}");
        }
    }

    #[test]
    fn no_cases_say_nothing_and_impossible_counts_are_refused() {
        let found = proportion(0, 0, 0.95).unwrap();
        assert_eq!((found.low, found.high, found.rate()), (0.0, 1.0, None));
        assert!(matches!(
            proportion(2, 1, 0.95),
            Err(Error::Setting { name: "k", .. })
        ));
        assert!(matches!(
            proportion(1, 2, 0.0),
            Err(Error::Setting { name: "level", .. })
        ));
    }

    proptest! {
        #[test]
        fn ends_are_where_the_binomial_tail_is_the_level(n in 1u64..3_000, share in 0.0f64..1.0) {
            #[expect(clippy::cast_sign_loss, reason = "both factors are positive")]
            let k = (share * n as f64) as u64;
            let found = proportion(k, n, 0.95).unwrap();
            if k > 0 {
                prop_assert!((at_least(k, n, found.low) - 0.025).abs() < 1e-6);
            }
            if k < n {
                prop_assert!((at_least(k + 1, n, found.high) - 0.975).abs() < 1e-6);
            }
        }
    }
}
