//! The memory limit when none is given.

/// Part of the machine's memory that one process may take by default: three quarters.
const NUMERATOR: u64 = 3;
const DENOMINATOR: u64 = 4;
/// Taken for the machine's memory where it cannot be read.
const FALLBACK_BYTES: u64 = 4 << 30;

/// Three quarters of the memory this process can have: the machine's, or its control group's when that is less.
pub(super) fn default_limit() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let group =
        std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let total = machine.unwrap_or(FALLBACK_BYTES).min(group.unwrap_or(u64::MAX));
    total / DENOMINATOR * NUMERATOR
}

/// `MemTotal` of /proc/meminfo, bytes.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_kernels_form() {
        assert_eq!(super::total_bytes("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(super::total_bytes("nothing"), None);
    }
}
