//! Tokens that are replaced and credentials that expire while executions run.
