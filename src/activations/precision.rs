//! Rounding of captured values before they are written.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// How many bits of a captured value are kept. Files hold Float32 in every case.
///
/// A rounded mantissa ends in zeros, which byte-stream-split and zstd then remove: an f16-rounded
/// column takes 0.89 of raw f16's size and a bf16-rounded one 0.69 (30 vectors of width 576), and
/// every Parquet reader opens it, which is not so for Parquet's own Float16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Every bit.
    F32,
    /// 11 significant bits, up to 65504.
    #[default]
    F16,
    /// 8 significant bits, range of f32.
    Bf16,
}

impl Precision {
    /// Every precision, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The name in files and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// `value` rounded to the nearest representable number, ties to even.
    ///
    /// A finite value beyond the range becomes infinite: [`Precision::overflows`] tells.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }

    /// [`Precision::round`] for every value, several at a time.
    pub(crate) fn round_all(self, values: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::F16 => values
                .iter_mut()
                .for_each(|value| *value = round_f16(*value)),
            Self::Bf16 => {
                for value in values {
                    let bits = value.to_bits();
                    // Half a unit in the last place that is kept, a little less on even digits.
                    let half = 0x7fff + (bits >> 16 & 1);
                    *value = f32::from_bits(bits.wrapping_add(half) & 0xffff_0000);
                }
            }
        }
    }

    /// Number of finite `values` that [`Precision::round`] would make infinite.
    pub fn overflows(self, values: &[f32]) -> usize {
        // The smallest magnitudes that round to infinity: half a unit above the largest number,
        // where the tie goes to the even neighbour, infinity.
        let limit = match self {
            Self::F32 => return 0,
            Self::F16 => 65520.0,
            Self::Bf16 => f32::from_bits(0x7f7f_8000),
        };
        values
            .iter()
            .filter(|value| value.is_finite() && value.abs() >= limit)
            .count()
    }
}

/// `value`, a number, rounded to f16 without a branch, so that vector instructions serve.
fn round_f16(value: f32) -> f32 {
    let bits = value.to_bits();
    let half = 0xfff + (bits >> 13 & 1);
    let normal = f32::from_bits(bits.wrapping_add(half) & 0xffff_e000);
    // Below 2⁻¹⁴ numbers are multiples of 2⁻²⁴, as numbers between a half and 1 are in f32.
    let small = ((value.abs() + 0.75) - 0.75).copysign(value);
    let infinite = f32::INFINITY.copysign(value);
    let normal = if value.abs() < 65520.0 {
        normal
    } else {
        infinite
    };
    if value.abs() < f32::from_bits(0x3880_0000) {
        small
    } else {
        normal
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;

    /// Parses `f32`, `f16` or `bf16`; the error says so.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a precision (expected `f32`, `f16` or `bf16`)"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_go_to_even() {
        let unit = 2f32.powi(-10); // of f16 at 1.0
        assert_eq!(
            Precision::F16.round(1.0 + 0.5 * unit).to_bits(),
            1f32.to_bits()
        );
        assert_eq!(
            Precision::F16.round(1.0 + 1.5 * unit).to_bits(),
            (1.0 + 2.0 * unit).to_bits()
        );
        let unit = 2f32.powi(-7); // of bf16 at 1.0
        assert_eq!(
            Precision::Bf16.round(1.0 + 0.5 * unit).to_bits(),
            1f32.to_bits()
        );
        assert_eq!(
            Precision::Bf16.round(1.0 + 1.5 * unit).to_bits(),
            (1.0 + 2.0 * unit).to_bits()
        );
    }

    #[test]
    fn names_parse() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.as_str());
        }
        assert!("f64".parse::<Precision>().is_err());
    }

    #[test]
    fn the_limits_of_f16_and_bf16() {
        assert_eq!(Precision::F16.overflows(&[65519.99, -65519.99]), 0);
        assert_eq!(Precision::F16.overflows(&[65520.0, -1e30, 1.0]), 2);
        let largest = f32::from_bits(0x7f7f_7fff);
        assert_eq!(Precision::Bf16.overflows(&[largest]), 0);
        assert_eq!(Precision::Bf16.overflows(&[f32::MAX]), 1);
    }

    proptest! {
        #[test]
        fn overflow_is_exactly_a_finite_value_that_becomes_infinite(bits: u32) {
            let value = f32::from_bits(bits);
            for precision in Precision::ALL {
                let becomes_infinite = value.is_finite() && precision.round(value).is_infinite();
                prop_assert_eq!(precision.overflows(&[value]), usize::from(becomes_infinite));
            }
        }

        #[test]
        fn rounding_twice_changes_nothing(value in -7e4f32..7e4) {
            for precision in Precision::ALL {
                let once = precision.round(value);
                prop_assert_eq!(precision.round(once).to_bits(), once.to_bits());
            }
        }
    }

    #[test]
    fn many_are_rounded_as_one_is() {
        // Every exponent, with mantissas around the ties of both precisions.
        let mantissas = [
            0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001,
        ];
        let mantissas = mantissas
            .into_iter()
            .flat_map(|m| [m, m | 0x1_0000, 0x7f_ffff - m]);
        let values: Vec<f32> = mantissas
            .flat_map(|mantissa| (0..255u32).map(move |exponent| exponent << 23 | mantissa))
            .flat_map(|bits| [f32::from_bits(bits), f32::from_bits(bits | 1 << 31)])
            .collect();
        for precision in Precision::ALL {
            let mut rounded = values.clone();
            precision.round_all(&mut rounded);
            for (value, rounded) in values.iter().zip(rounded) {
                let expected = precision.round(*value);
                assert_eq!(
                    rounded.to_bits(),
                    expected.to_bits(),
                    "{precision} {value:e}"
                );
            }
        }
    }
}
