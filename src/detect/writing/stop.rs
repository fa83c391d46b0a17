//! Stop strings: a text is cut before the first of them, in whatever pieces it comes.

use crate::error::{Error, Result};

/// Most stop strings.
const MAX_STRINGS: usize = 64;

/// Longest stop string in bytes.
const MAX_BYTES: usize = 1024;

/// Lets text through up to the first occurrence of a stop string: the one that starts first.
///
/// What could still turn out to be the beginning of a stop string is held back, so no part of one is
/// ever let through. How the text is cut into pieces makes no difference.
#[derive(Clone)]
pub(super) struct StopFilter {
    /// None is empty.
    stops: Vec<String>,
    /// The end of the text so far: the longest part that may belong to a stop string.
    held: String,
    /// Bytes let through.
    n_released: usize,
}

/// Where a text ends because of a stop string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// Index of the stop string; the first one where several start at the same place.
    pub(super) index: usize,
    /// Bytes of text before it.
    pub(super) at: usize,
}

impl std::fmt::Debug for StopFilter {
    /// Sizes only: texts are user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopFilter")
            .field("n_stops", &self.stops.len())
            .field("n_held", &self.held.len())
            .field("n_released", &self.n_released)
            .finish()
    }
}

impl StopFilter {
    /// A filter that has seen no text.
    ///
    /// # Errors
    /// [`Error::StopString`] for an empty string, one that is too long, or too many.
    pub(super) fn new(stops: &[String]) -> Result<Self> {
        let refuse = |what| Err(Error::StopString { what });
        if stops.len() > MAX_STRINGS {
            return refuse(format!("{} of them, at most {MAX_STRINGS}", stops.len()));
        }
        if let Some(index) = stops.iter().position(String::is_empty) {
            return refuse(format!("number {index} is empty"));
        }
        if let Some(stop) = stops.iter().find(|stop| stop.len() > MAX_BYTES) {
            return refuse(format!("one has {} bytes, at most {MAX_BYTES}", stop.len()));
        }
        Ok(Self {
            stops: stops.to_vec(),
            held: String::new(),
            n_released: 0,
        })
    }

    /// Takes the next piece and adds to `out` what can be let through. Once there is a stop, the text
    /// has ended.
    pub(super) fn push(&mut self, piece: &str, out: &mut String) -> Option<Stop> {
        self.held.push_str(piece);
        let stop = self.first();
        let pending = self.first_pending();
        // A string that began earlier and may yet be completed goes before one that is complete.
        let decided = stop.filter(|stop| stop.at <= pending);
        let n_free = decided.map_or(pending, |stop| stop.at);
        out.push_str(&self.held[..n_free]);
        let before = self.n_released;
        self.n_released += n_free;
        if decided.is_some() {
            self.held.clear();
        } else {
            self.held.drain(..n_free);
        }
        decided.map(|stop| Stop {
            at: before + stop.at,
            ..stop
        })
    }

    /// Ends the text and adds to `out` what was held back and is part of no stop string.
    pub(super) fn finish(&mut self, out: &mut String) -> Option<Stop> {
        let stop = self.first();
        let n_free = stop.map_or(self.held.len(), |stop| stop.at);
        out.push_str(&self.held[..n_free]);
        let before = self.n_released;
        self.n_released += n_free;
        self.held.clear();
        stop.map(|stop| Stop {
            at: before + stop.at,
            ..stop
        })
    }

    /// The complete stop string that starts first in what is held, counted from its beginning.
    fn first(&self) -> Option<Stop> {
        let found = self.stops.iter().enumerate().filter_map(|(index, stop)| {
            let at = self.held.find(stop.as_str())?;
            Some(Stop { index, at })
        });
        found.min_by_key(|stop| (stop.at, stop.index))
    }

    /// Where the longest end of what is held starts that is the beginning of a stop string, but not
    /// all of it; the length of what is held where there is none.
    fn first_pending(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let starts = self.held.char_indices().map(|(at, _)| at);
        let pending = starts.skip_while(|&at| at < from).find(|&at| {
            let end = &self.held[at..];
            self.stops
                .iter()
                .any(|stop| stop.len() > end.len() && stop.starts_with(end))
        });
        pending.unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strings(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|&stop| stop.to_owned()).collect()
    }

    /// What is let through after each piece, and the stop.
    fn stream(stops: &[String], pieces: &[&str]) -> (Vec<String>, Option<Stop>) {
        let mut filter = StopFilter::new(stops).unwrap();
        let mut shown = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            let stop = filter.push(piece, &mut text);
            shown.push(text.clone());
            if stop.is_some() {
                return (shown, stop);
            }
        }
        let stop = filter.finish(&mut text);
        shown.push(text);
        (shown, stop)
    }

    #[test]
    fn a_stop_over_several_pieces() {
        let (shown, stop) = stream(&strings(&["END"]), &["one E", "N", "two EN", "D more"]);
        assert_eq!(shown, ["one ", "one ", "one ENtwo ", "one ENtwo "]);
        assert_eq!(stop, Some(Stop { index: 0, at: 10 }));
    }

    #[test]
    fn the_earlier_start_wins_even_if_it_ends_later() {
        let stops = strings(&["b", "abc"]);
        assert_eq!(
            stream(&stops, &["xa", "b", "c"]).1,
            Some(Stop { index: 1, at: 1 })
        );
        assert_eq!(
            stream(&stops, &["xa", "b", "d"]).1,
            Some(Stop { index: 0, at: 2 })
        );
        assert_eq!(
            stream(&stops, &["xa", "b"]).1,
            Some(Stop { index: 0, at: 2 })
        );
    }

    #[test]
    fn what_is_not_a_stop_is_let_through_at_the_end() {
        let (shown, stop) = stream(&strings(&["\n\nUser:"]), &["a\n", "\nUse"]);
        assert_eq!(shown, ["a", "a", "a\n\nUse"]);
        assert_eq!(stop, None);
    }

    #[test]
    fn strings_that_cannot_be_used_are_refused() {
        for stops in [
            strings(&["a", ""]),
            vec!["x".repeat(MAX_BYTES + 1)],
            vec!["x".to_owned(); MAX_STRINGS + 1],
        ] {
            assert!(matches!(
                StopFilter::new(&stops),
                Err(Error::StopString { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_text_before_the_first_stop(
            pieces in prop::collection::vec("[abcé☃]{0,4}", 0..12),
            stops in prop::collection::vec("[abcé☃]{1,4}", 0..4),
        ) {
            let whole = pieces.concat();
            let starts = stops.iter().filter_map(|stop| whole.find(stop.as_str()));
            let end = starts.min();
            let expected = &whole[..end.unwrap_or(whole.len())];

            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (shown, stop) = stream(&stops, &pieces);
            prop_assert_eq!(shown.last().unwrap(), expected);
            prop_assert_eq!(stop.map(|stop| stop.at), end);
            if let Some(stop) = stop {
                prop_assert!(whole[stop.at..].starts_with(&stops[stop.index]));
            }
            // Nothing is shown that is taken back, and no more is held than may be a stop string.
            let mut seen = String::new();
            for (shown, piece) in shown.iter().zip(&pieces) {
                seen.push_str(piece);
                prop_assert!(expected.starts_with(shown.as_str()));
                let held = &seen[shown.len()..];
                prop_assert!(
                    held.is_empty()
                        || stops.iter().any(|stop| stop.starts_with(held) || held.contains(stop.as_str()))
                );
            }
        }
    }
}
