//! Language models on candle with hooks that observe or edit the residual stream.
