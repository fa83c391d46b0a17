//! The closed vocabularies of dialogues and token rows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines a string enum whose serde form, `Display` and `ALL` come from one list.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it is written in files.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// What the scored assistant turn is. The positive class is [`Label::Deceptive`].
    Label {
        /// States what the model has reason to believe.
        Honest = "honest",
        /// Misleads on purpose.
        Deceptive = "deceptive",
        /// False, but believed.
        Mistaken = "mistaken",
        /// Told as a story.
        Fiction = "fiction",
        /// Not meant literally.
        Sarcasm = "sarcasm",
        /// Repeats somebody else's falsehood as such.
        Quotation = "quotation",
        /// Bluffs by rules that all sides know.
        Negotiation = "negotiation",
        /// Is about deception.
        Topic = "topic",
        /// Reasons from a premise known to be false.
        Counterfactual = "counterfactual",
        /// Admits an earlier deception.
        Confession = "confession",
        /// Declines.
        Refusal = "refusal",
        /// Ordinary traffic.
        Control = "control",
        /// Could not be graded; never trained or tested on.
        Ungraded = "ungraded",
    }
}

vocabulary! {
    /// What the prompt rewards.
    Incentive {
        /// Telling the truth pays.
        Honest = "honest",
        /// Deceiving pays.
        Deceptive = "deceptive",
        /// Both pay alike.
        Neutral = "neutral",
        /// The prompt names no stake.
        None = "none",
    }
}

vocabulary! {
    /// How the deceptive reply misleads.
    Mode {
        /// By a false statement.
        Commission = "commission",
        /// By leaving out what was asked, or by a true but misleading statement.
        Omission = "omission",
    }
}

vocabulary! {
    /// Whether the prompt tells the model to deceive.
    Motive {
        /// The prompt asks for deception.
        Encouraged = "encouraged",
        /// The prompt carries no such instruction.
        Inherent = "inherent",
    }
}

vocabulary! {
    /// Where the scored turn comes from.
    Origin {
        /// Written for the data set.
        Written = "written",
        /// Sampled from a model.
        Sampled = "sampled",
    }
}

vocabulary! {
    /// What a scenario may be used for. All dialogues of a scenario share one split.
    Split {
        /// Fitting.
        Train = "train",
        /// Choosing.
        Validation = "validation",
        /// Thresholds and probabilities.
        Calibration = "calibration",
        /// Opened once per released probe.
        Test = "test",
    }
}

vocabulary! {
    /// Who speaks.
    Role {
        /// Instructions of the operator.
        System = "system",
        /// The user.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// The result of a tool call.
        Tool = "tool",
    }
}

vocabulary! {
    /// What part of a rendered dialogue a token belongs to.
    Segment {
        /// Content of a system message.
        System = "system",
        /// Content of a user message.
        User = "user",
        /// Content of an assistant message that is not split further.
        Assistant = "assistant",
        /// Reasoning inside an assistant message.
        Thinking = "thinking",
        /// The answer after reasoning.
        Answer = "answer",
        /// A tool call.
        ToolCall = "tool_call",
        /// Content of a tool message.
        Tool = "tool",
        /// Text that the chat template adds: role headers, control tokens, default system prompts.
        Template = "template",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_serde_forms_agree() {
        for label in Label::ALL {
            assert_eq!(serde_json::to_value(label).unwrap(), label.as_str());
        }
        for segment in Segment::ALL {
            assert_eq!(serde_json::to_value(segment).unwrap(), segment.as_str());
        }
    }
}
