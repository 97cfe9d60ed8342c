//! Base64url without padding, as every JOSE part is written (RFC 7515 §2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Malformed;

/// The text of `bytes`.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the text of `bytes` to `text`.
pub fn encode_into(bytes: impl AsRef<[u8]>, text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// The bytes of `text`.
///
/// # Errors
/// [`Malformed::Base64`] for padding, characters of another alphabet, or bits left over.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed::Base64)
}

/// The `N` bytes of `text`.
///
/// # Errors
/// As [`decode`], and [`Malformed::Length`] where there are more or fewer than `N`.
pub fn decode_array<const N: usize>(text: impl AsRef<[u8]>) -> Result<[u8; N], Malformed> {
    decode(text)?.try_into().map_err(|_| Malformed::Length { expected: N })
}
