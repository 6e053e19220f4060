//! The command line (DESIGN §10): stable names, because tools rely on them.
//!
//! What it is not: it opens nothing. Options of capabilities that do not exist yet are known and refused with a
//! clear message, so that a script never believes it got what it asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Elanus: a PostgreSQL-wire-compatible SQL vector database.
#[derive(Debug, Parser)]
#[command(name = "elanus", version, about)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Box<Serve>),
    /// Print the version.
    Version(Version),
    /// Check every object and every log record of a place that no server uses, or all backups at a place.
    Verify(Box<Verify>),
    /// Make a meta store and an empty log from the object store alone, when they are lost.
    RebuildMeta(Box<RebuildMeta>),
    /// Copy all databases to a folder or a bucket, while no server runs; a running one does it by `CALL elanus.backup(…)`.
    Backup(Box<Backup>),
    /// Bring a backup back into an empty place.
    Restore(Box<Restore>),
    /// Estimate memory and disk for a data set (not available yet).
    Sizing,
    /// Build indexes for a cluster (not available yet).
    IndexWorker,
}

/// Options of `elanus version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Also print the versions of the libraries that decide behaviour.
    #[arg(long)]
    pub libraries: bool,
}

/// Options of `elanus verify`.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub places: StorageOptions,
    /// Check the backups in a folder, or at `s3://bucket/prefix`, instead.
    #[arg(long, conflicts_with_all = ["data_dir", "meta", "log", "store"])]
    pub backup: Option<String>,
}

/// Where everything of a server is kept, for the tools that work on it while no server does.
#[derive(Clone, Debug, Args)]
pub struct StorageOptions {
    /// Where everything is kept that is not kept elsewhere.
    #[arg(long, default_value = "./elanus-data")]
    pub data_dir: PathBuf,
    /// Where the catalog is kept: `redb` in the data directory, or `etcd://host:port[,host:port]/prefix`.
    #[arg(long, default_value = "redb", value_parser = |text: &str| Location::parse(text, "redb", "etcd"))]
    pub meta: Location,
    /// Where the log is kept: `file` in the data directory, or `kafka://host:port[,host:port]/prefix`.
    #[arg(long, default_value = "file", value_parser = |text: &str| Location::parse(text, "file", "kafka"))]
    pub log: Location,
    /// Where segments are kept: `file` in the data directory, or `s3://bucket/prefix`.
    #[arg(long, default_value = "file", value_parser = |text: &str| Location::parse(text, "file", "s3"))]
    pub store: Location,
}

/// Options of `elanus rebuild-meta`.
#[derive(Debug, Args)]
pub struct RebuildMeta {
    #[command(flatten)]
    pub places: StorageOptions,
    /// Rename a meta store and a log that are still in the data directory, and make new ones.
    #[arg(long)]
    pub force: bool,
}

/// Options of `elanus backup`.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    pub places: StorageOptions,
    /// Where to: a folder, or `s3://bucket/prefix`. What is there already of this server is not copied again.
    #[arg(long)]
    pub to: String,
}

/// Options of `elanus restore`.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    pub places: StorageOptions,
    /// Where the backup is: a folder, or `s3://bucket/prefix`.
    #[arg(long)]
    pub from: String,
    /// Bring back as of this time (`2026-01-31 12:00:00+00`, or a raw timestamp), not of the newest backup.
    #[arg(long, value_parser = parse_instant)]
    pub to_timestamp: Option<proto::Timestamp>,
}

/// Options of `elanus serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address for PostgreSQL clients; port 0 picks a free one, printed in the ready line.
    #[arg(long, default_value = "127.0.0.1:5433")]
    pub listen: SocketAddr,
    /// Address for /livez, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:9433")]
    pub http: SocketAddr,
    #[command(flatten)]
    pub places: StorageOptions,
    /// Configuration file (not available yet).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Load the bundled sample tables on first start.
    #[arg(long)]
    pub sample: bool,
    /// Memory for the whole process, bytes or with a unit (`2GB`); three quarters of the machine's by default.
    #[arg(long, value_parser = parse_bytes)]
    pub memory_limit: Option<u64>,
    /// How long deleted rows and dropped tables can still be read, seconds or with a unit (`90min`, `24h`, `7d`).
    #[arg(long, default_value = "1h", value_parser = parse_retention)]
    pub retention: u64,
    /// File whose first line is the password of user `elanus`; it stays in force for later starts.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// Roles of this process.
    #[arg(long, default_value = "all")]
    pub roles: String,
}

/// Where a back end keeps what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the data directory.
    Local,
    /// At a service. For S3 the bucket is the host.
    Service { hosts: Vec<String>, path: String },
}

impl Location {
    /// Reads the name of the local form, or `scheme://host[,host]/path`.
    fn parse(text: &str, local: &str, scheme: &str) -> Result<Self, String> {
        if text == local {
            return Ok(Self::Local);
        }
        let wanted = || format!("expected {local} or {scheme}://…");
        let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).ok_or_else(wanted)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        if hosts.iter().any(String::is_empty) {
            return Err(wanted());
        }
        Ok(Self::Service { hosts, path: path.trim_matches('/').to_owned() })
    }
}

impl Serve {
    /// The first option that asks for something this build cannot do, in words for the user.
    #[must_use]
    pub fn unsupported(&self) -> Option<String> {
        let refuse = |what: &str| Some(format!("{what} is not available in this version"));
        if self.config.is_some() {
            return refuse("--config");
        }
        if self.roles != "all" {
            return refuse(&format!("--roles {} (only --roles all)", self.roles));
        }
        None
    }
}

/// Reads a number of bytes with an optional unit (B, kB, MB, GB, TB; powers of 1024, as PostgreSQL reads them).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("\"{text}\" is not a number of bytes"))?;
    let factor: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "TB" => 1 << 40,
        unit => return Err(format!("unknown unit \"{unit}\": use B, kB, MB, GB or TB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("\"{text}\" is more bytes than there are"))
}

/// Reads a time with its zone, or a timestamp as the server counts.
fn parse_instant(text: &str) -> Result<proto::Timestamp, String> {
    if let Ok(raw) = text.parse() {
        return Ok(proto::Timestamp(raw));
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let parsed = forms.iter().find_map(|form| chrono::DateTime::parse_from_str(text, form).ok());
    let time = parsed
        .ok_or_else(|| format!("\"{text}\" is not a time with its zone, as in 2026-01-31 12:00:00+00"))?;
    let millis = u64::try_from(time.timestamp_millis()).map_err(|_| format!("\"{text}\" is before 1970"))?;
    // Everything of that millisecond.
    Ok(proto::Timestamp(proto::Timestamp::from_millis(millis + 1).0 - 1))
}

/// Reads a time as milliseconds: seconds, or a number with a unit (s, min, h, d).
fn parse_retention(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("\"{text}\" is not a time"))?;
    let millis: u64 = match text[digits..].trim() {
        "" | "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => return Err(format!("unknown unit \"{unit}\": use s, min, h or d")),
    };
    number.checked_mul(millis).ok_or_else(|| format!("\"{text}\" is longer than time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Serve {
        let command = ["elanus", "serve"].iter().chain(arguments);
        match CommandLine::try_parse_from(command).expect("valid command line").command {
            Command::Serve(serve) => *serve,
            other => panic!("not serve: {other:?}"),
        }
    }

    #[test]
    fn later_capabilities_are_refused_in_words() {
        assert_eq!(serve(&[]).unsupported(), None);
        assert_eq!(
            serve(&["--roles", "front"]).unsupported().as_deref(),
            Some("--roles front (only --roles all) is not available in this version")
        );
        assert!(serve(&["--config", "f"]).unsupported().is_some());
    }

    #[test]
    fn back_ends_are_named_by_addresses() {
        let services = serve(&["--meta", "etcd://a:1,b:2/p/q", "--log", "kafka://c:3/", "--store", "s3://b"]);
        let service = |hosts: &[&str], path: &str| Location::Service {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            path: path.to_owned(),
        };
        assert_eq!(services.places.meta, service(&["a:1", "b:2"], "p/q"));
        assert_eq!(
            (services.places.log, services.places.store),
            (service(&["c:3"], ""), service(&["b"], ""))
        );
        assert_eq!(serve(&[]).places.log, Location::Local);
        for (option, wrong) in [("--meta", "file"), ("--log", "kafka://"), ("--store", "s3://a,,b/")] {
            assert!(CommandLine::try_parse_from(["elanus", "serve", option, wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_backup_or_a_place_is_verified_not_both() {
        let parse = |arguments: &[&str]| {
            CommandLine::try_parse_from(["elanus", "verify"].iter().chain(arguments)).map(|line| line.command)
        };
        match parse(&["--backup", "s3://b/p"]).expect("valid command line") {
            Command::Verify(verify) => assert_eq!(verify.backup.as_deref(), Some("s3://b/p")),
            other => panic!("not verify: {other:?}"),
        }
        parse(&["--meta", "etcd://a:1"]).expect("valid command line");
        parse(&["--backup", "b", "--data-dir", "d"]).expect_err("which of them?");
    }

    #[test]
    fn memory_limits_read_like_postgresqls() {
        assert_eq!(parse_bytes("512MB"), Ok(512 << 20));
        assert_eq!(parse_bytes("123"), Ok(123));
        assert_eq!(parse_retention("90min"), Ok(5_400_000));
        assert!(parse_retention("1 fortnight").is_err());
        assert!(parse_bytes("1 parsec").is_err());
        assert!(parse_bytes("99999999999TB").is_err());
    }
}
