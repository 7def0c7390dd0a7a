//! What can go wrong between a board's name and its answer, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

/// An error with its remedy.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// There is no `boards` folder to be found.
    #[error("no checkout of brooklet, with its folder `boards`, was found")]
    #[diagnostic(help(
        "firmware is built from source: run this inside of a checkout, or set BROOKLET_BOARDS \
         to the path of its `boards` folder"
    ))]
    NoCheckout,

    /// A board's description cannot be read.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help("`boards/build` says what a board.toml holds"))]
    BoardToml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// There is no such board.
    #[error("there is no board `{name}`")]
    #[diagnostic(help("the boards are: {}", known.join(", ")))]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },

    /// No compiler for the target could be set up.
    #[error("there is no Rust compiler for {target}: {reason}")]
    #[diagnostic(help("with rustup: `rustup target add {target}`"))]
    NoToolchain {
        /// The target.
        target: String,
        /// What was tried.
        reason: String,
    },

    /// A program is missing and could not be installed.
    #[error("`{program}` is not installed: {reason}")]
    #[diagnostic(help("install it with your system's package manager (on Debian: {packages})"))]
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
    #[diagnostic(help("raise `stack_bytes` in boards/{board}/board.toml, or plan for less RAM"))]
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
    #[diagnostic(help("{output}"))]
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
    #[diagnostic(help("check the path and its permissions"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A file cannot be written.
    #[error("{} cannot be created", path.display())]
    #[diagnostic(help("check the path, its permissions, and the space that is left"))]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The model is larger than the slot.
    #[error("{}: {bytes} bytes do not fit the model slot of {board}, {slot} bytes", path.display())]
    #[diagnostic(help("choose a board with more flash (`brooklet boards`), or a smaller network"))]
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
    #[diagnostic(help(
        "choose a board with more RAM (`brooklet boards`), a smaller network, or a smaller input"
    ))]
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
    #[diagnostic(help("choose fewer bytes, or a board with more RAM (`brooklet boards`)"))]
    LimitTooLarge {
        /// The board.
        board: String,
        /// Bytes that it should have.
        asked: u32,
        /// Bytes of its RAM.
        ram: u32,
    },

    /// A board limited in RAM has too little for the model.
    #[error(
        "{board}: with {ram} bytes of RAM it has {lacking} too few: the model's arena takes \
         {arena}, the stack {stack}, the application {buffers}"
    )]
    #[diagnostic(help("allow it more RAM, or choose a smaller network or a smaller input"))]
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
    #[diagnostic(help("QEMU 7.2 or newer is needed; its own words are above"))]
    Ended {
        /// The board.
        board: String,
        /// What it said.
        output: String,
    },

    /// The emulator takes no plugins.
    #[error("`{program}` was built without plugins, and instructions are counted by one")]
    #[diagnostic(help("take Debian's QEMU, or build yours with --enable-plugins"))]
    NoPlugins {
        /// The emulator.
        program: String,
    },

    /// The plugin did not say what it should.
    #[error("{board}: instructions were not counted: {reason}")]
    #[diagnostic(help(
        "plugins of version 1 of QEMU's interface are needed, as QEMU 7.2 has them"
    ))]
    NoCounts {
        /// The board.
        board: String,
        /// What there is instead.
        reason: String,
    },

    /// The board is silent.
    #[error("{board} did not answer `{request}` within {} s", after.as_secs())]
    #[diagnostic(help(
        "the firmware has stopped, or the network is very large: BROOKLET_TIMEOUT sets the \
         seconds to wait"
    ))]
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
    #[diagnostic(help("put the firmware of this version on it: `brooklet flash`"))]
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
    #[diagnostic(help("firmware and host differ: put the firmware of this version on it"))]
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
    #[diagnostic(help(
        "`brooklet inspect` checks the file on the host; quantize it again for this board"
    ))]
    Model {
        /// The board.
        board: String,
        /// The runtime's error.
        reason: String,
    },

    /// Flash changed while the board ran.
    #[error("{board}: the model in flash is not the one that was loaded at start-up")]
    #[diagnostic(help(
        "its flash was written to or is failing, and the board gives no more results: put the \
         model there again, and restart the board"
    ))]
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
    #[diagnostic(help(
        "choose a board that takes longer rows (`brooklet boards`) or a narrower input, or raise \
         `row_bytes` in boards/{board}/board.toml"
    ))]
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
