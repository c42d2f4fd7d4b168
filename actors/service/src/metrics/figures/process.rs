//! What the process uses, under the names that all programs give these metrics. The kernel answers from memory, so nothing here waits.

use std::fmt::Error;
use std::fs;

use super::super::answers::Answers;
use super::super::sheet::{BYTES, SECONDS, Sheet, plain, seconds};

/// What the process uses.
pub fn write(sheet: &mut Sheet<'_>, answers: &Answers) -> Result<(), Error> {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "exact for some million years")]
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    sheet.counter(("process_cpu", SECONDS, "Processor time that the process has used"), plain(Some(cpu)))?;
    sheet.gauge(("process_resident_memory", BYTES, "Resident memory of the process"), plain(resident()))?;
    sheet.gauge(
        ("process_open_fds", None, "File descriptors that the process has open"),
        plain(descriptors()),
    )?;
    sheet.gauge(
        ("process_start_time", SECONDS, "When the service was started"),
        plain(Some(seconds(answers.started_at))),
    )
}

/// Resident memory, in bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// File descriptors, without the one that lists them.
fn descriptors() -> Option<u64> {
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_descriptors() {
        assert!(resident().unwrap() > 1 << 20);
        let before = descriptors().unwrap();
        let _open = fs::File::open("/proc/self/status").unwrap();
        assert!(before >= 3 && descriptors().unwrap() > 3, "stdin, stdout, stderr, and this one");
    }
}
