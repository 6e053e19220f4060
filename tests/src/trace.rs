//! Reads a system-call trace (`strace -f -yy -s …`) of a server and says whether any reply left before the
//! fdatasync that covers the record it answers.
//!
//! Each commit carries a mark; the mark stands in the bytes written to the log and in the bytes of the reply.
//! So for each mark: a write to a file, then a completed fdatasync of that file that began after the write ended,
//! then the reply.
//!
//! Invariant: a mark that is not found in a write before its reply is a finding, so an unreadable trace fails.

use std::collections::HashMap;

/// What one line of the trace means, in the order in which things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// A write of marks to a file, at its end.
    Written {
        file: String,
        marks: Vec<String>,
    },
    SyncBegan {
        thread: String,
        file: String,
    },
    SyncEnded {
        thread: String,
    },
    /// A reply, at its beginning.
    Replied {
        marks: Vec<String>,
    },
}

/// Marks look like `mark-000123`.
pub const MARK: &str = "mark-";
const MARK_DIGITS: usize = 6;

/// What the trace shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Replies that were covered.
    pub covered: usize,
    /// Completed syncs.
    pub syncs: usize,
    /// Replies that were not, with the reason.
    pub violations: Vec<String>,
}

/// Judges a trace.
#[must_use]
pub fn judge(trace: &str) -> Findings {
    let mut findings = Findings::default();
    // Where each mark was written, and how many syncs of that file had begun by then.
    let mut written: HashMap<String, (String, u64)> = HashMap::new();
    let mut begun: HashMap<String, u64> = HashMap::new();
    // The number of the latest sync of a file that is known to have ended.
    let mut ended: HashMap<String, u64> = HashMap::new();
    let mut running: HashMap<String, (String, u64)> = HashMap::new();
    for event in events(trace) {
        match event {
            Event::Written { file, marks } => {
                let so_far = begun.get(&file).copied().unwrap_or(0);
                for mark in marks {
                    written.entry(mark).or_insert_with(|| (file.clone(), so_far));
                }
            }
            Event::SyncBegan { thread, file } => {
                let number = begun.entry(file.clone()).or_insert(0);
                *number += 1;
                running.insert(thread, (file, *number));
            }
            Event::SyncEnded { thread } => {
                if let Some((file, number)) = running.remove(&thread) {
                    findings.syncs += 1;
                    let latest = ended.entry(file).or_insert(0);
                    *latest = (*latest).max(number);
                }
            }
            Event::Replied { marks } => {
                for mark in marks {
                    match written.get(&mark) {
                        None => findings.violations.push(format!("{mark}: answered before it was written")),
                        Some((file, before)) if ended.get(file).copied().unwrap_or(0) <= *before => {
                            findings.violations.push(format!("{mark}: answered before {file} was synced"));
                        }
                        Some(_) => findings.covered += 1,
                    }
                }
            }
        }
    }
    findings
}

fn events(trace: &str) -> Vec<Event> {
    let mut events = Vec::new();
    // The beginning of calls that another thread's line interrupts.
    let mut unfinished: HashMap<String, String> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = split_thread(line) else { continue };
        if let Some(beginning) = call.strip_suffix(" <unfinished ...>") {
            begin(beginning, thread, &mut events);
            unfinished.insert(thread.to_owned(), beginning.to_owned());
        } else if call.starts_with("<... ") {
            if let Some(beginning) = unfinished.remove(thread) {
                end(&beginning, thread, &mut events);
            }
        } else {
            begin(call, thread, &mut events);
            end(call, thread, &mut events);
        }
    }
    events
}

/// `[pid 12] call` or `12 call`.
fn split_thread(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("[pid") {
        return rest.split_once(']').map(|(thread, call)| (thread.trim(), call.trim_start()));
    }
    let (thread, call) = line.split_once(' ')?;
    thread.chars().all(|digit| digit.is_ascii_digit()).then(|| (thread, call.trim_start()))
}

/// What counts when a call begins: replies and syncs.
fn begin(call: &str, thread: &str, events: &mut Vec<Event>) {
    let Some((name, file)) = name_and_file(call) else { return };
    if is_sync(name) {
        events.push(Event::SyncBegan { thread: thread.to_owned(), file: file.to_owned() });
    } else if is_socket(file) {
        let marks = marks(call);
        if !marks.is_empty() {
            events.push(Event::Replied { marks });
        }
    }
}

/// What counts when a call ends: writes to files and syncs.
fn end(call: &str, thread: &str, events: &mut Vec<Event>) {
    let Some((name, file)) = name_and_file(call) else { return };
    if is_sync(name) {
        events.push(Event::SyncEnded { thread: thread.to_owned() });
    } else if !is_socket(file) {
        let marks = marks(call);
        if !marks.is_empty() {
            events.push(Event::Written { file: file.to_owned(), marks });
        }
    }
}

fn is_sync(name: &str) -> bool {
    matches!(name, "fdatasync" | "fsync")
}

fn is_socket(file: &str) -> bool {
    file.starts_with("TCP") || file.starts_with("socket:")
}

/// `write(5</a/log>, "…", 3)` is `write` and `/a/log`.
fn name_and_file(call: &str) -> Option<(&str, &str)> {
    let (name, rest) = call.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    // The address of a socket holds `->`, so the end is the bracket in front of a comma or the closing one.
    let end = rest.find(">,").or_else(|| rest.find(">)")).or_else(|| rest.rfind('>'))?;
    Some((name, &rest[..end]))
}

fn marks(call: &str) -> Vec<String> {
    call.match_indices(MARK)
        .filter_map(|(at, _)| call.get(at..at + MARK.len() + MARK_DIGITS))
        .filter(|mark| mark[MARK.len()..].chars().all(|digit| digit.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
