//! The emulator's debugger.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The emulator's debugger, which can change memory that nothing else can: flash.
pub(crate) struct Debugger(UnixStream);

impl Debugger {
    /// Sends a command of GDB's remote protocol, and reads the answer.
    ///
    /// The answer follows a plus sign. The report that the board has stopped has no plus sign, so it is
    /// skipped.
    fn ask(&mut self, command: &str) -> io::Result<String> {
        let sum = command.bytes().fold(0_u8, u8::wrapping_add);
        self.0.write_all(format!("+${command}#{sum:02x}").as_bytes())?;
        let mut heard = String::new();
        loop {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            heard.push(byte[0].into());
            let answer = heard.split_once("+$").and_then(|(_, answer)| answer.split_once('#'));
            if let Some((answer, _sum @ [_, _])) = answer.map(|(a, sum)| (a, sum.as_bytes())) {
                return Ok(answer.to_owned());
            }
        }
    }

    /// Stops a board, flips a bit in its memory, and lets it run again.
    pub(crate) fn flip(socket: &Path, address: u32, bit: u8) -> io::Result<()> {
        let mut debugger = Self(UnixStream::connect(socket)?);
        let byte = debugger.ask(&format!("m{address:x},1"))?;
        let byte = u8::from_str_radix(&byte, 16).map_err(io::Error::other)?;
        let done = debugger.ask(&format!("M{address:x},1:{:02x}", byte ^ 1 << bit))?;
        assert_eq!((done.as_str(), debugger.ask("D")?.as_str()), ("OK", "OK"));
        Ok(())
    }
}
