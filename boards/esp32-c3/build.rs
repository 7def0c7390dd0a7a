//! Constants and linker arguments, all from `board.toml`.

fn main() {
    board_build::generate();
}
