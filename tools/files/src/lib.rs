//! The files that a command reads and writes.
//!
//! Each command declares them by the types of its arguments: [`InputPath`], [`InputData`] and
//! [`OutputPath`]. The tool finds them by these types and checks them before the command runs
//! ([`check()`]): no output replaces an input or another output, and each can be written. Files are
//! read with [`read`], which has a limit for each kind of file, and written with
//! [`OutputPath::write`], which writes a file whole or not at all.
//!
//! ```
//! use brooklet_files::{Limit, OutputPath, TemporaryFolder, check, read};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = TemporaryFolder::new()?;
//! let path = folder.path().join("names.txt");
//! let output = OutputPath::from(path.clone().into_os_string());
//! output.write(b"cat\ndog\n")?;
//! assert_eq!(read(&path, Limit::Text)?, b"cat\ndog\n");
//!
//! // A command that would read and write the same file is refused before it begins.
//! let refused = check(&[path], &[("--output".into(), &output)]).unwrap_err();
//! assert!(refused.to_string().contains("--output would replace the input"));
//! # Ok(())
//! # }
//! ```

mod check;
mod declared;
mod identity;
mod input;
mod output;
mod path;
mod temporary;
pub mod text;

pub use check::check;
pub use input::{FileProblem, Limit, open, read, take};
pub use output::{OutputPath, WriteError, WriteProblem};
pub use path::{InputData, InputPath, folder};
pub use temporary::{TemporaryFolder, remove_on_signals};
