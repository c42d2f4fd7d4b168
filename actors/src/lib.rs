//! Actors.
pub mod files;
pub mod gateway;
pub mod seams;

#[cfg(test)]
fn test_note(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
