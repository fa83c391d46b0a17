//! Where in a model a vector is read or edited.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A block of the decoder, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layer(pub usize);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place inside a block, in the order in which a forward pass meets them.
///
/// `AttnOut` and `MlpOut` are what is added to the residual stream (after any post-norm), so
/// `resid_mid = resid_pre + attn_out` and `resid_post = resid_mid + mlp_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Site {
    /// Residual stream entering the block, `[row, d_model]`.
    ResidPre,
    /// Attention heads' outputs before the output projection, `[row, n_heads * d_head]`.
    AttnZ,
    /// What attention adds to the stream, `[row, d_model]`.
    AttnOut,
    /// Residual stream between attention and MLP, `[row, d_model]`.
    ResidMid,
    /// Router logits of a mixture of experts, `[row, n_experts]`.
    MlpRouterLogits,
    /// MLP neurons after the non-linearity (and gate), `[row, d_mlp]`.
    MlpPost,
    /// What the MLP adds to the stream, `[row, d_model]`.
    MlpOut,
    /// Residual stream leaving the block, `[row, d_model]`.
    ResidPost,
}

impl Site {
    /// Every site, in the order in which a forward pass meets them.
    pub const ALL: [Self; 8] = [
        Self::ResidPre,
        Self::AttnZ,
        Self::AttnOut,
        Self::ResidMid,
        Self::MlpRouterLogits,
        Self::MlpPost,
        Self::MlpOut,
        Self::ResidPost,
    ];

    /// The TransformerLens name behind `blocks.{l}.`.
    pub fn hook_name(self) -> &'static str {
        match self {
            Self::ResidPre => "hook_resid_pre",
            Self::AttnZ => "attn.hook_z",
            Self::AttnOut => "hook_attn_out",
            Self::ResidMid => "hook_resid_mid",
            Self::MlpRouterLogits => "mlp.hook_router_logits",
            Self::MlpPost => "mlp.hook_post",
            Self::MlpOut => "hook_mlp_out",
            Self::ResidPost => "hook_resid_post",
        }
    }

    /// The stem of a column name: `resid_post` of `resid_post_12`.
    pub fn stem(self) -> &'static str {
        match self {
            Self::ResidPre => "resid_pre",
            Self::AttnZ => "attn_z",
            Self::AttnOut => "attn_out",
            Self::ResidMid => "resid_mid",
            Self::MlpRouterLogits => "mlp_router_logits",
            Self::MlpPost => "mlp_post",
            Self::MlpOut => "mlp_out",
            Self::ResidPost => "resid_post",
        }
    }
}

/// One vector per token: a [`Site`] of a [`Layer`].
///
/// Its text form is TransformerLens' name, letter for letter; this type is the only code that
/// builds or parses it. Hugging Face's `hidden_states[l + 1]` is `resid_post` of block `l`, except
/// the last one, which is read there after the final norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookPoint {
    /// The block.
    pub layer: Layer,
    /// The place inside it.
    pub site: Site,
}

impl HookPoint {
    /// The hook point `site` of block `layer`.
    pub fn new(layer: usize, site: Site) -> Self {
        Self {
            layer: Layer(layer),
            site,
        }
    }

    /// Residual stream leaving block `layer`.
    pub fn resid_post(layer: usize) -> Self {
        Self::new(layer, Site::ResidPost)
    }

    /// The column of the activation store that holds this point, for example `resid_post_12`.
    pub fn column_name(&self) -> String {
        format!("{}_{}", self.site.stem(), self.layer)
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocks.{}.{}", self.layer, self.site.hook_name())
    }
}

impl FromStr for HookPoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::HookPoint {
            text: text.to_owned(),
        };
        let (layer, name) = text
            .strip_prefix("blocks.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(bad)?;
        // `usize::from_str` takes a sign and leading zeros, which would give one point two names.
        let canonical = layer.bytes().all(|byte| byte.is_ascii_digit())
            && (layer == "0" || !layer.starts_with('0'));
        if !canonical {
            return Err(bad());
        }
        let layer = layer.parse().map_err(|_| bad())?;
        let site = Site::ALL
            .into_iter()
            .find(|site| site.hook_name() == name)
            .ok_or_else(bad)?;
        Ok(Self::new(layer, site))
    }
}

impl TryFrom<String> for HookPoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<HookPoint> for String {
    fn from(point: HookPoint) -> Self {
        point.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_transformer_lens() {
        let names: Vec<String> = Site::ALL
            .iter()
            .map(|&site| HookPoint::new(3, site).to_string())
            .collect();
        let expected = [
            "blocks.3.hook_resid_pre",
            "blocks.3.attn.hook_z",
            "blocks.3.hook_attn_out",
            "blocks.3.hook_resid_mid",
            "blocks.3.mlp.hook_router_logits",
            "blocks.3.mlp.hook_post",
            "blocks.3.hook_mlp_out",
            "blocks.3.hook_resid_post",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn refuses_what_is_not_a_hook_point() {
        for text in [
            "",
            "blocks",
            "blocks.",
            "blocks.1",
            "blocks.x.hook_resid_post",
            "blocks.+1.hook_resid_post",
            "blocks.01.hook_resid_post",
            "blocks.1.hook_resid",
            "layer_12_out",
            "blocks.99999999999999999999.hook_resid_post",
        ] {
            assert!(text.parse::<HookPoint>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_form_round_trips(layer in 0usize..10_000, site in 0usize..Site::ALL.len()) {
            let point = HookPoint::new(layer, Site::ALL[site]);
            prop_assert_eq!(point.to_string().parse::<HookPoint>().unwrap(), point);
        }
    }
}
