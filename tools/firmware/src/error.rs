//! What can go wrong between a board's name and its answer.

use std::path::PathBuf;
use std::time::Duration;

/// Why a board gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// There is no `boards` folder to be found.
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

    /// There is no such board.
    #[error("there is no board `{name}`")]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },

    /// No compiler for the target could be set up.
    #[error("there is no Rust compiler for {target}: {reason}")]
    NoToolchain {
        /// The target.
        target: String,
        /// What was tried.
        reason: String,
    },

    /// A program is missing and could not be installed.
    #[error("`{program}` is not installed: {reason}")]
    NoProgram {
        /// The program.
        program: String,
        /// Debian's packages that have it.
        packages: String,
        /// Why it could not be installed.
        reason: String,
    },

    /// The stack grew into other memory: nothing that the board answers can be trusted.
    #[error("{board}: the stack took {taken} bytes, and {kept} are kept for it")]
    Stack {
        /// The board.
        board: String,
        /// The high-water mark.
        taken: u32,
        /// What its `board.toml` keeps.
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
        /// Bytes of its slot.
        slot: u32,
    },

    /// The model's arena is larger than the board's.
    #[error("{}: its arena of {needed} bytes does not fit the {arena} bytes of {board}", path.display())]
    ArenaTooLarge {
        /// The model.
        path: PathBuf,
        /// Bytes of arena that it needs.
        needed: u32,
        /// The board.
        board: String,
        /// Bytes of its arena.
        arena: u32,
    },

    /// The board has less RAM than that.
    #[error("{board} cannot be limited to {asked} bytes of RAM: it has {ram}")]
    LimitTooLarge {
        /// The board.
        board: String,
        /// Bytes that it should have.
        asked: u32,
        /// Bytes of its RAM.
        ram: u32,
    },

    /// The board's RAM is in several memories.
    #[error("{board} cannot be limited in RAM: it has several memories")]
    SeveralMemories {
        /// The board.
        board: String,
    },

    /// A board limited in RAM has too little for the model.
    #[error(
        "{board}: with {ram} bytes of RAM it has {lacking} too few: the model's arena takes \
         {arena}, the stack {stack}, the application {buffers}"
    )]
    RamTooSmall {
        /// The board.
        board: String,
        /// Bytes of RAM that it was limited to.
        ram: u32,
        /// Bytes that are missing.
        lacking: u64,
        /// Bytes of the model's arena.
        arena: u64,
        /// Bytes that are kept for the stack.
        stack: u64,
        /// Bytes of the application's buffers.
        buffers: u64,
    },

    /// The emulator ended.
    #[error("the emulator of {board} ended: {output}")]
    Ended {
        /// The board.
        board: String,
        /// What it said.
        output: String,
    },

    /// No serial port can be told to be the board's.
    #[error("{board}: {reason}")]
    NoPort {
        /// The board.
        board: String,
        /// What there is.
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

    /// The drive of a boot loader is not there.
    #[error("{board}: there is no drive `{drive}`")]
    NoDrive {
        /// The board.
        board: String,
        /// What it is called.
        drive: String,
    },

    /// A debug probe is not there, or cannot do it.
    #[error("{board}: the debug probe: {reason}")]
    Probe {
        /// The board.
        board: String,
        /// What is wrong.
        reason: String,
    },

    /// The boot loader of a chip of Espressif's is not there, or cannot do it.
    #[error("{board}: the boot loader: {reason}")]
    Espflash {
        /// The board.
        board: String,
        /// What is wrong.
        reason: String,
    },

    /// A model was installed, and does not run.
    #[error("{board}: the model with counter {counter} is installed, but {} runs", match running {
        Some(running) => format!("that with counter {running}"),
        None => "none".to_owned(),
    })]
    NotStarted {
        /// The board.
        board: String,
        /// That which was sent.
        counter: u32,
        /// That which runs.
        running: Option<u32>,
    },

    /// There is no emulator of the board.
    #[error("{board} has no emulator")]
    NoEmulator {
        /// The board.
        board: String,
    },

    /// The emulator takes no plugins.
    #[error("`{program}` was built without plugins, and instructions are counted by one")]
    NoPlugins {
        /// The emulator.
        program: String,
    },

    /// The plugin did not say what it should.
    #[error("{board}: instructions were not counted: {reason}")]
    NoCounts {
        /// The board.
        board: String,
        /// What there is instead.
        reason: String,
    },

    /// The board is silent.
    #[error("{board} did not answer `{request}` within {} s", after.as_secs())]
    Silent {
        /// The board.
        board: String,
        /// What it was asked.
        request: &'static str,
        /// How long was waited.
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

    /// The firmware speaks another protocol.
    #[error("{board} speaks version {theirs} of the protocol, this program version {ours}")]
    Protocol {
        /// The board.
        board: String,
        /// Its version.
        theirs: u16,
        /// Ours.
        ours: u16,
    },

    /// The answer is not one to the request.
    #[error("{board} answered `{request}` with something else: {answer}")]
    Confused {
        /// The board.
        board: String,
        /// What it was asked.
        request: &'static str,
        /// What came.
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
        /// What it was asked.
        request: &'static str,
        /// Why.
        reason: String,
    },

    /// The rows of the model's images are too long for the board.
    #[error("rows of {bytes} bytes are longer than the {limit} that {board} takes")]
    RowTooLong {
        /// The board.
        board: String,
        /// Bytes of a row.
        bytes: u32,
        /// Bytes that it takes.
        limit: u32,
    },

    /// The firmware's ELF file is not what it should be.
    #[error("{} cannot be read as an ELF file: {reason}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
