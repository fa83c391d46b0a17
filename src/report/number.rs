//! How numbers are written. What is not a number is written as a dash.

use candor_schema::{Interval, Proportion};

/// Stands where there is no number.
pub(crate) const NONE: &str = "—";

/// `0.87 [0.80, 0.93]`.
pub(crate) fn interval(value: &Interval) -> String {
    if !value.value.is_finite() {
        return NONE.to_owned();
    }
    format!("{:.2} [{:.2}, {:.2}]", value.value, value.low, value.high)
}

/// `+0.16 [+0.05, +0.27]`, with a true minus sign.
pub(crate) fn difference(value: &Interval) -> String {
    if !value.value.is_finite() {
        return NONE.to_owned();
    }
    format!(
        "{} [{}, {}]",
        signed(value.value),
        signed(value.low),
        signed(value.high)
    )
}

/// `+0.16`, with a true minus sign.
pub(crate) fn signed(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    // A zero that was rounded from below has no sign of its own.
    let text = format!("{:.2}", value.abs());
    match text.as_str() {
        "0.00" => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// `52 % (21/40) [38, 66]`; a dash where nothing was counted.
pub(crate) fn proportion(value: Option<&Proportion>) -> String {
    let Some((value, rate)) = value.and_then(|value| Some((value, value.rate()?))) else {
        return NONE.to_owned();
    };
    format!(
        "{} ({}/{}) [{}, {}]",
        percent(rate),
        value.k,
        value.n,
        bare_percent(value.low),
        bare_percent(value.high)
    )
}

/// `52 %`, `3.5 %`: one decimal below ten, where it matters. The space does not break.
pub(crate) fn percent(share: f64) -> String {
    format!("{}\u{a0}%", bare_percent(share))
}

fn bare_percent(share: f64) -> String {
    let value = 100.0 * share;
    // Rounding first, so that 9.96 is written as 10 and not as 10.0.
    let tenths = (10.0 * value).round() / 10.0;
    if !value.is_finite() {
        NONE.to_owned()
    } else if tenths >= 10.0 || tenths.fract() == 0.0 {
        // `{:.0}` alone would round halves to even: 52.5 to 52.
        format!("{:.0}", value.round())
    } else {
        format!("{tenths:.1}")
    }
}

/// `95 %`, from a coverage of 0.95.
pub(crate) fn level(value: &Interval) -> String {
    percent(value.level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!(percent(0.525), "53\u{a0}%");
        assert_eq!(percent(0.05), "5\u{a0}%");
        assert_eq!(percent(0.0349), "3.5\u{a0}%");
        assert_eq!(percent(0.0999), "10\u{a0}%");
        assert_eq!(percent(0.001), "0.1\u{a0}%");
        assert_eq!(percent(f64::NAN), "—\u{a0}%");
        assert_eq!(signed(-0.123), "−0.12");
        assert_eq!(signed(-0.001), "0.00");
        let interval_of = |value| Interval {
            value,
            low: -0.05,
            high: 0.9,
            level: 0.95,
        };
        assert_eq!(interval(&interval_of(0.5)), "0.50 [-0.05, 0.90]");
        assert_eq!(difference(&interval_of(0.5)), "+0.50 [−0.05, +0.90]");
        assert_eq!(interval(&interval_of(f64::NAN)), NONE);
        let counted = Proportion {
            k: 21,
            n: 40,
            low: 0.361,
            high: 0.685,
            level: 0.95,
        };
        assert_eq!(proportion(Some(&counted)), "53\u{a0}% (21/40) [36, 69]");
        assert_eq!(proportion(Some(&Proportion { n: 0, ..counted })), NONE);
        assert_eq!(proportion(None), NONE);
    }
}
