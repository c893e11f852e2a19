//! A fifth of a core, as the sidecar has in Kubernetes: by a control group, as there, or by the program `cpulimit`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The kernel's period, and how much of it is 0.2 CPU, in microseconds.
const PERIOD: u32 = 100_000;
const QUOTA: u32 = 20_000;

/// A limit in force; dropped after the process it limits.
pub enum Limit {
    Group { path: PathBuf, kind: &'static str },
    Program(Child),
}

impl Limit {
    /// Limits a process to 0.2 CPU, or says why this machine cannot.
    pub fn set(process: u32) -> Result<Self, String> {
        let name = format!("awf-aws-bench-{process}");
        let version_2 = [("cpu.max", format!("{QUOTA} {PERIOD}"))];
        let version_1 = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", QUOTA.to_string())];
        let groups = [
            ("cgroup v2", Path::new("/sys/fs/cgroup"), version_2.as_slice()),
            ("cgroup v1", Path::new("/sys/fs/cgroup/cpu"), version_1.as_slice()),
        ];
        let mut reasons = Vec::new();
        for (kind, root, settings) in groups {
            let path = root.join(&name);
            match group(root, &path, settings, process) {
                Ok(()) => return Ok(Self::Group { path, kind }),
                Err(error) => reasons.push(format!("{kind}: {error}")),
            }
        }
        let mut command = Command::new("cpulimit");
        command.args(["--limit", "20", "--pid", &process.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => Ok(Self::Program(child)),
            Err(error) => {
                reasons.push(format!("cpulimit: {error}"));
                Err(format!("nothing here can limit a process to 0.2 CPU ({})", reasons.join("; ")))
            }
        }
    }

    /// By what.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Group { kind, .. } => kind,
            Self::Program(_) => "cpulimit",
        }
    }
}

/// Makes a control group and puts the process into it. A group that cannot be used is taken away again.
fn group(root: &Path, path: &Path, settings: &[(&str, String)], process: u32) -> io::Result<()> {
    // Below any other directory a group would be an ordinary one.
    fs::metadata(root.join("cgroup.procs"))?;
    fs::create_dir(path)?;
    let set = || {
        settings.iter().try_for_each(|(file, value)| write(&path.join(file), value))?;
        write(&path.join("cgroup.procs"), &process.to_string())
    };
    set().inspect_err(|_| remove(path))
}

/// Opens without creating: a file that the kernel does not offer must not be made.
fn write(path: &Path, value: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, value.as_bytes())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir(path) {
        eprintln!("{}: {error}", path.display());
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        match self {
            Self::Group { path, .. } => remove(path),
            Self::Program(child) => {
                if child.kill().and_then(|()| child.wait().map(drop)).is_err() {
                    eprintln!("cpulimit was gone already");
                }
            }
        }
    }
}
