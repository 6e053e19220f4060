//! A real `elanus` process with its own data directory: start, stop, kill, restart.
//!
//! Invariants: the process never outlives the `Server`; a start waits for the `ready:` line, a stop for the
//! end of the process, both bounded; what the process wrote to its error output is in the panic message.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wire::{Address, Connection};

/// How long a start or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// The `elanus` binary: `ELANUS_BIN`, else beside the running test.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ELANUS_BIN") {
        return PathBuf::from(path);
    }
    let this = std::env::current_exe().expect("the path of the running program");
    let found = this.ancestors().map(|directory| directory.join("elanus")).find(|path| path.is_file());
    found.expect("no elanus binary: set ELANUS_BIN or run `cargo build -p sql --bin elanus`")
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Arguments after the harness's own.
    pub arguments: Vec<OsString>,
    /// A command line put in front, such as `strace -f -o FILE`.
    pub wrapper: Vec<OsString>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// With these arguments after the harness's own.
    #[must_use]
    pub fn with_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { arguments: arguments.into_iter().map(OsString::from).collect(), ..Self::default() }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    directory: Directory,
    options: Options,
    address: Address,
    /// From the start of the process to its `ready:` line.
    pub ready_after: Duration,
}

#[derive(Debug)]
enum Directory {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Given(path) => path,
        }
    }
}

impl Server {
    /// Starts a server on an empty temporary directory.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a server on an empty temporary directory, with options.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_with(options: Options) -> Self {
        let directory =
            tempfile::Builder::new().prefix("elanus-test-").tempdir().expect("a temporary directory");
        Self::launch(Directory::Temporary(directory), options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a server on a directory that stays.
    ///
    /// # Errors
    /// What the process said instead of becoming ready.
    pub fn start_on(directory: &Path, options: Options) -> Result<Self, String> {
        Self::launch(Directory::Given(directory.to_owned()), options)
    }

    fn launch(directory: Directory, options: Options) -> Result<Self, String> {
        let log = directory.path().with_extension("log");
        let errors =
            File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let mut command_line = options.wrapper.clone();
        command_line.push(binary().into());
        let mut command = Command::new(&command_line[0]);
        command.args(&command_line[1..]);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        if !options.arguments.iter().any(|argument| argument == "--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command.arg("--data-dir").arg(directory.path().join("data"));
        command.args(&options.arguments);
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let lines = follow(&mut child);
        match await_ready(&lines) {
            Ok(address) => {
                Ok(Self { child, lines, directory, options, address, ready_after: started.elapsed() })
            }
            Err(reason) => {
                let _ = child.kill();
                let status = child.wait().map_err(|error| error.to_string())?;
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                Err(format!("server did not become ready ({reason}, {status}): {}", tail(&text)))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A new session as `elanus` on database `elanus`.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address).unwrap_or_else(|failure| panic!("{failure}; log: {}", self.log()))
    }

    /// The directory given to `--data-dir`.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The server's process id: the wrapper's child when there is a wrapper.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        let own = self.child.id();
        if self.options.wrapper.is_empty() {
            return own;
        }
        let children =
            std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(own)
    }

    /// The end of what the process wrote to its error output.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().with_extension("log")).unwrap_or_default();
        tail(&text)
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by name, such as `TERM` or `STOP`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.process_id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal the server");
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL, then waits for the end.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        if !self.options.wrapper.is_empty() && self.is_running() {
            self.signal("KILL");
        }
        let _ = self.child.kill();
        self.child.wait().expect("the process is ours");
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its output closes when it ends: nothing to poll.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("server did not stop; log: {}", self.log()),
            }
        }
        self.child.wait().expect("the process is ours")
    }

    /// Starts again on the same directory, after `stop` or `kill`.
    ///
    /// # Errors
    /// What the process said instead of becoming ready.
    pub fn restart(self) -> Result<Self, String> {
        let mut this = self;
        this.kill();
        let directory = std::mem::replace(&mut this.directory, Directory::Given(PathBuf::new()));
        let options = this.options.clone();
        drop(this);
        Self::launch(directory, options)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Directory::Temporary(directory) = &self.directory {
            let _ = std::fs::remove_file(directory.path().with_extension("log"));
        }
    }
}

/// Passes the process's output lines to a channel that closes when the process ends.
fn follow(child: &mut Child) -> Receiver<String> {
    let output = child.stdout.take().expect("output is piped");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn await_ready(lines: &Receiver<String>) -> Result<Address, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if let Some(url) = line.trim().strip_prefix("ready: ") {
                    return Address::parse(url);
                }
            }
            Err(RecvTimeoutError::Timeout) => return Err("no ready line in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err("it ended".to_owned()),
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
