//! `slt`: runs `.slt` files or folders of them and prints what is not as expected.
//!
//! ```text
//! slt [--url postgresql://user@host:port/database] [--checkpoint] [--count] [--update] [--quiet] PATH...
//! ```
//! Without `--url` each file has an own fresh `elanus` (`ELANUS_BIN`, or the binary beside this one); with it
//! a fresh database of the running server, which is how the expectations are proved against PostgreSQL.
//! `--checkpoint` makes everything durable files after every statement. `--count` fails only on records that
//! the file's `.passing` list names; `--update` extends the list.
#![expect(clippy::print_stdout, reason = "a command line program prints its result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use ::tests::wire::Address;
use slt::target::Place;
use slt::{FileReport, Mode, ratchet};

#[derive(Default)]
struct Arguments {
    url: Option<String>,
    checkpoint: bool,
    count: bool,
    update: bool,
    quiet: bool,
    paths: Vec<PathBuf>,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--url" => arguments.url = Some(words.next().ok_or("--url needs a value")?),
                "--checkpoint" => arguments.checkpoint = true,
                "--count" => arguments.count = true,
                "--update" => arguments.update = true,
                "--quiet" => arguments.quiet = true,
                option if option.starts_with("--") => return Err(format!("unknown option {option}")),
                path => arguments.paths.push(PathBuf::from(path)),
            }
        }
        if arguments.paths.is_empty() {
            return Err("no file or folder given".to_owned());
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("slt: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let arguments = Arguments::read()?;
    let place = match &arguments.url {
        Some(url) => Place::Running(Address::parse(url)?),
        None => Place::Fresh,
    };
    let mut files = Vec::new();
    for path in &arguments.paths {
        files.extend(slt::files(path)?);
    }
    let reports = run_all(&files, &place, Mode { checkpoint: arguments.checkpoint });
    let mut good = true;
    let (mut passed, mut failed) = (0, 0);
    for report in &reports {
        passed += report.passed();
        failed += report.failed();
        good &= if arguments.count || arguments.update {
            report_counted(report, &arguments)?
        } else {
            report_strictly(report)
        };
    }
    if arguments.count || arguments.update {
        println!("{passed} of {} answers are as recorded", passed + failed);
    } else {
        println!("{passed} passed, {failed} failed");
    }
    Ok(good)
}

/// Runs the files on as many threads as there are cores; the reports are in the files' order.
fn run_all(files: &[PathBuf], place: &Place, mode: Mode) -> Vec<FileReport> {
    let next = Mutex::new(0);
    let reports: Mutex<Vec<Option<FileReport>>> = Mutex::new(files.iter().map(|_| None).collect());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let take = || {
        let mut next = next.lock().ok()?;
        let index = *next;
        *next += 1;
        (index < files.len()).then_some(index)
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(index) = take() {
                    let report = slt::run_file(&files[index], place, mode);
                    if let Ok(mut reports) = reports.lock() {
                        reports[index] = Some(report);
                    }
                }
            });
        }
    });
    reports.into_inner().unwrap_or_default().into_iter().flatten().collect()
}

fn report_strictly(report: &FileReport) -> bool {
    for outcome in &report.outcomes {
        if let Some(difference) = &outcome.difference {
            println!("{}:{}: {}\n  {difference}", report.path.display(), outcome.line, outcome.sql);
        }
    }
    if let Some(reason) = &report.broken {
        println!("{}: {reason}", report.path.display());
    }
    println!("{}: {} passed, {} failed", report.path.display(), report.passed(), report.failed());
    report.failed() == 0
}

fn report_counted(report: &FileReport, arguments: &Arguments) -> Result<bool, String> {
    let list = ratchet::load(&report.path)?;
    let verdict = ratchet::judge(report, &list);
    let lost: Vec<u32> = verdict.lost.iter().map(|outcome| outcome.line).collect();
    for outcome in &report.outcomes {
        if let Some(difference) = outcome.difference.as_ref() {
            if lost.contains(&outcome.line) {
                println!("{}:{}: LOST {}\n  {difference}", report.path.display(), outcome.line, outcome.sql);
            } else if !arguments.quiet {
                println!(
                    "{}:{}: not yet {}\n  {difference}",
                    report.path.display(),
                    outcome.line,
                    outcome.sql
                );
            }
        }
    }
    if let Some(reason) = &report.broken {
        println!("{}: {reason}", report.path.display());
    }
    println!(
        "{}: {} of {} answers, {} listed, {} lost, {} gained",
        report.path.display(),
        report.passed(),
        report.outcomes.len(),
        list.len(),
        verdict.lost.len(),
        verdict.gained.len()
    );
    if arguments.update {
        ratchet::update(report)?;
    }
    // A file that broke off has no outcomes for its later records: listed ones among them are lost too.
    let reached = report.outcomes.last().map_or(0, |outcome| outcome.line);
    Ok(verdict.lost.is_empty() && list.keys().all(|&line| line <= reached))
}
