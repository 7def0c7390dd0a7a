//! Bytes as they arrive over a serial link: frames are separated, and their messages decoded. Each
//! message is encoded again to the same bytes, and a frame after all the bytes is understood.

#![no_main]

use brooklet_protocol::{Frames, Request, Response, decode, encode, request_bytes};
use libfuzzer_sys::fuzz_target;

/// Number of bytes of the longest image row.
const ROW_BYTES: usize = 96;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new([0; request_bytes(ROW_BYTES)]);
    let mut buffer = [0; 2 * request_bytes(ROW_BYTES)];
    for &byte in bytes {
        let Some(Ok(frame)) = frames.push(byte) else { continue };
        let mut copy = frame.to_vec();
        if let Ok(request) = decode::<Request<'_>>(&mut copy) {
            let again = encode(&request, &mut buffer).expect("it came in a frame").to_vec();
            let (_, stuffed) = again.split_last().expect("a frame has an end");
            assert_eq!(decode(&mut stuffed.to_vec()), Ok(request));
        }
        let mut copy = frame.to_vec();
        if let Ok(response) = decode::<Response<'_>>(&mut copy) {
            let again = encode(&response, &mut buffer).expect("it came in a frame").to_vec();
            let (_, stuffed) = again.split_last().expect("a frame has an end");
            assert_eq!(decode(&mut stuffed.to_vec()), Ok(response));
        }
    }
    // The receiver synchronizes again at the next zero.
    let _ = frames.push(0);
    let sent = encode(&Request::Identify, &mut buffer).expect("it is short");
    let mut found = None;
    for &byte in sent {
        if let Some(frame) = frames.push(byte) {
            found =
                Some(decode::<Request<'_>>(frame.expect("it is short")) == Ok(Request::Identify));
        }
    }
    assert_eq!(found, Some(true));
});
