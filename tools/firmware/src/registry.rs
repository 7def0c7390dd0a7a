//! The known boards: those with a `board.toml` in the checkout, or those that are built in.

use std::path::{Path, PathBuf};
use std::{env, fs};

use board_build::Spec;

use crate::FirmwareError;

/// The boards at the time when this program was built.
const BUILT_IN: &[&str] = &include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// The boards of a checkout, sorted by name; without a checkout, those that are built in.
///
/// ```
/// use brooklet_firmware::Registry;
///
/// let registry = Registry::built_in().unwrap();
/// let board = registry.board("rpi-pico").unwrap();
/// assert_eq!((&*board.core, &*board.backend), ("Cortex-M0+", "armv6m"));
/// let error = registry.board("rpi-pcio").unwrap_err();
/// assert!(error.to_string().contains("rpi-pcio"));
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    /// The folder `boards` of the checkout.
    folder: Option<PathBuf>,
    boards: Vec<Spec>,
}

impl Registry {
    /// The boards of the checkout that `BROOKLET_BOARDS` names, or of the one around the current
    /// folder, or of the one that this program was built from.
    ///
    /// Otherwise, or if `BROOKLET_BOARDS` is empty, the boards that are built in.
    pub fn find() -> Result<Self, FirmwareError> {
        match env::var_os("BROOKLET_BOARDS") {
            Some(folder) if folder.is_empty() => return Self::built_in(),
            Some(folder) => return Self::read(Path::new(&folder)),
            None => {}
        }
        let here = env::current_dir().unwrap_or_default();
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors()
            .chain(built_from.ancestors())
            .map(|folder| folder.join("boards"))
            .find(|folder| is_ours(folder))
            .map_or_else(Self::built_in, |folder| Self::read(&folder))
    }

    /// The boards that are built in.
    pub fn built_in() -> Result<Self, FirmwareError> {
        let spec = |text: &&str| {
            let path = PathBuf::from("board.toml");
            Spec::parse(text).map_err(|reason| FirmwareError::BoardToml { path, reason })
        };
        let boards = BUILT_IN.iter().map(spec).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::sorted(None, boards))
    }

    fn sorted(folder: Option<PathBuf>, mut boards: Vec<Spec>) -> Self {
        boards.sort_by(|a, b| a.name.cmp(&b.name));
        Self { folder, boards }
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
        Ok(Self::sorted(Some(folder), boards))
    }

    /// All boards, sorted by name.
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

    /// The board `name`, treated as if it had only `ram_bytes` of RAM, for a model whose arena
    /// takes `arena_bytes`.
    pub fn limited(
        &self,
        name: &str,
        ram_bytes: u32,
        arena_bytes: u32,
    ) -> Result<Spec, FirmwareError> {
        let spec = self.board(name)?;
        let (board, ram) = (spec.name.clone(), spec.ram.bytes);
        if !spec.memories.is_empty() {
            return Err(FirmwareError::SeveralMemories { board });
        }
        if ram_bytes > ram {
            return Err(FirmwareError::LimitTooLarge { board, asked: ram_bytes, ram });
        }
        Ok(spec.clone().limited(ram_bytes, arena_bytes))
    }

    /// Whether there is a checkout, which is needed to build firmware.
    pub fn is_checkout(&self) -> bool {
        self.folder.is_some()
    }

    /// The folder `boards`, if there is a checkout.
    pub fn checkout(&self) -> Result<&Path, FirmwareError> {
        self.folder.as_deref().ok_or(FirmwareError::NoCheckout)
    }

    /// The folder `boards`; without a checkout the current folder.
    pub fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// The checkout's root.
    pub fn root(&self) -> &Path {
        self.folder().parent().unwrap_or(self.folder())
    }

    /// The folder in which firmware is built: within the checkout's target folder, shared by all
    /// boards.
    ///
    /// Without a checkout, emulators are installed in it.
    pub fn target_dir(&self) -> PathBuf {
        match (&self.folder, env::var_os("CARGO_TARGET_DIR")) {
            (None, _) => cache(),
            (Some(_), Some(folder)) => self.root().join(folder).join("boards"),
            (Some(_), None) => self.root().join("target").join("boards"),
        }
    }

    /// Firmware of a board that was built before: in the folder that `BROOKLET_FIRMWARE` names, or
    /// in the user's cache.
    ///
    /// `cargo xtask firmware` fills such a folder.
    pub fn prebuilt(&self, spec: &Spec) -> Option<PathBuf> {
        let folder = env::var_os("BROOKLET_FIRMWARE").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| cache().join("firmware"));
        Some(folder.join(format!("{}.elf", spec.name))).filter(|file| file.is_file())
    }
}

/// The user's cache folder.
fn cache() -> PathBuf {
    let of_user = env::var_os("XDG_CACHE_HOME").or_else(|| env::var_os("LOCALAPPDATA"));
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    of_user.map(PathBuf::from).or_else(home).unwrap_or_else(env::temp_dir).join("brooklet")
}

/// Whether this is the folder of brooklet's boards.
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
    fn the_boards_that_are_built_in_are_those_of_the_checkout() {
        let built_in = Registry::built_in().unwrap();
        assert_eq!(built_in.boards(), checkout().boards());
        assert!(matches!(built_in.checkout(), Err(FirmwareError::NoCheckout)));
    }

    #[test]
    fn a_folder_without_boards_is_no_checkout() {
        assert!(matches!(Registry::read(Path::new("/")), Err(FirmwareError::NoCheckout)));
    }
}
