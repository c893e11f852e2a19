//! The last guard of the log: what looks like a secret is not written, whoever logged it.
//!
//! The plugin's own lines hold none. The SDK's and the HTTP libraries' may, at `debug` and `trace`: whole requests with their
//! headers and bodies, and at any level what AWS answered, which may quote a token.

use std::io::{self, Write};

use crate::secrets::masked;

/// Stderr, redacted. The formatter writes each event at once.
pub struct Redacting;

impl Write for Redacting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(masked(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
