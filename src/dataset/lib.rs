//! Read, check and split labelled dialogues.
