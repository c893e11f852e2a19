//! How the release is linked: its relocations in the packed form (`DT_RELR`), which every glibc from 2.36 on reads. A
//! megabyte less in the binary and in each process.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=.cargo/link.rs");
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
