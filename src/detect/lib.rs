//! A live model and its probes: verdicts as text is read or generated.
