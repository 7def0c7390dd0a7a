//! Which boards there are: those with a `board.toml` in the checkout.

use std::path::{Path, PathBuf};
use std::{env, fs};

use board_build::Spec;

use crate::FirmwareError;

/// The boards of a checkout, by name.
#[derive(Clone, Debug)]
pub struct Registry {
    folder: PathBuf,
    boards: Vec<Spec>,
}

impl Registry {
    /// The checkout that `BROOKLET_BOARDS` names; else the one around the current folder;
    /// else the one that this program was built from.
    pub fn find() -> Result<Self, FirmwareError> {
        if let Some(folder) = env::var_os("BROOKLET_BOARDS") {
            return Self::read(Path::new(&folder));
        }
        let here = env::current_dir().unwrap_or_default();
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors()
            .chain(built_from.ancestors())
            .map(|folder| folder.join("boards"))
            .find(|folder| is_ours(folder))
            .ok_or(FirmwareError::NoCheckout)
            .and_then(|folder| Self::read(&folder))
    }

    /// The boards in `folder`.
    pub fn read(folder: &Path) -> Result<Self, FirmwareError> {
        let folder = folder.canonicalize().map_err(|_| FirmwareError::NoCheckout)?;
        if !is_ours(&folder) {
            return Err(FirmwareError::NoCheckout);
        }
        let entries = fs::read_dir(&folder)
            .map_err(|source| FirmwareError::Read { path: folder.clone(), source })?;
        let mut boards = Vec::new();
        for path in entries.flatten().map(|entry| entry.path().join("board.toml")) {
            if path.is_file() {
                let spec = Spec::read(&path)
                    .map_err(|reason| FirmwareError::BoardToml { path: path.clone(), reason })?;
                boards.push(spec);
            }
        }
        boards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { folder, boards })
    }

    /// All boards, by name.
    pub fn boards(&self) -> &[Spec] {
        &self.boards
    }

    /// The board `name`.
    pub fn board(&self, name: &str) -> Result<&Spec, FirmwareError> {
        self.boards.iter().find(|spec| spec.name == name).ok_or_else(|| {
            FirmwareError::UnknownBoard {
                name: name.to_owned(),
                known: self.boards.iter().map(|spec| spec.name.clone()).collect(),
            }
        })
    }

    /// The board `name`, as if it had only `ram_bytes` of RAM, for a model whose arena takes
    /// `arena_bytes`.
    pub fn limited(
        &self,
        name: &str,
        ram_bytes: u32,
        arena_bytes: u32,
    ) -> Result<Spec, FirmwareError> {
        let spec = self.board(name)?;
        let (board, ram) = (spec.name.clone(), spec.ram.bytes);
        if ram_bytes > ram {
            return Err(FirmwareError::LimitTooLarge { board, asked: ram_bytes, ram });
        }
        Ok(spec.clone().limited(ram_bytes, arena_bytes))
    }

    /// The targets that the boards need, each once.
    pub fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<_> = self.boards.iter().map(|spec| spec.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// The folder `boards`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The checkout's root.
    pub fn root(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Where firmware is built: beside what else the checkout builds, shared by all boards.
    pub fn target_dir(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root().join(folder).join("boards"),
            None => self.root().join("target").join("boards"),
        }
    }
}

/// Is this the folder of brooklet's boards, and not of someone else's?
fn is_ours(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("protocol/Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Registry {
        Registry::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards")).unwrap()
    }

    #[test]
    fn an_unknown_board_lists_those_that_there_are() {
        let error = checkout().board("arduino").unwrap_err();
        let help = error.remedy().unwrap();
        assert_eq!(error.to_string(), "there is no board `arduino`");
        assert!(help.contains("qemu-mps2-an386") && help.contains("qemu-riscv-virt"), "{help}");
    }

    #[test]
    fn a_board_built_by_hand_is_built_for_its_target() {
        let registry = checkout();
        for spec in registry.boards() {
            let config = registry.folder().join(&spec.name).join(".cargo/config.toml");
            let config = fs::read_to_string(config).unwrap();
            let quoted = |text: &str| format!("\"{text}\"");
            assert!(config.contains(&format!("target = {}", quoted(&spec.target))));
            let Some(qemu) = &spec.qemu else { continue };
            let command: Vec<_> =
                std::iter::once(&qemu.binary).chain(&qemu.args).map(|word| quoted(word)).collect();
            assert!(config.contains(&format!("runner = [{}", command.join(", "))), "{}", spec.name);
        }
    }

    #[test]
    fn a_folder_without_boards_is_no_checkout() {
        assert!(matches!(Registry::read(Path::new("/")), Err(FirmwareError::NoCheckout)));
    }
}
