//! What mint and keeper say to each other, and how it is framed.
//!
//! Each side first sends [`PREAMBLE`], which names the protocol and its version. Then come frames:
//!
//! ```text
//! length of what follows, u32 · request id, u64 · milliseconds allowed, u32 · message (postcard)
//! ```
//!
//! numbers big-endian; `milliseconds allowed` is 0 in a reply. Requests are pipelined; replies come in
//! any order, matched by id. The frame with id 0 is the keeper's [`Greeting`].

use serde::{Deserialize, Serialize};

use super::policy::{DelegatedProfile, Profile};
use crate::hardware::{DeviceKeys, Fault, Role};
use crate::jose::jwe::{KeyManagement, NONCE_BYTES};
use crate::jose::jws::Signature;

/// The first bytes in both directions: the protocol's name and, last, its version.
pub const PREAMBLE: [u8; 8] = *b"mkkeep\x00\x05";

/// The largest frame in bytes, after its length. A signing input is a few hundred bytes.
pub const MAX_FRAME: usize = 64 * 1024;

const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 12;

/// The id of the keeper's [`Greeting`]; no request has it.
pub const GREETING_ID: u64 = 0;

/// What the mint asks. Each names the client on whose behalf it asks, because the keeper is where a
/// signature is put on record; which mint asks is known from the connection.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Request<'a> {
    /// Sign a JWS signing input under a signing profile.
    Sign {
        /// The client.
        client: &'a str,
        /// The signing key.
        kid: &'a str,
        /// The signing profile.
        profile: &'a str,
        /// `BASE64URL(header) || '.' || BASE64URL(claims)`.
        #[serde(with = "serde_bytes")]
        signing_input: &'a [u8],
    },
    /// Sign a digest for a front-end, under a signing profile that allows it: nobody here can see what it is of.
    SignDigest {
        /// The front-end.
        client: &'a str,
        /// The key.
        kid: &'a str,
        /// The signing profile.
        profile: &'a str,
        /// The SHA-256.
        digest: [u8; 32],
    },
    /// Encrypt by the sealing key; the keeper makes the nonce.
    Seal {
        /// The client.
        client: &'a str,
        /// The sealing key.
        kid: &'a str,
        /// The additional authenticated data.
        #[serde(with = "serde_bytes")]
        aad: &'a [u8],
        /// What to seal.
        #[serde(with = "serde_bytes")]
        plaintext: &'a [u8],
    },
    /// Decrypt by the sealing key.
    Open {
        /// The client.
        client: &'a str,
        /// The sealing key.
        kid: &'a str,
        /// How the content encryption key is come by.
        key_management: KeyManagement,
        /// The nonce.
        nonce: [u8; NONCE_BYTES],
        /// The additional authenticated data.
        #[serde(with = "serde_bytes")]
        aad: &'a [u8],
        /// What to open, its tag at the end.
        #[serde(with = "serde_bytes")]
        ciphertext_and_tag: &'a [u8],
    },
    /// The keys that the keeper has.
    PublicKeys,
    /// Look in the device for keys that others added, and tell all.
    LookAgain,
    /// Generate one more key, and tell all.
    Generate {
        /// What for.
        role: Role,
    },
    /// Destroy a key that a front-end had made, and tell all.
    Destroy {
        /// The key.
        kid: &'a str,
    },
    /// Make evidence of where a key lives and what it may do.
    Attest {
        /// The key.
        kid: &'a str,
        /// What whoever asks made up: [`Nonce::as_bytes`].
        ///
        /// [`Nonce::as_bytes`]: crate::hardware::attestation::Nonce::as_bytes
        #[serde(with = "serde_bytes")]
        nonce: &'a [u8],
    },
    /// Make and verify one signature that nobody can use.
    Health,
    /// The answer to the request of this frame's id is not wanted any more. Has no answer of its own; that
    /// request still has, a refusal where it was not begun.
    Cancel,
}

/// What the keeper answers.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reply {
    /// To [`Request::Sign`] and [`Request::SignDigest`].
    Signature(#[serde(with = "serde_bytes")] Signature),
    /// To [`Request::Seal`].
    Sealed {
        /// The nonce.
        nonce: [u8; NONCE_BYTES],
        /// The ciphertext, its tag at the end.
        #[serde(with = "serde_bytes")]
        ciphertext_and_tag: Vec<u8>,
    },
    /// To [`Request::Open`].
    Opened(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To [`Request::PublicKeys`], [`Request::LookAgain`], [`Request::Generate`] and [`Request::Destroy`].
    PublicKeys(PublicKeys),
    /// To [`Request::Attest`]: a document in JSON.
    Attestation(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To [`Request::Health`].
    Healthy,
    /// The request was not carried out.
    Refused(Refusal),
}

/// The keys that a keeper has, as far as others may know them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublicKeys {
    /// What the device calls itself.
    pub device: String,
    /// The keys.
    pub keys: DeviceKeys,
    /// The signing policy. A keeper that comes back with another one is not the keeper that the mint knew.
    pub profiles: Vec<Profile>,
    /// The part of it that is for front-ends.
    pub delegated_profiles: Vec<DelegatedProfile>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refusal {
    /// The signing policy forbids it; the rule's text.
    Policy(String),
    /// The queue is full.
    Busy,
    /// The time allowed had passed before a session was free, or the request was taken back.
    TooLate,
    /// There is no such key.
    UnknownKey(String),
    /// What was to be opened is not authentic.
    NotAuthentic,
    /// The hardware failed; what that means, and its error.
    Hardware(Fault, String),
    /// The message could not be read.
    Malformed,
}

/// The keeper's first frames, until it is ready or not going to be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Greeting {
    /// The PIN is about to be tried; a connection that ends now may have cost the token a try.
    LoggingIn,
    /// The PIN was right; the keys are being checked.
    LoggedIn,
    /// The device is open and the keys are checked.
    Ready,
    /// The keeper could not start and ends now.
    Failed(StartFailure),
}

/// Why a keeper could not start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct StartFailure {
    /// One line for the operator.
    pub message: String,
    /// Whether another attempt could do harm or cannot succeed: a wrong PIN, a refused key.
    pub is_final: bool,
}

/// A frame taken off a connection; the message is still encoded.
#[derive(Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// The request that it makes or answers.
    pub id: u64,
    /// How long the sender waits for an answer; 0 in a reply.
    pub milliseconds_allowed: u32,
    /// The postcard encoding of a [`Request`], [`Reply`] or [`Greeting`].
    pub message: &'a [u8],
}

/// Bytes that are not this protocol. The connection that brought them is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The other side speaks something else, or another version.
    #[error("the peer does not speak this version of the keeper protocol; run mint and keeper from the same release")]
    Preamble,
    /// A frame's length is below the header's or above [`MAX_FRAME`].
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// A message that does not decode.
    #[error("a message that does not decode")]
    Message,
}

/// Appends a frame to `buffer`, which other frames may be waiting in.
///
/// # Errors
/// [`WireError::Length`] for a message too large to frame; `buffer` is then as it was.
pub fn append_frame(
    buffer: &mut Vec<u8>,
    id: u64,
    milliseconds_allowed: u32,
    message: &impl Serialize,
) -> Result<(), WireError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; LENGTH_BYTES]);
    buffer.extend_from_slice(&id.to_be_bytes());
    buffer.extend_from_slice(&milliseconds_allowed.to_be_bytes());
    let encoded = postcard::to_extend(message, std::mem::take(buffer));
    // Serializing into memory fails for no type of this module.
    *buffer = encoded.map_err(|_| WireError::Message)?;
    let length = buffer.len() - start - LENGTH_BYTES;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME => {
            buffer[start..start + LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        _ => {
            buffer.truncate(start);
            Err(WireError::Length(length))
        }
    }
}

/// The message of a frame.
///
/// # Errors
/// [`WireError::Message`] where it is not a `Message`, or has bytes left over.
pub fn decode<'a, Message: Deserialize<'a>>(message: &'a [u8]) -> Result<Message, WireError> {
    match postcard::take_from_bytes(message) {
        Ok((decoded, [])) => Ok(decoded),
        _ => Err(WireError::Message),
    }
}

/// Collects what arrives on one connection and takes frames off it, many from one read.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    consumed: usize,
    preamble_seen: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffer: Vec::with_capacity(MAX_FRAME), consumed: 0, preamble_seen: false }
    }
}

impl Inbox {
    /// Adds bytes that arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`WireError`]; nothing that follows can be trusted then.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        if !self.preamble_seen {
            let received = &self.buffer[self.consumed..];
            let compared = received.len().min(PREAMBLE.len());
            if received[..compared] != PREAMBLE[..compared] {
                return Err(WireError::Preamble);
            }
            if received.len() < PREAMBLE.len() {
                return Ok(None);
            }
            self.consumed += PREAMBLE.len();
            self.preamble_seen = true;
        }
        let Some((prefix, rest)) = self.buffer[self.consumed..].split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if !(HEADER_BYTES..=MAX_FRAME).contains(&length) {
            return Err(WireError::Length(length));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        self.consumed += LENGTH_BYTES + length;
        let (id, rest) = frame.split_first_chunk::<8>().ok_or(WireError::Length(length))?;
        let (allowed, message) = rest.split_first_chunk::<4>().ok_or(WireError::Length(length))?;
        Ok(Some(Frame { id: u64::from_be_bytes(*id), milliseconds_allowed: u32::from_be_bytes(*allowed), message }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Request<'static> {
        Request::Seal { client: "robot", kid: "sealing", aad: b"header", plaintext: b"content" }
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = PREAMBLE.to_vec();
        append_frame(&mut bytes, 1, 5000, &sample()).unwrap();
        append_frame(&mut bytes, 2, 0, &Reply::Signature([9; 64])).unwrap();
        bytes
    }

    #[test]
    fn frames_survive_any_division_into_reads() {
        let bytes = conversation();
        for size in 1..bytes.len() {
            let mut inbox = Inbox::default();
            let mut ids = Vec::new();
            for chunk in bytes.chunks(size) {
                inbox.extend(chunk);
                while let Some(frame) = inbox.next_frame().unwrap() {
                    match frame.id {
                        1 => assert_eq!(decode::<Request<'_>>(frame.message).unwrap(), sample()),
                        _ => assert_eq!(decode::<Reply>(frame.message).unwrap(), Reply::Signature([9; 64])),
                    }
                    ids.push((frame.id, frame.milliseconds_allowed));
                }
            }
            assert_eq!(ids, [(1, 5000), (2, 0)]);
        }
    }

    #[test]
    fn another_version_or_protocol_is_told_apart_at_its_first_wrong_byte() {
        let mut inbox = Inbox::default();
        inbox.extend(b"GET / HTTP/1.1");
        assert_eq!(inbox.next_frame(), Err(WireError::Preamble));
    }

    #[test]
    fn a_message_too_large_leaves_the_buffer_as_it_was() {
        let mut buffer = conversation();
        let before = buffer.clone();
        let request = Request::Sign { client: "c", kid: "k", profile: "p", signing_input: &[0; MAX_FRAME] };
        assert!(matches!(append_frame(&mut buffer, 3, 0, &request), Err(WireError::Length(_))));
        assert_eq!(buffer, before);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_unfinished_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut inbox = Inbox::default();
            inbox.extend(&PREAMBLE);
            inbox.extend(&bytes);
            while let Ok(Some(frame)) = inbox.next_frame() {
                let _ = decode::<Request<'_>>(frame.message);
                let _ = decode::<Reply>(frame.message);
                let _ = decode::<Greeting>(frame.message);
            }
        }

        #[test]
        fn a_flipped_bit_never_panics_and_never_reads_past_the_frame(position in 0usize..200, bit in 0u8..8) {
            let mut bytes = conversation();
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            let mut inbox = Inbox::default();
            inbox.extend(&bytes);
            let mut frames = 0;
            while let Ok(Some(frame)) = inbox.next_frame() {
                let _ = decode::<Request<'_>>(frame.message);
                let _ = decode::<Reply>(frame.message);
                frames += 1;
            }
            prop_assert!(frames <= 2);
        }
    }
}
