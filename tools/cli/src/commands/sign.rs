//! `brooklet key` and `brooklet sign`: control who can write a model to a board.

use std::fmt;
use std::path::PathBuf;

use brooklet_files::{InputPath, Limit, OutputPath};
use brooklet_plan::model_file::ModelFile;
use brooklet_slots::{header, public_key, sign};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Output, read};
use crate::failure::{Result, failure};
use crate::report::schema::Reported;
use crate::report::thousands;

/// Options of `brooklet key`.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

/// Commands for keys.
#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Makes a secret key that signs models, and the public key that firmware is built with.
    #[command(after_help = "Example:\n  brooklet key new models.key")]
    New {
        /// The file of the secret key; the public key goes beside it, with `.pub` added to the
        /// name.
        key: OutputPath,
    },
}

/// Options of `brooklet sign`.
#[derive(Debug, clap::Args)]
pub struct SignArgs {
    /// The model file.
    model: InputPath,
    /// The secret key: `brooklet key new` makes one.
    #[arg(long, value_name = "FILE.key")]
    key: InputPath,
    /// The model's version. Boards start the model with the largest counter, and refuse models whose
    /// counter is below that of the running model.
    #[arg(long, value_name = "N")]
    counter: u32,
    /// The file of the signed model to write.
    #[arg(short, long, value_name = "FILE.signed")]
    output: OutputPath,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KeyReport {
    /// The file of the key that signs.
    secret_key: PathBuf,
    /// The file of the key that boards have.
    public_key_file: PathBuf,
    /// The public key, in hexadecimal digits.
    public_key: String,
}

impl Reported for KeyReport {
    const NAME: &str = "key";
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secret, public) = (self.secret_key.display(), self.public_key_file.display());
        writeln!(f, "{secret}: the secret key; whoever has it can bring models onto your boards")?;
        writeln!(f, "{public}: the public key; firmware that has it accepts no other models:")?;
        writeln!(f, "BROOKLET_PUBLIC_KEY={}", self.public_key)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SignReport {
    /// The file that was written.
    signed: PathBuf,
    /// The model's version, which boards compare with that of their model.
    counter: u32,
    /// Its length.
    bytes: usize,
    /// The key that boards have, in hexadecimal digits.
    public_key: String,
}

impl Reported for SignReport {
    const NAME: &str = "sign";
}

impl fmt::Display for SignReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signed, counter, bytes, public_key } = self;
        let bytes = thousands(*bytes);
        writeln!(f, "{}: {bytes} bytes, counter {counter}, for {public_key}", signed.display())
    }
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a key: 64 hexadecimal digits.
pub(crate) fn read_key(path: &InputPath) -> Result<[u8; 32]> {
    let wrong = || {
        failure!(
            help = "`brooklet key new FILE` makes a pair of keys",
            "{}: is not a key, which is 64 hexadecimal digits in lower case",
            path.display()
        )
    };
    let bytes = read(path, Limit::Text)?;
    let text = str::from_utf8(&bytes).map_err(|_| wrong())?.trim();
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(wrong());
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = str::from_utf8(digits).unwrap_or("0");
        *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
    }
    Ok(key)
}

/// Runs `brooklet key`.
pub fn key(args: &KeyArgs, output: Output) -> Result<()> {
    let KeyCommand::New { key: path } = &args.command;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| failure!("the system gives no random numbers: {error}"))?;
    let public = public_key(&secret);
    let mut beside = path.to_path_buf().into_os_string();
    beside.push(".pub");
    let beside = OutputPath::from(beside);
    for path in [path, &beside] {
        // A lost key cannot be made again.
        if path.exists() {
            return Err(failure!(
                help = "name another file; nothing was written",
                "{}: already exists",
                path.display()
            ));
        }
    }
    path.write_secret(format!("{}\n", hex(&secret)).as_bytes())?;
    beside.write(format!("{}\n", hex(&public)).as_bytes())?;
    output.print(&KeyReport {
        secret_key: path.to_path_buf(),
        public_key_file: beside.to_path_buf(),
        public_key: hex(&public),
    })
}

/// Runs `brooklet sign`.
pub fn run(args: &SignArgs, output: Output) -> Result<()> {
    let secret = read_key(&args.key)?;
    let file = ModelFile::open(&args.model)?;
    let bytes = file.bytes();
    let signature = sign(bytes, args.counter, &secret);
    let header = header(args.counter, bytes.len() as u32, &signature);
    let signed = [&header[..], bytes].concat();
    args.output.write(&signed)?;
    output.print(&SignReport {
        signed: args.output.to_path_buf(),
        counter: args.counter,
        bytes: signed.len(),
        public_key: hex(&public_key(&secret)),
    })
}

/// A key in hexadecimal digits.
pub(crate) fn read_public_key(path: &InputPath) -> Result<String> {
    Ok(hex(&read_key(path)?))
}
