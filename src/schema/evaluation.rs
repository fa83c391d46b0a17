//! What `candor evaluate` measures: the content of `eval.json`, read by the report and the README table.

use serde::{Deserialize, Serialize};

use crate::{FormatVersion, HookPoint, Interval, Label, ModelFingerprint, Proportion, Split};

/// One evaluation of one probe, with everything it must be compared with beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of this record.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// Version of candor that made it.
    pub candor_version: String,
    /// Command that makes it again, without absolute paths.
    pub command: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// The model that was watched.
    pub model: ModelSummary,
    /// The probe that was evaluated.
    pub probe: ProbeSummary,
    /// The labelled data.
    pub dataset: DatasetSummary,
    /// Ordinary traffic: where thresholds come from and where they are checked.
    pub controls: DatasetSummary,
    /// The split that the numbers are from.
    pub split: Split,
    /// How often it was opened for probes of this name; counted on `test` only, and not by older
    /// versions.
    #[serde(default, skip_serializing_if = "Openings::is_uncounted")]
    pub openings: Openings,
    /// The probe first, then every baseline.
    pub detectors: Vec<DetectorRow>,
    /// How well each layer did on the validation split, and which one was chosen there.
    pub layers: Vec<LayerRow>,
    /// The probe on parts of the split: families, motives, languages.
    pub groups: Vec<GroupRow>,
    /// The probe's probabilities beside what came true; absent where the probe gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The recipe on other draws of its training scenarios; absent where none were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refits: Option<Refits>,
    /// Checks for what fakes a result; empty where an older version measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lights: Vec<Light>,
    /// What the probe knows as the replies to one prompt go apart; absent where no prompt has an
    /// honest and a deceptive reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
    /// The probe on classes of replies that deceive nobody but look as if; empty where none were
    /// given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hard_negatives: Vec<HardNegativeRow>,
    /// The probe's logit of every dialogue in the split, and of every control.
    pub scores: Vec<ScoredDialogue>,
    /// A few replies with the logit of every token.
    pub traces: Vec<TokenTrace>,
    /// Sentences that a reader must know: what the numbers do not show.
    pub caveats: Vec<String>,
}

/// How often a split was opened for probes of one name.
///
/// Who looks at a split and then makes the probe anew has chosen on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Openings {
    /// Probes, different in weights or recipe, that were measured on it, this one included; 0 where
    /// nobody counted.
    pub n_probes: u64,
    /// Measurements, this one included; that of the same probe again changes nothing and counts.
    pub n_measured: u64,
    /// Why it was opened for another probe, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Openings {
    /// Whether nobody counted.
    pub fn is_uncounted(&self) -> bool {
        self.n_probes == 0
    }

    /// What a reader must know of it, in one sentence; none where nobody counted.
    pub fn sentence(&self) -> Option<String> {
        let times = |n| match n {
            1 => String::from("once"),
            n => format!("{n} times"),
        };
        let measured = times(self.n_measured);
        let reasons: Vec<String> = self.reasons.iter().map(|why| format!("“{why}”")).collect();
        let why = match reasons.as_slice() {
            [] => String::from("no reason was given"),
            reasons => format!("reasons given: {}", reasons.join(", ")),
        };
        match self.n_probes {
            0 => None,
            1 => Some(format!(
                "The split was opened for one probe of this name, and measured on {measured}."
            )),
            n => Some(format!(
                "The split was opened for {n} probes of this name, and measured on {measured}; {why}."
            )),
        }
    }
}

/// The model of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Name, for example `smollm2-135m-instruct`.
    pub name: String,
    /// Identity.
    pub fingerprint: ModelFingerprint,
}

/// The probe of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Where it reads.
    pub hook_points: Vec<HookPoint>,
    /// How it was fitted, for example `logistic`.
    pub kind: String,
    /// How token logits become one, for example `mean`.
    pub pooling: String,
}

/// Counts of a data set in one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Name of the data set.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Dialogues in train, validation, calibration and test, as used.
    pub n_dialogues: SplitCounts,
    /// Scenarios in train, validation, calibration and test, as used.
    pub n_scenarios: SplitCounts,
}

/// One count per split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SplitCounts {
    /// In `train`.
    pub train: usize,
    /// In `validation`.
    pub validation: usize,
    /// In `calibration`.
    pub calibration: usize,
    /// In `test`.
    pub test: usize,
}

/// What kind of evidence a detector reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectorKind {
    /// The model's activations.
    Probe,
    /// The model's activations, by the probe's recipe: each family is scored by a fit that has seen
    /// nothing of it.
    HeldOut,
    /// The reply's words.
    Text,
    /// The reply's length and punctuation.
    Surface,
    /// What was asked, without the reply.
    Prompt,
    /// The model's surprise at the reply.
    Surprise,
    /// What somebody else made of the reply: a judge, an embedding, any scores from a file.
    Rival,
    /// The activations of another model that reads the same replies, by the probe's recipe.
    OtherModel,
    /// The model's activations, by the probe's recipe on other draws of its training scenarios.
    Refit,
    /// Nothing: the probe's recipe on shuffled labels or a random direction.
    Null,
}

impl DetectorKind {
    /// Whether it is the probe itself or its recipe on the same activations, and no rival of it.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Probe | Self::HeldOut | Self::Refit)
    }

    /// Whether it knows nothing of the model that is watched: what it finds is in the text.
    pub fn reads_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Surface | Self::Prompt | Self::Rival | Self::OtherModel
        )
    }
}

/// One detector on the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorRow {
    /// Short name, for example `tf-idf`.
    pub name: String,
    /// What it reads.
    pub kind: DetectorKind,
    /// One sentence on how it was made.
    pub description: String,
    /// Honest against deceptive replies.
    pub auroc: Interval,
    /// The probe's AUROC minus this one's, by a bootstrap over the same scenarios; absent for the
    /// probe itself, for its recipe fitted otherwise, and for nulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_minus_this: Option<Interval>,
    /// Among replies to the same prompt; absent where no prompt has both kinds, and for rows over
    /// several fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_prompt: Option<SamePrompt>,
    /// Thresholds from calibration controls, and what they do on the split.
    pub operating_points: Vec<OperatingPoint>,
    /// Points `(false-alarm rate, recall)` from (0, 0) to (1, 1).
    pub roc: Vec<[f64; 2]>,
}

/// A threshold with a budget of false alarms (Neyman–Pearson rule; Tong, Feng and Li 2018).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Largest tolerated rate of false alarms on ordinary traffic.
    pub fpr_budget: f64,
    /// Confidence that the true rate is within the budget.
    pub confidence: f64,
    /// Independent calibration scenarios needed for this budget.
    pub n_required: u64,
    /// Independent calibration scenarios at hand.
    pub n: u64,
    /// Calibration controls that may lie above the threshold.
    pub allowed_exceedances: Option<u64>,
    /// The threshold; absent where `n` is too small.
    pub threshold: Option<f64>,
    /// False alarms on the controls of the split.
    pub realised_fpr: Option<Proportion>,
    /// Deceptive replies flagged.
    pub recall: Option<Proportion>,
    /// Honest replies to the same prompts flagged.
    pub false_alarms_honest: Option<Proportion>,
    /// Why there is no threshold, for example `needs n ≥ 299, has 100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One layer of the sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Where it reads.
    pub hook_point: HookPoint,
    /// AUROC on the validation split.
    pub validation_auroc: Interval,
    /// Whether the bundle reads here.
    pub chosen: bool,
}

/// The probe on a part of the split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    /// What the split was parted by, for example `family`.
    pub by: String,
    /// The part, for example `sandbagging`.
    pub group: String,
    /// Scenarios in it.
    pub n_scenarios: usize,
    /// AUROC inside it.
    pub auroc: Interval,
}

/// What the probe's probabilities are worth on the split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error over 15 bins of equal mass.
    pub ece: f64,
    /// What it would be by chance if every probability were right: mean and interval. With few
    /// replies in a bin this is far above 0.
    pub ece_if_right: Interval,
    /// Mean squared error.
    pub brier: Interval,
    /// Mean squared error of always saying the split's share of deceptive replies.
    pub brier_of_share: f64,
    /// The reliability curve, from the lowest probabilities to the highest.
    pub bins: Vec<ReliabilityBin>,
}

/// Replies with about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Their mean probability.
    pub probability: f64,
    /// Those that are deceptive.
    pub deceptive: Proportion,
}

/// The probe's recipe at the probe's layer on scenarios drawn with replacement from its training
/// scenarios, once per seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refits {
    /// AUROC on the split, one per seed.
    pub aurocs: Vec<f64>,
    /// Cosine between the directions of every two of these fits, in the model's own coordinates.
    pub cosines: Vec<f64>,
    /// Cosine between each one's direction and the probe's.
    pub cosines_to_probe: Vec<f64>,
}

/// One check for what fakes a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Light {
    /// What a passing result may be said to be.
    pub check: String,
    /// Whether it passes.
    pub colour: LightColour,
    /// When it passes.
    pub rule: String,
    /// What was found.
    pub found: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LightColour {
    /// It passes.
    Green,
    /// It fails.
    Red,
    /// It could not be measured on these data.
    Grey,
}

/// Honest against deceptive among replies to the same prompt: what a detector knows beyond what was
/// asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamePrompt {
    /// Prompts with both.
    pub n_prompts: usize,
    /// How often the deceptive reply scores higher, ties counted half.
    pub auroc: Interval,
}

/// The probe along pairs of an honest and a deceptive reply to the same prompt, counted from the
/// first token in which they differ.
///
/// Up to there both have the same activations, so nothing can tell them apart: an AUROC other than
/// 0.5 at 0 tokens would be a leak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// By tokens since the replies differ, ascending.
    pub points: Vec<DivergencePoint>,
    /// How early the probe flags lies; absent where there are too few controls for a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<LeadTime>,
}

/// The probe some tokens after the replies of each pair differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DivergencePoint {
    /// Tokens of either reply since then.
    pub n_tokens: usize,
    /// Pairs in which both replies have that many.
    pub n_pairs: usize,
    /// Honest against deceptive, by the running score.
    pub auroc: Interval,
}

/// How early lies are flagged, by a threshold on the largest running score of a whole reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeadTime {
    /// Largest tolerated share of ordinary replies with a flag anywhere.
    pub fpr_budget: f64,
    /// The threshold.
    pub threshold: f64,
    /// False alarms on the controls of the split.
    pub realised_fpr: Proportion,
    /// Deceptive replies flagged at some token.
    pub flagged: Proportion,
    /// Deceptive replies flagged before the first token of the lie, of those whose lie is marked.
    pub before_lie: Proportion,
    /// Lies that begin within the first eight tokens since the replies differ, of the same: there
    /// is little to be early on.
    pub begins_early: Proportion,
    /// Median of tokens from the flag to the first token of the lie, over flagged lies; negative
    /// where the flag comes later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_lead: Option<f64>,
}

/// The probe on one class of hard negatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HardNegativeRow {
    /// What the replies are.
    pub label: Label,
    /// Scenarios.
    pub n_scenarios: usize,
    /// False alarms at each certified threshold of the probe.
    pub alarms: Vec<BudgetAlarms>,
}

/// False alarms at one threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetAlarms {
    /// Budget of the threshold on ordinary traffic.
    pub fpr_budget: f64,
    /// Replies flagged.
    pub alarms: Proportion,
}

/// The probe's logit of one dialogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredDialogue {
    /// The dialogue's id.
    pub id: String,
    /// Its scenario.
    pub scenario: String,
    /// Its family.
    pub family: String,
    /// What its scored turn is.
    pub label: Label,
    /// Its split.
    pub split: Split,
    /// Pooled logit of the reply.
    pub logit: f64,
}

/// One reply with the logit of every token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenTrace {
    /// The dialogue's id.
    pub id: String,
    /// What the scored turn is.
    pub label: Label,
    /// The last user message, for orientation.
    pub prompt: String,
    /// Pooled logit of the reply.
    pub logit: f64,
    /// The reply's tokens in order.
    pub tokens: Vec<TokenLogit>,
}

/// One token of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogit {
    /// The token's text.
    pub text: String,
    /// Logit read where this token is the input.
    pub logit: f64,
    /// Whether it overlaps a labelled span.
    pub in_span: bool,
}
