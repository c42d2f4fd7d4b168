//! Pieces of an input.

/// The line between two pieces of an input.
const BETWEEN: &[u8] = b"%%";

/// The pieces of an input that has several: files, variables, flags.
pub(crate) fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut start, mut at) = (Vec::new(), 0, 0);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if line.strip_suffix(b"\n").unwrap_or(line) == BETWEEN {
            pieces.push(&data[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    pieces.push(&data[start..]);
    pieces
}

/// The lines of a piece, as text.
pub(crate) fn lines(piece: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(piece).lines().map(ToOwned::to_owned).collect()
}

/// The lines `NAME=VALUE` of a piece.
pub(crate) fn pairs(piece: &[u8]) -> Vec<(String, String)> {
    let pair = |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    lines(piece).iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_cut_at_the_lines_between_its_pieces() {
        let cut = |text: &'static str| -> Vec<&str> {
            pieces(text.as_bytes()).into_iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect()
        };
        assert_eq!(cut("a\nb"), ["a\nb"]);
        assert_eq!(cut("%%\na\n%%\n%%\nb%%\n"), ["", "a\n", "", "b%%\n"]);
        assert_eq!(cut("a\n%%"), ["a\n", ""]);
        assert_eq!(pairs(b"a=b=c\nd\n=e"), [("a".into(), "b=c".into()), ("".into(), "e".into())]);
    }
}
