//! The header before the model file in a slot.

use core::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use embedded_storage::nor_flash::NorFlash;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Slot;

/// Number of bytes of the header.
///
/// The model file after it has the same alignment as at the start of a slot.
pub const HEADER_BYTES: usize = 128;

/// Number of bytes of a signature.
pub const SIGNATURE: usize = 64;

const MAGIC: [u8; 8] = *b"BRSLOT1\0";

/// The largest supported unit in which a flash is written, in bytes; those of chips have up to 32.
pub(crate) const LARGEST_UNIT: usize = 64;

/// The fields of a header that are signed.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fields {
    magic: [u8; 8],
    counter: U32,
    length: U32,
    zeros: [u8; 48],
}

const _: () = assert!(SIGNATURE + size_of::<Fields>() == HEADER_BYTES);

/// A slot with a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'s> {
    /// The model's version.
    pub counter: u32,
    /// The model file.
    pub file: &'s [u8],
    /// Whether it was started before.
    pub confirmed: bool,
}

/// Why a slot does not have a model that may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotFault {
    /// It does not begin with a header.
    NoHeader,
    /// Its file is longer than the slot.
    Length,
    /// The signature is not one of the key for this header and file.
    Signature,
    /// The key is not a valid public key.
    Key,
}

impl fmt::Display for SlotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "it does not begin with the header of a signed model",
            Self::Length => "its file is longer than the slot",
            Self::Signature => "its signature is not by this key",
            Self::Key => "the public key is not a point of the curve",
        })
    }
}

/// Number of bytes at the end of a slot of flash `F` that record whether it was confirmed.
pub(crate) const fn mark_bytes<F: NorFlash>() -> usize {
    if F::WRITE_SIZE > 4 { F::WRITE_SIZE } else { 4 }
}

/// Reads a slot of flash `F`, and checks its signature.
///
/// # Errors
///
/// [`SlotFault`] says why it contains nothing that may start.
pub fn open<'s, F: NorFlash>(slot: &'s [u8], key: &[u8; 32]) -> Result<Signed<'s>, SlotFault> {
    let end = slot.len().checked_sub(mark_bytes::<F>()).ok_or(SlotFault::NoHeader)?;
    let (rest, mark) = slot.split_at_checked(end).ok_or(SlotFault::NoHeader)?;
    let confirmed = mark.iter().all(|&byte| byte == 0);
    let (signature, signed) = rest.split_first_chunk::<SIGNATURE>().ok_or(SlotFault::NoHeader)?;
    let (fields, file) = Fields::ref_from_prefix(signed).map_err(|_| SlotFault::NoHeader)?;
    if fields.magic != MAGIC || fields.zeros != [0; 48] {
        return Err(SlotFault::NoHeader);
    }
    let file = usize::try_from(fields.length.get()).ok().and_then(|length| file.get(..length));
    let file = file.ok_or(SlotFault::Length)?;
    let message = signed.get(..size_of::<Fields>() + file.len()).ok_or(SlotFault::Length)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| SlotFault::Key)?;
    let signature = Signature::from_bytes(signature);
    key.verify_strict(message, &signature).map_err(|_| SlotFault::Signature)?;
    Ok(Signed { counter: fields.counter.get(), file, confirmed })
}

/// Records that the slot's model was started.
pub(crate) fn mark<F: Slot>(slot: &mut F) -> Result<(), F::Error> {
    let zeros = [0; LARGEST_UNIT];
    let bytes = mark_bytes::<F>();
    let offset = slot.capacity().saturating_sub(bytes);
    slot.write(offset as u32, zeros.get(..bytes).unwrap_or(&zeros))
}

/// A public key from 64 hexadecimal digits, for the one that is built into firmware.
///
/// # Panics
///
/// If the text is anything else; in a constant this is a compile error.
pub const fn key_of_hex(text: &str) -> [u8; 32] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => panic!("a public key has 64 hexadecimal digits in lower case"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 64, "a public key has 64 hexadecimal digits in lower case");
    let mut key = [0; 32];
    let mut i = 0;
    while i < key.len() {
        key[i] = 16 * digit(text[2 * i]) + digit(text[2 * i + 1]);
        i += 1;
    }
    key
}

impl Fields {
    fn new(counter: u32, length: u32) -> Self {
        Self { magic: MAGIC, counter: counter.into(), length: length.into(), zeros: [0; 48] }
    }
}

/// The header of a model file of `length` bytes.
pub fn header(counter: u32, length: u32, signature: &[u8; SIGNATURE]) -> [u8; HEADER_BYTES] {
    let fields = Fields::new(counter, length);
    let mut header = [0; HEADER_BYTES];
    let bytes = signature.iter().chain(fields.as_bytes());
    header.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    header
}

/// The signature of a model file.
#[cfg(feature = "sign")]
pub fn sign(file: &[u8], counter: u32, secret: &[u8; 32]) -> [u8; SIGNATURE] {
    extern crate alloc;
    use ed25519_dalek::{Signer, SigningKey};
    let fields = Fields::new(counter, file.len() as u32);
    let message: alloc::vec::Vec<u8> = [fields.as_bytes(), file].concat();
    SigningKey::from_bytes(secret).sign(&message).to_bytes()
}

/// The public key for a secret key.
#[cfg(feature = "sign")]
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(secret).verifying_key().to_bytes()
}
