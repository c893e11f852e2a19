//! No secret gets out.
