//! Child processes: started with a clean environment, looked at through /proc, killed when dropped.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::wire::Connection;

/// Ticks of a second in which Linux tells CPU time (USER_HZ, the same on all its platforms).
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a process may take to answer for the first time. CI machines are small and busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory under `target/` of this process's own; removed when dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// An empty one.
    pub fn make() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self(path)
    }

    /// Writes a file; its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_awf-aws");

/// A command that inherits the search path and nothing else: no AWS settings, no proxy.
pub fn clean(program: impl AsRef<Path>, home: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command
}

/// `127.0.0.1` and a port that was free a moment ago.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").to_string()
}

/// A running child.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it prints goes to a file of the directory.
    pub fn start(name: &'static str, command: &mut Command, directory: &Directory) -> Self {
        let log = directory.path().join(format!("{name}.log"));
        let file = fs::File::create(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let both = file.try_clone().unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(both))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { name, child, log }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until this request is answered by 200, looking again after every pause.
    pub async fn answers(&mut self, address: &str, request: &[u8], pause: Duration) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut connection) = Connection::open(address).await
                && let Ok((200, _)) = connection.exchange(request).await
            {
                return;
            }
            let ended = self.child.try_wait().ok().flatten();
            assert!(ended.is_none() && Instant::now() < deadline, "{} does not answer: {}", self.name, self.log());
            sleep(pause).await;
        }
    }

    /// The end of what it has printed.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// A line of `/proc/<pid>/status` such as `VmRSS`, in bytes.
    pub fn memory(&self, line: &str) -> f64 {
        let status = self.proc("status");
        let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
        value.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {line} in {status}")) * 1024.0
    }

    /// CPU time it has used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        // The name in parentheses may hold anything, also spaces; behind it, fields 14 and 15 are user and system time.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |place: usize| fields.get(place - 3).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
        (ticks(14) + ticks(15)) / TICKS_PER_SECOND
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path} of {}: {e}: {}", self.name, self.log()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait().map(drop)).is_err() {
            eprintln!("{} was gone already", self.name);
        }
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}\n--- end ---", self.name, self.log());
        }
    }
}
