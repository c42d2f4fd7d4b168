//! Inputs made of others: what a fuzzer does too, without knowing which code they reach.

use fastrand::Rng;

/// Longer inputs take time and find nothing that shorter ones do not.
pub const LONGEST: usize = 4096;

/// Bytes at which readers make decisions.
const ODD: &[&[u8]] = &[
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"..",
    b"/",
    b"_",
    b"-",
    b":",
    b"@",
    b"*",
    b"#",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"1e308",
    b"%%\n",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"sha256:",
    b"\\u0000",
    b"\xef\xbb\xbf",
];

/// A mutation of one of `inputs`, which are not empty.
#[must_use]
pub fn mutation(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let one = |random: &mut Rng| &inputs[random.usize(..inputs.len())];
    let mut data = one(random).clone();
    for _ in 0..random.usize(1..5) {
        let (from, to) = range(&data, random);
        match random.u8(..7) {
            0 => drop(data.splice(from..to, [])),
            1 => {
                let copy = data[from..to].to_vec();
                let at = random.usize(..=data.len());
                drop(data.splice(at..at, copy));
            }
            2 => {
                let other = one(random);
                let (start, end) = range(other, random);
                drop(data.splice(from..to, other[start..end].iter().copied()));
            }
            3 => drop(data.splice(from..from, ODD[random.usize(..ODD.len())].iter().copied())),
            4 => drop(data.splice(from..to, ODD[random.usize(..ODD.len())].iter().copied())),
            5 if !data.is_empty() => {
                let at = random.usize(..data.len());
                data[at] ^= 1 << random.u8(..8);
            }
            _ if !data.is_empty() => {
                let at = random.usize(..data.len());
                data[at] = random.u8(..);
            }
            _ => data.push(random.u8(..)),
        }
    }
    data.truncate(LONGEST);
    data
}

/// A part of an input: a few bytes of it, or a line.
fn range(data: &[u8], random: &mut Rng) -> (usize, usize) {
    let from = random.usize(..=data.len());
    let rest = &data[from..];
    let length = match random.bool() {
        true => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        false => random.usize(..=rest.len().min(16)),
    };
    (from, from + length)
}
