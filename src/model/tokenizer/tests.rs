//! Tiny vocabularies against the ids of independent implementations, and broken folders.

mod broken;
pub(crate) mod checks;
mod folder;
