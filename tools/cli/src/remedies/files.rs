//! Remedies for errors of files.

use crate::project::ProjectError;
use std::fs;
use std::path::{Path, PathBuf};

use brooklet_files::{FileProblem, WriteError, WriteProblem, folder};

use super::Remedy;

impl Remedy for FileProblem {
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Io(_) => "check the path and its permissions".to_owned(),
            Self::NotAFile { .. } => "write its contents to a file, and give that file".to_owned(),
            Self::TooLong { .. } => "check that it is the intended file".to_owned(),
            Self::Memory { .. } => "close other programs, or give a smaller file".to_owned(),
            Self::Replaced { option } => format!("give {option} another name"),
        })
    }
}

impl Remedy for WriteError {
    fn remedy(&self) -> Option<String> {
        Some(match &self.problem {
            WriteProblem::Io(_) if !folder_of(&self.file).exists() => {
                format!("make the folder first: mkdir -p {}", folder_of(&self.file).display())
            }
            WriteProblem::Io(_) => format!(
                "check the name, the permissions of {}, and the free space",
                folder(&self.file).display()
            ),
            WriteProblem::Folder => "give the name of a file, not of a folder".to_owned(),
            WriteProblem::Kind { .. } => "give the name of a file".to_owned(),
            WriteProblem::Protected(_) => {
                "remove it, make it writable, or give another name".to_owned()
            }
            WriteProblem::Input { option, .. } | WriteProblem::Stream { option } => {
                format!("give {option} another name")
            }
            WriteProblem::Twice { options: [_, second] } => format!("give {second} another name"),
        })
    }
}

/// The folder of the file that a path leads to.
fn folder_of(file: &Path) -> PathBuf {
    match fs::read_link(file) {
        Ok(link) => folder(&folder(file).join(link)).to_owned(),
        Err(_) => folder(file).to_owned(),
    }
}

impl Remedy for ProjectError {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::File(problem) => problem.remedy(),
            Self::Toml(_) => Some("write options as in: board = \"rpi-pico\"".to_owned()),
            Self::Unknown(_) => Some(
                "`brooklet --help` lists commands, and `brooklet COMMAND --help` their options"
                    .to_owned(),
            ),
        }
    }
}
