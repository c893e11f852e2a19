//! Pythons with pinned packages, made once under `target/`.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

/// One with the packages of `tests/python/requirements.txt`.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(PYTHON.get_or_init(|| make_environment("requirements.txt")))
}

/// One with Kubernetes' schemas and Argo's types.
pub fn judges() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(PYTHON.get_or_init(|| make_environment("manifests-requirements.txt")))
}

/// `None`, said loudly, where it cannot be had; with `CI=true` that fails the test instead.
fn found(made: &'static Result<PathBuf, String>) -> Option<&'static Path> {
    match made {
        Ok(path) => Some(path),
        Err(why) if env::var("CI").is_ok_and(|v| v == "true") => panic!("no Python for the tests: {why}"),
        Err(why) => {
            eprintln!("\n!!! SKIPPED: no Python for the tests, so nothing was tested here: {why}\n");
            None
        }
    }
}

/// Runs a script of `tests/python/` to its end; fails the test with what it printed when it does not exit 0.
pub fn run_script(python: &Path, script: &str, arguments: &[&str]) -> String {
    let output = clean(Command::new(python).arg(scripts().join(script)).args(arguments))
        .output()
        .unwrap_or_else(|e| panic!("{script} does not start: {e}"));
    let text = printed(&output);
    assert!(output.status.success(), "{script} failed ({}):\n{text}", output.status);
    text
}

/// A command without the caller's AWS settings and proxies: it may only speak to the endpoint it is given.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("AWS_") || upper.starts_with("AWF_AWS_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.env("HOME", target()).env("PYTHONUNBUFFERED", "1")
}

/// `target/`, wherever cargo was told to put it.
fn target() -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// Makes the environment unless it is there: other requirements get another directory, and a file that is written
/// last says that it is whole. A lock file makes other test processes wait meanwhile.
fn make_environment(requirements: &str) -> Result<PathBuf, String> {
    let requirements = scripts().join(requirements);
    let text = fs::read(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    let hash: String = Sha256::digest(&text).iter().take(6).map(|b| format!("{b:02x}")).collect();
    let home = target().join(format!("test-venv-{hash}"));
    let (python, whole) = (home.join("bin/python"), home.join("whole"));

    let lock_path = target().join("test-venv.lock");
    let lock = File::create(&lock_path).map_err(|e| format!("{}: {e}", lock_path.display()))?;
    lock.lock().map_err(|e| format!("{}: {e}", lock_path.display()))?;
    if whole.exists() {
        return Ok(python);
    }
    eprintln!("making {} (once, about a minute)", home.display());
    finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    finish(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&whole, text).map_err(|e| format!("{}: {e}", whole.display()))?;
    Ok(python)
}

fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}\n{}", output.status, printed(&output))) }
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
