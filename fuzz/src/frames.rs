//! What arrives on a connection between mint and keeper: the length of each read in one byte, then what is read.

use mintkeep::keeper::wire::{Greeting, Inbox, MAX_FRAME, Reply, Request, WireError, append_frame, decode};

/// An id, the milliseconds allowed, and a message.
type Received = (u64, u32, Vec<u8>);

/// Bytes before the message of a frame.
const HEAD: usize = 16;

/// Takes the frames off, from one read and from many, and decodes each as everything that it could be.
pub fn run(data: &[u8]) -> bool {
    let Some((&length, bytes)) = data.split_first() else { return false };
    let (frames, end) = received([bytes]);
    assert_eq!(received(bytes.chunks(usize::from(length).max(1))), (frames.clone(), end));
    // Each of them is looked at.
    frames.iter().filter(|(_, _, message)| is_message(message)).count() > 0
}

/// The frames that arrive by these reads, and what ends them.
fn received<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Received>, Option<WireError>) {
    let (mut inbox, mut frames) = (Inbox::default(), Vec::new());
    for read in reads {
        inbox.extend(read);
        loop {
            match inbox.next_frame() {
                Ok(Some(frame)) => frames.push((frame.id, frame.milliseconds_allowed, frame.message.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Whether the bytes are a message of this kind, which then comes out the same when it is sent on. A macro, because a
/// request borrows from what it is decoded from.
macro_rules! is_one {
    ($message:expr, $Kind:ty) => {
        decode::<$Kind>($message).is_ok_and(|decoded| {
            let mut frame = Vec::new();
            append_frame(&mut frame, 1, 0, &decoded).expect("what came in a frame goes into one");
            assert_eq!(decode::<$Kind>(&frame[HEAD..]).as_ref(), Ok(&decoded));
            true
        })
    };
}

fn is_message(message: &[u8]) -> bool {
    assert!(message.len() <= MAX_FRAME);
    let (is_request, is_reply) = (is_one!(message, Request<'_>), is_one!(message, Reply));
    is_one!(message, Greeting) || is_request || is_reply
}
