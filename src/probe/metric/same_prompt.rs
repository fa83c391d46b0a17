//! AUROC among replies to the same prompt: what a detector knows beyond the prompt.

use std::collections::BTreeMap;

use candor_schema::Interval;

use super::bootstrap::{Bootstrap, interval};
use super::check_scores;
use crate::error::{Result, check_length};

/// How often a deceptive reply scores above an honest reply to the same prompt, ties counted half,
/// with its bootstrap interval over scenarios; `None` where no prompt has both.
///
/// All four slices are `[row]`. Every pair counts alike, so a prompt with more replies counts more.
///
/// # Errors
/// As [`super::auroc_interval`].
pub fn same_prompt_interval(
    scores: &[f64],
    labels: &[bool],
    prompts: &[&str],
    scenarios: &[&str],
    bootstrap: &Bootstrap,
) -> Result<Option<(usize, Interval)>> {
    check_scores(scores, labels)?;
    check_length("prompts", scores.len(), prompts.len())?;
    check_length("scenarios", scores.len(), scenarios.len())?;
    let mut by_prompt: BTreeMap<&str, [Vec<usize>; 2]> = BTreeMap::new();
    for (row, prompt) in prompts.iter().enumerate() {
        by_prompt.entry(prompt).or_default()[usize::from(labels[row])].push(row);
    }
    by_prompt.retain(|_, [honest, deceptive]| !honest.is_empty() && !deceptive.is_empty());
    if by_prompt.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<(usize, f64)> = by_prompt
        .values()
        .flat_map(|[honest, deceptive]| {
            let of = |&lie: &usize| {
                let win = move |&honest: &usize| {
                    let above = f64::from(u8::from(scores[lie] > scores[honest]));
                    let equal = f64::from(u8::from(scores[lie].total_cmp(&scores[honest]).is_eq()));
                    (lie, above + equal / 2.0)
                };
                honest.iter().map(win).collect::<Vec<_>>()
            };
            deceptive.iter().flat_map(of).collect::<Vec<_>>()
        })
        .collect();
    let rows: Vec<usize> = pairs.iter().map(|(row, _)| *row).collect();
    let of_pairs: Vec<&str> = rows.iter().map(|&row| scenarios[row]).collect();
    let found = interval(&of_pairs, bootstrap, [0.0, 1.0], |weight| {
        let (mut won, mut all) = (0.0, 0.0);
        for (index, (_, win)) in pairs.iter().enumerate() {
            let weight = weight(index) as f64;
            won += weight * win;
            all += weight;
        }
        (all > 0.0).then(|| won / all)
    })?;
    Ok(Some((by_prompt.len(), found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replies_to_one_prompt_are_compared() {
        // Between prompts the order is wrong, within each it is right, with one tie.
        let scores = [5.0, 6.0, 1.0, 1.0, 2.0];
        let labels = [false, true, false, true, true];
        let prompts = ["a", "a", "b", "b", "b"];
        let scenarios = ["s", "s", "t", "t", "t"];
        let bootstrap = Bootstrap::seeded(1);
        let found = same_prompt_interval(&scores, &labels, &prompts, &scenarios, &bootstrap);
        let (n_prompts, found) = found.unwrap().unwrap();
        assert_eq!(n_prompts, 2);
        assert!((found.value - 2.5 / 3.0).abs() < 1e-12);
        assert!(found.low >= 0.75 - 1e-12 && found.high <= 1.0);
    }

    #[test]
    fn prompts_of_one_class_say_nothing() {
        let bootstrap = Bootstrap::seeded(1);
        let found = same_prompt_interval(
            &[1.0, 2.0],
            &[false, true],
            &["a", "b"],
            &["s", "t"],
            &bootstrap,
        );
        assert_eq!(found.unwrap(), None);
    }
}
