//! How the release is linked: its relocations in the packed form (`DT_RELR`), a megabyte less in the binary and in each
//! process. glibc reads it from 2.36 on (its NEWS); where the machine that builds has an older one, they stay as they are.

use std::{env, process::Command};

/// The first glibc that reads packed relocations.
const READS_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=.cargo/link.rs");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let for_here =
        of("TARGET") == of("HOST") && of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    if of("PROFILE") == "release" && for_here && glibc().is_some_and(|version| version >= READS_PACKED) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc: `getconf` prints `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let printed = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let (major, minor) = std::str::from_utf8(&printed).ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
