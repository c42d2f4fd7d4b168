//! Tokens of service accounts, signed as the API server signs them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, SigningKey as _};
use serde_json::json;

/// Who signs the tokens of service accounts, as the API server has it.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

/// A token of the service account of that namespace, name and UID, which expires after that time. The API server itself issues
/// none for less than 10 minutes.
pub(super) fn signed(key: &KeyPair, account: (&str, &str, &str), lifetime: Duration) -> String {
    let (namespace, name, uid) = account;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": ISSUER,
        "aud": [ISSUER],
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "iat": now,
        "nbf": now,
        "exp": now + lifetime.as_secs(),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
    });
    let text =
        [json!({"alg": "ES256", "typ": "JWT"}), claims].map(|part| base64url(part.to_string().as_bytes()));
    let text = text.join(".");
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", base64url(&fixed_width(&signature)))
}

/// The two numbers of an ECDSA signature in DER, as a token has them: of 32 bytes each (RFC 7518, ES256).
fn fixed_width(der: &[u8]) -> Vec<u8> {
    // A sequence of two integers, each shorter than 128 bytes.
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        // Integers have a sign, and no zeros that are not needed.
        let digits = &number[number.len().saturating_sub(32)..];
        numbers.extend(std::iter::repeat_n(0, 32 - digits.len()).chain(digits.iter().copied()));
        rest = after;
    }
    numbers
}

/// The base64url of RFC 4648, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[number >> (18 - 6 * place) & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_as_the_standard_shows_it() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn numbers_of_a_signature_are_of_fixed_width() {
        // The first has a zero in front for its sign, the second is short.
        let der = [&[0x30, 38, 2, 33, 0][..], &[0x80; 32], &[2, 1, 5]].concat();
        let fixed = fixed_width(&der);
        assert_eq!((fixed.len(), &fixed[..32], fixed[62], fixed[63]), (64, &[0x80; 32][..], 0, 5));
    }
}
