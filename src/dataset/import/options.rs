//! What the user says about a file that is imported.

use std::collections::BTreeMap;

use candor_schema::{Incentive, Label, Split};

use crate::Error;
use crate::split::Shares;

/// Fields that a path may be given for.
const FIELDS: &[&str] = &[
    "messages", "prompt", "system", "response", "label", "scenario", "family", "id", "truth",
    "lie", "key_kind", "model", "split", "language", "licence", "source", "template",
];

/// What the user says about a file, over what the file says about itself.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Where fields stand: name → name in the file, or path with dots; [`ImportOptions::field`] checks names.
    pub fields: BTreeMap<String, String>,
    /// What label words mean, by the word in lower case; [`ImportOptions::label_word`] checks labels.
    pub labels: BTreeMap<String, Label>,
    /// Label of records that state none; by default they are ungraded.
    pub label: Option<Label>,
    /// System message of dialogues that have none.
    pub system: Option<String>,
    /// What that system message rewards.
    pub incentive: Option<Incentive>,
    /// Family of all dialogues.
    pub family: Option<String>,
    /// Licence of all dialogues, as an SPDX identifier.
    pub licence: Option<String>,
    /// Source of all dialogues.
    pub source: Option<String>,
    /// Model that sampled the replies, where the file does not say.
    pub model: Option<String>,
    /// Language of dialogues that state none, as a BCP 47 tag.
    pub language: Option<String>,
    /// One split for all dialogues.
    pub split: Option<Split>,
    /// Shares of the splits; by default [`Shares::LABELLED`], and [`Shares::CONTROLS`] where all
    /// replies are ordinary.
    pub shares: Option<Shares>,
}

impl ImportOptions {
    /// Says where a field stands, as `NAME=PATH`.
    ///
    /// # Errors
    /// [`Error::BadOption`] for an unknown field or an empty path.
    pub fn field(&mut self, text: &str) -> Result<(), Error> {
        let (name, path) = pair("--field", text, "NAME=PATH")?;
        if !FIELDS.contains(&name) {
            return Err(Error::BadOption {
                option: "--field",
                value: text.to_owned(),
                expected: format!("one of {} before `=`", FIELDS.join(", ")),
            });
        }
        self.fields.insert(name.to_owned(), path.to_owned());
        Ok(())
    }

    /// Says what a label word means, as `WORD=LABEL`.
    ///
    /// # Errors
    /// [`Error::BadOption`] for an unknown label or an empty word.
    pub fn label_word(&mut self, text: &str) -> Result<(), Error> {
        let (word, name) = pair("--label-map", text, "WORD=LABEL")?;
        let label = Label::ALL.iter().find(|label| label.as_str() == name);
        let label = label.ok_or_else(|| Error::BadOption {
            option: "--label-map",
            value: text.to_owned(),
            expected: format!("one of {} after `=`", words()),
        })?;
        self.labels.insert(word.to_lowercase(), *label);
        Ok(())
    }
}

/// All label words, for messages.
fn words() -> String {
    let words: Vec<&str> = Label::ALL.iter().map(|label| label.as_str()).collect();
    words.join(", ")
}

fn pair<'a>(option: &'static str, text: &'a str, form: &str) -> Result<(&'a str, &'a str), Error> {
    // The last `=`: a label word may hold one.
    let halves = text.rsplit_once('=').map(|(a, b)| (a.trim(), b.trim()));
    halves
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .ok_or_else(|| Error::BadOption {
            option,
            value: text.to_owned(),
            expected: format!("`{form}`"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let mut options = ImportOptions::default();
        options.field("label = scores.judge.value").unwrap();
        options.label_word("Not OK=deceptive").unwrap();
        options.label_word("a=b=honest").unwrap();
        assert_eq!(options.fields["label"], "scores.judge.value");
        assert_eq!(options.labels["not ok"], Label::Deceptive);
        assert_eq!(options.labels["a=b"], Label::Honest);
        for (error, expected) in [
            (
                options.field("colour=x"),
                "`--field colour=x` (expected one of messages",
            ),
            (options.field("label"), "expected `NAME=PATH`"),
            (options.field("label="), "expected `NAME=PATH`"),
            (options.label_word("bad=lie"), "one of honest, deceptive"),
            (options.label_word("=honest"), "expected `WORD=LABEL`"),
        ] {
            let message = error.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
