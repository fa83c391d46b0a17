//! Activations from the socket: base64 of little-endian numbers.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use half::f16;

use crate::error::{ApiError, ErrorCode};

/// Standard alphabet, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Type of the numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    F16,
    F32,
}

impl Dtype {
    pub(crate) const NAMES: &'static str = "`f16` or `f32`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "f16" => Some(Self::F16),
            "f32" => Some(Self::F32),
            _ => None,
        }
    }

    fn n_bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Decodes numbers; `param` names the field in errors. What they are is checked by the detector, which
/// knows the width.
pub(crate) fn decode(data: &str, dtype: Dtype, param: &str) -> Result<Vec<f32>, ApiError> {
    let bytes = BASE64.decode(data).map_err(|error| {
        ApiError::new(
            ErrorCode::InvalidBase64,
            format!("`{param}` is not base64: {}", offence(&error)),
        )
        .param(param)
        .hint("encode the bytes with the standard alphabet (`+`, `/`), without line breaks")
    })?;
    let n_bytes = dtype.n_bytes();
    if bytes.len() % n_bytes != 0 {
        return Err(ApiError::new(
            ErrorCode::WrongWidth,
            format!(
                "`{param}` holds {} bytes, which is no multiple of the {n_bytes} that a number has",
                bytes.len()
            ),
        )
        .param(param)
        .hint("check `dtype` against the numbers that were encoded"));
    }
    Ok(match dtype {
        Dtype::F16 => bytes
            .chunks_exact(2)
            .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
            .collect(),
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect(),
    })
}

/// What is wrong, without repeating any of the data.
fn offence(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(offset, _) => {
            format!("character {offset} is not in the alphabet")
        }
        base64::DecodeError::InvalidLength(length) => {
            format!("{length} characters cannot be decoded")
        }
        base64::DecodeError::InvalidLastSymbol(offset, _) => {
            format!("character {offset} has bits that no byte takes")
        }
        base64::DecodeError::InvalidPadding => "the padding is wrong".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn bytes_f32(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn numbers_by_hand() {
        // 1.0 is 0x3f800000 in f32 and 0x3c00 in f16, lowest byte first.
        assert_eq!(decode("AACAPw==", Dtype::F32, "d").unwrap(), [1.0]);
        assert_eq!(decode("ADw=", Dtype::F16, "d").unwrap(), [1.0]);
        assert_eq!(decode("ADw", Dtype::F16, "d").unwrap(), [1.0]);
        assert!(decode("", Dtype::F16, "d").unwrap().is_empty());
        // What is not a number arrives as such, for the detector to refuse.
        let strange = BASE64_STANDARD.encode(bytes_f32(&[f32::NAN, f32::INFINITY]));
        let strange = decode(&strange, Dtype::F32, "d").unwrap();
        assert!(strange[0].is_nan() && strange[1].is_infinite());
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for data in [
            "A",
            "AACA Pw==",
            "AACAPw==\n",
            "AACAP-==",
            "????",
            "AACAPx==",
        ] {
            let error = decode(data, Dtype::F32, "d").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidBase64, "{data}");
        }
        for (data, dtype) in [("AACA", Dtype::F32), ("AACA", Dtype::F16)] {
            let error = decode(data, dtype, "d").unwrap_err();
            assert_eq!(error.code, ErrorCode::WrongWidth, "{data}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(values in prop::collection::vec(-6e4f32..6e4, 0..40)) {
            let text = BASE64_STANDARD.encode(bytes_f32(&values));
            prop_assert_eq!(&decode(&text, Dtype::F32, "d").unwrap(), &values);
            let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
            let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
            let text = BASE64_STANDARD_NO_PAD.encode(bytes);
            let expected: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
            prop_assert_eq!(decode(&text, Dtype::F16, "d").unwrap(), expected);
        }

        #[test]
        fn no_text_makes_it_panic(data in ".{0,40}") {
            let _ = decode(&data, Dtype::F16, "d");
            let _ = decode(&data, Dtype::F32, "d");
        }
    }
}
