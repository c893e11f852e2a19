//! The plugin input.
