//! The real binary as a child process: started on free ports, waited for, its log kept, killed when dropped.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long a process may take to answer for the first time, or to end. Generous: CI machines are small and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two looks at something that is waited for.
pub const LOOK: Duration = Duration::from_millis(25);

/// What any request may drive the plugin's memory up to: its limit in Kubernetes is 64 MiB.
pub const MEMORY_BUDGET: u64 = 48 << 20;

/// A child process. Its log is printed when it is dropped by a failing test.
pub struct Process {
    name: &'static str,
    child: Child,
    log: Arc<Mutex<String>>,
    /// They end when the process has closed its output.
    collectors: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts a command and collects what it prints.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let log = Arc::default();
        let collectors =
            [collect(child.stdout.take(), &log), collect(child.stderr.take(), &log)].into_iter().flatten().collect();
        Self { name, child, log, collectors }
    }

    /// A line of its `/proc/<pid>/status` such as `VmHWM`, the peak of its memory, in bytes.
    pub fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
        value.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {line} in {status}")) * 1024
    }

    /// Makes the peak begin anew.
    pub fn forget_the_peak(&self) {
        let file = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&file, "5").unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("{} was gone already", self.name);
        }
    }

    /// SIGTERM, as the kubelet sends it.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGSTOP, as a node that freezes: it is there, its sockets are open, and it does nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT: it goes on where it was paused.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.child.id())).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot signal {}", self.name);
    }

    /// Waits for its end, until all that it printed is in the log.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited().filter(|_| self.collectors.iter().all(|c| c.is_finished())) {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            sleep(LOOK).await;
        }
    }

    /// Waits until `GET url` is answered at all; false when the process ended before.
    pub async fn answers(&mut self, url: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while client(Duration::from_secs(2)).get(url).send().await.is_err() {
            if self.exited().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "{} does not answer at {url}", self.name);
            sleep(LOOK).await;
        }
        true
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|e| panic!("cannot wait for {}: {e}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}--- end ---", self.name, self.log());
        }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) -> Option<thread::JoinHandle<()>> {
    let (stream, log) = (stream?, Arc::clone(log));
    Some(thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Ok(mut log) = log.lock() {
                log.push_str(&line);
                log.push('\n');
            }
        }
    }))
}

/// A directory under `target/` that is this test's alone; removed when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("run-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

/// The binary with nothing inherited but the search path: no AWS settings, no proxy, no home.
pub fn binary(subcommand: &str, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_awf-aws"));
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", home).arg(subcommand);
    command
}

/// The same command, with nothing inherited and told "no" by the modes of files: root's right to pass them over is taken away.
/// Another user would not do, who may not so much as enter the directory that root's tests lie in.
pub fn bound_by_modes(command: &Command) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut bound = if is_root {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--inh-caps=-all", "--bounding-set=-all", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    bound.args(command.get_args()).env_clear().envs(variables);
    bound
}

/// A loopback port that was free a moment ago. Whoever uses it must be ready to find it taken.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap_or_else(|e| panic!("no free port: {e}"))
        .port()
}

/// An HTTP client with one time-out for everything.
pub fn client(timeout: Duration) -> awc::Client {
    awc::Client::builder().timeout(timeout).disable_redirects().finish()
}

/// Sends a JSON body and reads a JSON answer; `Null` when the answer is not JSON.
pub async fn post(request: awc::ClientRequest, body: &[u8]) -> (u16, Value) {
    let url = request.get_uri().to_string();
    let mut response =
        request.send_body(body.to_vec()).await.unwrap_or_else(|e| panic!("POST {url} was not answered: {e}"));
    let bytes = response.body().await.unwrap_or_else(|e| panic!("POST {url}: the answer broke off: {e}"));
    (response.status().as_u16(), serde_json::from_slice(&bytes).unwrap_or_default())
}
