//! A quiz, and the answers that the agent recorded.

use serde::Serialize;

/// A question with one right answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The question.
    pub text: String,
    /// The right answer.
    pub right: i64,
    /// The agent's answer, if it recorded one.
    pub answer: Option<i64>,
}

/// All questions, numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Quiz {
    /// The questions.
    pub items: Vec<Item>,
}

impl Quiz {
    /// Answers recorded.
    pub fn n_answered(&self) -> u32 {
        let answered = self.items.iter().filter(|item| item.answer.is_some());
        answered.count() as u32
    }

    /// Answers recorded that are right.
    pub fn n_right(&self) -> u32 {
        let right = self.items.iter().filter(|i| i.answer == Some(i.right));
        right.count() as u32
    }
}
