//! Errors between a board's name and its answer.

use std::path::PathBuf;
use std::time::Duration;

/// Reasons why a board gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// No `boards` folder was found.
    #[error("no checkout of brooklet, with its folder `boards`, was found")]
    NoCheckout,

    /// A board's description cannot be read.
    #[error("{}: {reason}", path.display())]
    BoardToml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// There is no board with this name.
    #[error("there is no board `{name}`")]
    UnknownBoard {
        /// The name.
        name: String,
        /// The boards that exist.
        known: Vec<String>,
    },

    /// No compiler for the target could be set up.
    #[error("there is no Rust compiler for {target}: {reason}")]
    NoToolchain {
        /// The target.
        target: String,
        /// The attempts, and their errors.
        reason: String,
    },

    /// A program is missing and could not be installed.
    #[error("`{program}` is not installed: {reason}")]
    NoProgram {
        /// The program.
        program: String,
        /// Debian packages that contain it.
        packages: String,
        /// Why it could not be installed.
        reason: String,
    },

    /// The stack grew into other memory, so the board's answers cannot be trusted.
    #[error("{board}: the stack took {taken} bytes, but only {kept} are kept for it")]
    Stack {
        /// The board.
        board: String,
        /// The greatest depth of the stack.
        taken: u32,
        /// The bytes that its `board.toml` keeps for the stack.
        kept: u32,
    },

    /// A program could not be run at all.
    #[error("`{program}` could not be run")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The compiler refused the firmware.
    #[error("building `{what}` for {target} failed")]
    Build {
        /// Board or crate.
        what: String,
        /// Its target.
        target: String,
        /// The end of the compiler's output.
        output: String,
    },

    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A file cannot be written.
    #[error("{} cannot be created", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The model is larger than the slot.
    #[error("{}: {bytes} bytes do not fit the model slot of {board}, {slot} bytes", path.display())]
    ModelTooLarge {
        /// The model.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The board.
        board: String,
        /// Size of its slot in bytes.
        slot: u32,
    },

    /// The model's arena is larger than the board's.
    #[error("{}: its arena of {needed} bytes does not fit the {arena} bytes of {board}", path.display())]
    ArenaTooLarge {
        /// The model.
        path: PathBuf,
        /// Size of the arena that it needs, in bytes.
        needed: u32,
        /// The board.
        board: String,
        /// Size of its arena in bytes.
        arena: u32,
    },

    /// The board has less RAM than the requested limit.
    #[error("{board} cannot be limited to {asked} bytes of RAM: it has {ram}")]
    LimitTooLarge {
        /// The board.
        board: String,
        /// The requested limit in bytes.
        asked: u32,
        /// Size of its RAM in bytes.
        ram: u32,
    },

    /// The board's RAM is in several memories.
    #[error("{board} cannot be limited in RAM: it has several memories")]
    SeveralMemories {
        /// The board.
        board: String,
    },

    /// A board whose RAM is limited has too little for the model.
    #[error(
        "{board}: with {ram} bytes of RAM it has {lacking} too few: the model's arena takes \
         {arena}, the stack {stack}, the application {buffers}"
    )]
    RamTooSmall {
        /// The board.
        board: String,
        /// The limit of RAM in bytes.
        ram: u32,
        /// Number of missing bytes.
        lacking: u64,
        /// Size of the model's arena in bytes.
        arena: u64,
        /// Bytes that are kept for the stack.
        stack: u64,
        /// Size of the application's buffers in bytes.
        buffers: u64,
    },

    /// The emulator ended.
    #[error("the emulator of {board} ended: {output}")]
    Ended {
        /// The board.
        board: String,
        /// Its output.
        output: String,
    },

    /// The board's serial port could not be identified.
    #[error("{board}: {reason}")]
    NoPort {
        /// The board.
        board: String,
        /// What was found instead.
        reason: String,
    },

    /// A serial port cannot be used.
    #[error("the serial port {port} of {board} cannot be opened: {reason}")]
    Port {
        /// The board.
        board: String,
        /// The port.
        port: String,
        /// Why.
        reason: String,
    },

    /// The drive of the boot loader was not found.
    #[error("{board}: there is no drive `{drive}`")]
    NoDrive {
        /// The board.
        board: String,
        /// The name of the drive.
        drive: String,
    },

    /// There is no debug probe, or it failed.
    #[error("{board}: the debug probe: {reason}")]
    Probe {
        /// The board.
        board: String,
        /// What is wrong.
        reason: String,
    },

    /// There is no boot loader of an Espressif chip, or it failed.
    #[error("{board}: the boot loader: {reason}")]
    Espflash {
        /// The board.
        board: String,
        /// What is wrong.
        reason: String,
    },

    /// A model was installed, but does not run.
    #[error("{board}: the model with counter {counter} is installed, but {} runs", match running {
        Some(running) => format!("that with counter {running}"),
        None => "none".to_owned(),
    })]
    NotStarted {
        /// The board.
        board: String,
        /// The counter of the model that was sent.
        counter: u32,
        /// The counter of the model that runs.
        running: Option<u32>,
    },

    /// The board has no emulator.
    #[error("{board} has no emulator")]
    NoEmulator {
        /// The board.
        board: String,
    },

    /// The emulator does not support plugins.
    #[error("`{program}` was built without plugins, but a plugin counts the instructions")]
    NoPlugins {
        /// The emulator.
        program: String,
    },

    /// The plugin's output is missing or wrong.
    #[error("{board}: instructions were not counted: {reason}")]
    NoCounts {
        /// The board.
        board: String,
        /// What was found instead.
        reason: String,
    },

    /// The board does not answer.
    #[error("{board} did not answer `{request}` within {} s", after.as_secs())]
    Silent {
        /// The board.
        board: String,
        /// The request.
        request: &'static str,
        /// The time that was waited.
        after: Duration,
    },

    /// The connection broke.
    #[error("{board} cannot be written to")]
    Write {
        /// The board.
        board: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The firmware uses another version of the protocol.
    #[error("{board} uses version {theirs} of the protocol, but this program uses version {ours}")]
    Protocol {
        /// The board.
        board: String,
        /// The board's version.
        theirs: u16,
        /// The version of this program.
        ours: u16,
    },

    /// The answer does not match the request.
    #[error("{board} answered `{request}` with something else: {answer}")]
    Confused {
        /// The board.
        board: String,
        /// The request.
        request: &'static str,
        /// The answer.
        answer: String,
    },

    /// The board's load check refused the model.
    #[error("{board} refuses its model: {reason}")]
    Model {
        /// The board.
        board: String,
        /// The runtime's error.
        reason: String,
    },

    /// Flash changed while the board ran.
    #[error("{board}: the model in flash is not the one that was loaded at start-up")]
    ModelChanged {
        /// The board.
        board: String,
    },

    /// The board refused a request.
    #[error("{board} refused `{request}`: {reason}")]
    Refused {
        /// The board.
        board: String,
        /// The request.
        request: &'static str,
        /// Why.
        reason: String,
    },

    /// The rows of the model's images are too long for the board.
    #[error("rows of {bytes} bytes are longer than the {limit} that {board} takes")]
    RowTooLong {
        /// The board.
        board: String,
        /// Size of a row in bytes.
        bytes: u32,
        /// The longest row that the board takes, in bytes.
        limit: u32,
    },

    /// The firmware's ELF file is not valid.
    #[error("{} cannot be read as an ELF file: {reason}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// An error and its causes.
#[cfg(any(feature = "espflash", feature = "probe"))]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
