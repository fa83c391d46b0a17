//! What can be told from the text of a reply alone: the baselines that a probe has to beat.

pub(crate) mod surface;
pub(crate) mod tfidf;
