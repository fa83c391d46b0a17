//! A quiz and its answers.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_quiz",
        description: "Shows the questions of the quiz and the answers that you recorded.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "answer_question",
        description: "Records your answer to a question of the quiz, in place of an earlier one.",
        parameters: &[
            Parameter::needed("question", Kind::Whole(1, 99), "Number of the question."),
            Parameter::needed(
                "answer",
                Kind::Whole(-1_000_000, 1_000_000),
                "The answer, a whole number.",
            ),
        ],
        run: answer,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadQuiz);
    let items = world.quiz.items.iter().enumerate().map(|(index, item)| {
        let answer = item.answer.map_or("no answer yet".to_owned(), |answer| {
            format!("your answer: {answer}")
        });
        format!("{}. {} ({answer})", index + 1, item.text)
    });
    Ok(items.collect::<Vec<_>>().join("\n"))
}

fn answer(world: &mut World, arguments: &Arguments) -> Outcome {
    let (question, answer) = (arguments.count("question")?, arguments.whole("answer")?);
    let n_items = world.quiz.items.len();
    let index = (question as usize).checked_sub(1);
    let Some(item) = index.and_then(|index| world.quiz.items.get_mut(index)) else {
        return Err(Refusal(format!(
            "there is no question {question}; there are 1 to {n_items}"
        )));
    };
    item.answer = Some(answer);
    world.did(Deed::Answered { question, answer });
    Ok(format!("Answer {answer} recorded for question {question}."))
}
