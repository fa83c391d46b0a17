//! A reply in the terminal, each token on a background that shows its logit.

use crate::output;

/// Background colours from "less deceptive" to "more deceptive" of the 256-colour palette: blue over grey to
/// orange, which people with any kind of colour blindness can tell apart.
const SCALE: [u8; 9] = [25, 31, 67, 109, 250, 222, 215, 208, 202];

/// One token: its text and logit.
pub(crate) type Cell<'a> = (&'a str, f64);

/// Lines that show tokens, wrapped; `limit` is the size of a logit that has the deepest colour.
pub(crate) fn lines(tokens: &[Cell<'_>], limit: f64) -> Vec<String> {
    let colours = output::colours();
    let columns = output::columns() - 4;
    let mut lines = vec![String::from("  ")];
    let mut used = 0;
    for (text, logit) in tokens {
        let shown = text.replace(['\n', '\r'], "⏎").replace('\t', "⇥");
        let n_chars = shown.chars().count();
        if used + n_chars > columns {
            lines.push(String::from("  "));
            used = 0;
        }
        let line = lines.last_mut().expect("never empty");
        if colours {
            let share = f64::midpoint((logit / limit.max(1e-9)).clamp(-1.0, 1.0), 1.0);
            let colour = SCALE[(share * (SCALE.len() - 1) as f64).round() as usize];
            line.push_str(&painted(colour, &shown));
        } else if *logit >= 0.0 && shown.trim() != "" {
            // Without colours, tokens on the deceptive side stand in brackets.
            line.extend(["[", &shown, "]"]);
            used += 2;
        } else {
            line.push_str(&shown);
        }
        used += n_chars;
    }
    lines
}

/// The legend under one or several heat maps.
pub(crate) fn legend(limit: f64) -> String {
    if !output::colours() {
        return "  [tokens in brackets] have a logit at or above 0: they look more like the deceptive training replies".into();
    }
    let swatches: Vec<String> = SCALE.iter().map(|&colour| painted(colour, "  ")).collect();
    let swatches = swatches.concat();
    format!(
        "  {:+.1} {swatches} {:+.1}  logit per token: honest-looking to deceptive-looking",
        -limit, limit
    )
}

/// A limit that suits some logits: the 95th percentile of their sizes.
pub(crate) fn limit(logits: impl Iterator<Item = f64>) -> f64 {
    let mut sizes: Vec<f64> = logits.map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    sizes
        .get((sizes.len() * 95 / 100).min(sizes.len().saturating_sub(1)))
        .copied()
        .unwrap_or(1.0)
        .max(1e-6)
}

/// Black text on a background of the 256-colour palette.
fn painted(colour: u8, text: &str) -> String {
    format!("\u{1b}[48;5;{colour};38;5;16m{text}\u{1b}[0m")
}
