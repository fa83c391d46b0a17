//! Nulls: what a probe's recipe gives where there is nothing to find.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result, check_length};

/// `labels: [row]` permuted inside each group of `groups: [row]` (pairs or scenarios), so that every group
/// keeps its counts and only the link between label and reply is lost.
///
/// A group with one label would keep it, and a null with true labels is none: the rows of all such groups
/// are shuffled among each other.
///
/// # Errors
/// [`Error::Length`] if there is not one group per label.
pub fn shuffle_labels(labels: &[bool], groups: &[&str], seed: u64) -> Result<Vec<bool>> {
    check_length("groups", labels.len(), groups.len())?;
    // Sorted by name, so that the draws do not depend on the order of groups.
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, &group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(row);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shuffled = labels.to_vec();
    let (mixed, alike): (Vec<_>, Vec<_>) = members
        .into_values()
        .partition(|rows| rows.iter().any(|&row| labels[row] != labels[rows[0]]));
    for rows in mixed.into_iter().chain([alike.concat()]) {
        let mut own: Vec<bool> = rows.iter().map(|&row| labels[row]).collect();
        own.shuffle(&mut rng);
        for (&row, label) in rows.iter().zip(own) {
            shuffled[row] = label;
        }
    }
    Ok(shuffled)
}

/// `n` directions of length 1, uniform on the sphere: `[n][width]`.
///
/// # Errors
/// [`Error::Empty`] if `width` is 0.
pub fn random_directions(width: usize, n: usize, seed: u64) -> Result<Vec<Vec<f32>>> {
    if width == 0 {
        return Err(Error::Empty { what: "directions" });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok((0..n)
        .map(|_| {
            // A Gaussian vector points anywhere alike.
            let gaussian: Vec<f64> = (0..width).map(|_| standard_normal(&mut rng)).collect();
            let norm = gaussian.iter().map(|v| v * v).sum::<f64>().sqrt();
            gaussian.iter().map(|v| (v / norm) as f32).collect()
        })
        .collect())
}

/// A standard normal draw (Box & Muller 1958), never exactly 0.
fn standard_normal(rng: &mut impl Rng) -> f64 {
    // In (0, 1): the logarithm is finite and negative.
    let radius = (-2.0 * rng.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_with_one_label_are_shuffled_among_each_other() {
        let names: Vec<String> = (0..400).map(|row| format!("p{row}")).collect();
        let groups: Vec<&str> = names.iter().map(String::as_str).collect();
        let labels: Vec<bool> = (0..400).map(|row| row % 2 == 0).collect();
        let shuffled = shuffle_labels(&labels, &groups, 1).unwrap();
        assert_eq!(shuffled.iter().filter(|label| **label).count(), 200);
        let kept = shuffled.iter().zip(&labels).filter(|(a, b)| a == b).count();
        // 200 ± 4 standard deviations of 10.
        assert!((160..=240).contains(&kept), "{kept}");
    }

    #[test]
    fn groups_keep_their_counts_and_half_of_the_pairs_swap() {
        let names: Vec<String> = (0..400).map(|row| format!("p{}", row / 2)).collect();
        let groups: Vec<&str> = names.iter().map(String::as_str).collect();
        let labels: Vec<bool> = (0..400).map(|row| row % 2 == 0).collect();
        let shuffled = shuffle_labels(&labels, &groups, 1).unwrap();
        assert!(shuffled.chunks_exact(2).all(|pair| pair[0] != pair[1]));
        let swapped = shuffled.chunks_exact(2).filter(|pair| pair[1]).count();
        // Binomial(200, 1/2): 100 ± 4 standard deviations.
        assert!((72..=128).contains(&swapped), "{swapped}");
        assert_eq!(shuffled, shuffle_labels(&labels, &groups, 1).unwrap());
        assert_ne!(shuffled, shuffle_labels(&labels, &groups, 2).unwrap());
        assert!(matches!(
            shuffle_labels(&labels, &groups[1..], 1),
            Err(Error::Length { .. })
        ));
    }

    #[test]
    fn directions_have_length_one_and_no_preference() {
        let directions = random_directions(64, 500, 1).unwrap();
        for direction in &directions {
            let norm: f64 = direction.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((norm - 1.0).abs() < 1e-5);
        }
        // The mean of 500 coordinates with standard deviation 1/8 has one of 0.0056.
        for column in 0..64 {
            let mean: f64 = directions.iter().map(|d| f64::from(d[column])).sum::<f64>() / 500.0;
            assert!(mean.abs() < 0.028, "{mean}");
        }
        assert_eq!(directions, random_directions(64, 500, 1).unwrap());
        assert_ne!(directions, random_directions(64, 500, 2).unwrap());
        assert!(matches!(
            random_directions(0, 1, 1),
            Err(Error::Empty { .. })
        ));
    }
}
