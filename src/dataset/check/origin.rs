//! Label, origin and what is said about the model agree.

use candor_schema::{Dialogue, Label, Mode, Origin};

use super::Findings;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    for dialogue in dialogues {
        match dialogue.origin {
            Origin::Sampled => {
                for (field, missing) in [
                    ("model", dialogue.model.as_deref().unwrap_or("").is_empty()),
                    ("sampling", dialogue.sampling.is_none()),
                ] {
                    if missing {
                        findings.error(
                            dialogue,
                            format!("the reply was sampled, but `{field}` is missing"),
                            "say which model wrote a sampled reply, and with which settings",
                        );
                    }
                }
            }
            Origin::Written => {
                if dialogue.on_policy {
                    findings.error(
                        dialogue,
                        String::from("the reply is written, but `on_policy` is true"),
                        "only a reply that was sampled from the probed model is on policy",
                    );
                }
                if dialogue.label == Label::Ungraded {
                    findings.warning(
                        dialogue,
                        String::from("the reply is written, but ungraded"),
                        "whoever writes a reply knows what it is: label it",
                    );
                }
            }
        }
        if dialogue.mode == Some(Mode::Omission) && dialogue.label == Label::Control {
            findings.warning(
                dialogue,
                String::from("ordinary traffic has `mode: omission`"),
                "`mode` says how a reply misleads: drop it from controls",
            );
        }
        if let Some(belief) = dialogue.belief.filter(|belief| belief.right > belief.n) {
            findings.error(
                dialogue,
                format!("`belief` counts {} right of {}", belief.right, belief.n),
                "`right` is how many of the `n` neutral answers were right",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::Belief;
    use serde_json::json;

    use super::super::example::{dialogue, expect};
    use super::*;
    use crate::Severity;

    #[test]
    fn a_sampled_reply_names_its_model_and_settings() {
        let mut sampled = dialogue("a");
        sampled.origin = Origin::Sampled;
        sampled.on_policy = true;
        expect(
            std::slice::from_ref(&sampled),
            &[
                (Severity::Error, "a", "`model` is missing"),
                (Severity::Error, "a", "`sampling` is missing"),
            ],
        );
        sampled.model = Some(String::from("smollm2"));
        sampled.sampling = Some(json!({"temperature": 0.7}));
        expect(&[sampled], &[]);
    }

    #[test]
    fn a_written_reply_is_graded_and_off_policy() {
        let mut written = dialogue("a");
        written.on_policy = true;
        written.label = Label::Ungraded;
        written.belief = Some(Belief { n: 2, right: 3 });
        expect(
            &[written],
            &[
                (Severity::Error, "a", "`on_policy` is true"),
                (Severity::Warning, "a", "ungraded"),
                (Severity::Error, "a", "counts 3 right of 2"),
            ],
        );
    }

    #[test]
    fn ordinary_traffic_omits_nothing() {
        let mut control = dialogue("a");
        control.label = Label::Control;
        control.mode = Some(Mode::Omission);
        expect(&[control], &[(Severity::Warning, "a", "omission")]);
    }
}
