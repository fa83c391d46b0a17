//! How a probe is fitted: by flags, or as a paper has it.

use candor_activations::Token;
use candor_probe::evaluate::FPR_BUDGETS;
use candor_probe::{BundleConfig, FitOptions, kind};
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How a probe is fitted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Recipe {
    /// Everything below as a paper has it
    #[arg(id = "recipe", long = "recipe", value_name = "NAME", env = "CANDOR_RECIPE", value_parser = names(), conflicts_with_all = ["kind", "pooling", "lambda", "rows", "drop_last", "depth", "budget"])]
    pub(crate) name: Option<String>,
    /// Kind of probe: logistic, mass-mean, lda or lat
    #[arg(long, env = "CANDOR_KIND", default_value = "logistic")]
    pub(crate) kind: String,
    /// How token logits become one
    #[arg(long, env = "CANDOR_POOLING", default_value = "mean")]
    pub(crate) pooling: String,
    /// Strength of the L2 penalty on a loss summed over rows (scikit-learn's 1/C)
    #[arg(long, env = "CANDOR_LAMBDA", default_value_t = 10.0)]
    pub(crate) lambda: f64,
    /// What is one row of the fit
    #[arg(long, env = "CANDOR_ROWS", value_enum, default_value = "reply")]
    pub(crate) rows: RowsArg,
    /// Tokens at a reply's end that the fit leaves out
    #[arg(long, env = "CANDOR_DROP_LAST", default_value_t = 0)]
    pub(crate) drop_last: u32,
    /// Take the layer nearest to this share of the depth, instead of choosing it on validation
    #[arg(long, env = "CANDOR_DEPTH")]
    pub(crate) depth: Option<f64>,
    /// Rate of false alarms that the threshold is certified for
    #[arg(long, env = "CANDOR_BUDGET", default_value_t = FPR_BUDGETS[0])]
    pub(crate) budget: f64,
    /// Seed of every random choice
    #[arg(long, env = "CANDOR_SEED", default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowsArg {
    /// Every token of a reply
    Token,
    /// The mean over a reply's tokens
    Reply,
    /// The last token of a reply
    Last,
}

impl RowsArg {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("token", Self::Token),
        ("reply", Self::Reply),
        ("last", Self::Last),
    ];

    fn name(self) -> &'static str {
        let known = Self::NAMES.iter().find(|(_, rows)| *rows == self);
        known.map_or("token", |(name, _)| name)
    }
}

/// A recipe that somebody has published.
struct Published {
    name: &'static str,
    /// One line for help texts, with the paper.
    describe: &'static str,
    kind: &'static str,
    pooling: &'static str,
    rows: RowsArg,
    drop_last: u32,
    depth: Option<f64>,
    budget: f64,
    /// Percentile of ordinary replies' scores that the paper takes as the threshold.
    percentile: Option<f64>,
}

/// Every published recipe, in the order of the help. `docs/recipes.md` says what each paper does
/// and where candor differs.
const PUBLISHED: &[Published] = &[
    Published {
        name: "apollo",
        describe: "logistic regression on every token but the last five, λ = 10, the layer at 27.5 % of the depth, mean over the reply, threshold at 1 % (Goldowsky-Dill et al. 2025)",
        kind: "logistic",
        pooling: "mean",
        rows: RowsArg::Token,
        drop_last: 5,
        depth: Some(0.275),
        budget: 0.01,
        percentile: Some(99.0),
    },
    Published {
        name: "geometry-of-truth",
        describe: "difference of means at the last token (Marks and Tegmark 2024)",
        kind: "mass-mean",
        pooling: "last",
        rows: RowsArg::Last,
        drop_last: 0,
        depth: None,
        budget: FPR_BUDGETS[0],
        percentile: None,
    },
    Published {
        name: "repe",
        describe: "main axis of the differences between replies to one prompt, at the last token (Zou et al. 2023)",
        kind: "lat",
        pooling: "last",
        rows: RowsArg::Last,
        drop_last: 0,
        depth: None,
        budget: FPR_BUDGETS[0],
        percentile: None,
    },
];

fn names() -> PossibleValuesParser {
    let names = PUBLISHED.iter();
    names
        .map(|known| PossibleValue::new(known.name).help(known.describe))
        .collect::<Vec<_>>()
        .into()
}

impl Recipe {
    fn published(&self) -> Option<&'static Published> {
        let name = self.name.as_deref()?;
        PUBLISHED.iter().find(|known| known.name == name)
    }

    /// The threshold that the paper takes, which certifies nothing: its percentile, and that of
    /// the scores of ordinary replies, interpolated between neighbours.
    pub(crate) fn published_threshold(&self, scores: &[f64]) -> Option<(f64, f64)> {
        let percentile = self.published()?.percentile?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let place = percentile / 100.0 * (sorted.len().checked_sub(1)?) as f64;
        let (below, above) = (
            sorted[place.floor() as usize],
            sorted[place.ceil() as usize],
        );
        Some((percentile, below + (above - below) * place.fract()))
    }

    /// The recipe with what its name stands for.
    pub(crate) fn resolved(&self) -> Self {
        let known = self.published();
        let Some(known) = known else {
            return self.clone();
        };
        Self {
            name: self.name.clone(),
            kind: known.kind.into(),
            pooling: known.pooling.into(),
            rows: known.rows,
            drop_last: known.drop_last,
            depth: known.depth,
            budget: known.budget,
            lambda: FitOptions::ACTIVATIONS.lambda,
            seed: self.seed,
        }
    }

    /// The recipe that a bundle was made by.
    pub(crate) fn of(config: &BundleConfig) -> Self {
        let number = |name: &str| config.extra.get(name).and_then(Value::as_f64);
        let text = |name: &str| config.extra.get(name).and_then(Value::as_str);
        let rows = RowsArg::NAMES
            .iter()
            .find(|(name, _)| Some(*name) == text("fit_rows"));
        Self {
            name: text("recipe").map(str::to_owned),
            kind: config.kind.clone(),
            pooling: config.pooling.clone(),
            lambda: number("lambda").unwrap_or(FitOptions::ACTIVATIONS.lambda),
            rows: rows.map_or(RowsArg::Token, |(_, rows)| *rows),
            drop_last: number("fit_drop_last").map_or(0, |n| n as u32),
            depth: number("fit_depth"),
            budget: number("fpr_budget").unwrap_or(FPR_BUDGETS[0]),
            seed: config.seed,
        }
    }

    /// Writes what a bundle's configuration has no field for, so that [`Recipe::of`] finds it.
    pub(crate) fn note(&self, extra: &mut Map<String, Value>) {
        extra.insert("lambda".into(), self.lambda.into());
        extra.insert("fit_rows".into(), self.rows.name().into());
        if let Some(name) = &self.name {
            extra.insert("recipe".into(), name.as_str().into());
        }
        if self.drop_last > 0 {
            extra.insert("fit_drop_last".into(), self.drop_last.into());
        }
        if let Some(depth) = self.depth {
            extra.insert("fit_depth".into(), depth.into());
        }
        if self.budget.to_bits() != FPR_BUDGETS[0].to_bits() {
            extra.insert("fpr_budget".into(), self.budget.into());
        }
    }

    /// SHA-256 of everything that the recipe sets.
    pub(crate) fn sha256(&self) -> String {
        let settings = json!([
            self.name,
            self.kind,
            self.pooling,
            self.lambda,
            self.rows.name(),
            self.drop_last,
            self.depth,
            self.budget,
            self.seed
        ]);
        format!("{:x}", Sha256::digest(settings.to_string()))
    }

    /// Settings of the fit.
    pub(crate) fn options(&self) -> anyhow::Result<FitOptions> {
        Ok(FitOptions {
            lambda: self.lambda,
            ..kind(&self.kind)?.options()
        })
    }

    /// Tokens of a reply that the fit sees: all but the last ones that it drops.
    pub(crate) fn n_seen(&self, tokens: &[Token]) -> usize {
        let seen = tokens.iter().filter(|token| {
            let from_end = token.from_end.unwrap_or(0);
            from_end >= self.drop_last
        });
        seen.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_recipes_name_what_there_is() {
        for known in PUBLISHED {
            assert!(kind(known.kind).is_ok() && candor_probe::pooling(known.pooling).is_ok());
            assert!(known.describe.contains("et al.") || known.describe.contains(" and "));
            let recipe = Recipe {
                name: Some(known.name.into()),
                kind: String::new(),
                pooling: String::new(),
                lambda: 0.0,
                rows: RowsArg::Reply,
                drop_last: 0,
                depth: None,
                budget: 0.0,
                seed: 3,
            };
            let recipe = recipe.resolved();
            assert_eq!((recipe.kind.as_str(), recipe.seed), (known.kind, 3));
            let scores = [4.0, 0.0, 1.0, 2.0, 3.0];
            if let Some((_, threshold)) = recipe.published_threshold(&scores) {
                assert!((threshold - 3.96).abs() < 1e-12);
            }
            assert_eq!(recipe.published_threshold(&[]), None);
            assert!(known.depth.is_none_or(|depth| depth > 0.0 && depth < 1.0));
        }
    }
}
