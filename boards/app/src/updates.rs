//! Models that arrive over the link: signed, and written to the slot that is not in use.

#[cfg(test)]
mod tests;

use brooklet::kernels::Backend;
use brooklet::{Model, SelfTest, Session};
pub use brooklet_slots::{InMemory, Slot, key_of_hex};
use brooklet_slots::{Update, UpdateFault, choose, open};

/// Takes an update, into any kind of flash.
pub(crate) trait Installer {
    /// Counter of the running model.
    fn running(&self) -> Option<u32>;
    /// The number of bytes of which each part must be a multiple.
    fn unit(&self) -> u32;
    /// Starts an update. `bytes` is the length of the model file.
    fn begin(&mut self, bytes: u32) -> Result<(), UpdateFault>;
    /// Writes a part of the model file.
    fn part(&mut self, offset: u32, bytes: &[u8]) -> Result<(), UpdateFault>;
    /// Finishes the update.
    fn install(&mut self, counter: u32, signature: &[u8]) -> Result<(), UpdateFault>;
    /// Whether there is a new model to start.
    fn is_installed(&self) -> bool;
}

/// An installer for one slot.
pub(crate) struct Other<'f, F> {
    slot: &'f mut F,
    key: &'f [u8; 32],
    running: Option<u32>,
    update: Option<Update>,
    installed: bool,
}

impl<F: Slot> Installer for Other<'_, F> {
    fn running(&self) -> Option<u32> {
        self.running
    }

    fn unit(&self) -> u32 {
        F::WRITE_SIZE as u32
    }

    fn begin(&mut self, bytes: u32) -> Result<(), UpdateFault> {
        // A model that was installed but not started is overwritten.
        self.installed = false;
        self.update = None;
        self.update = Some(Update::begin(self.slot, bytes)?);
        Ok(())
    }

    fn part(&mut self, offset: u32, bytes: &[u8]) -> Result<(), UpdateFault> {
        self.update.as_mut().ok_or(UpdateFault::NotBegun)?.write(self.slot, offset, bytes)
    }

    fn install(&mut self, counter: u32, signature: &[u8]) -> Result<(), UpdateFault> {
        let update = self.update.take().ok_or(UpdateFault::NotBegun)?;
        let signature = signature.try_into().map_err(|_| UpdateFault::Incomplete)?;
        let running = self.running.unwrap_or(0);
        update.finish(self.slot, counter, signature, self.key, running)?;
        self.installed = true;
        Ok(())
    }

    fn is_installed(&self) -> bool {
        self.installed
    }
}

/// Whether a model file runs here, and gives the results stored in it.
fn is_good(file: &[u8], kernels: impl Backend, row: usize, arena: &mut [u8]) -> bool {
    let Ok(model) = Model::parse(file) else { return false };
    let Ok(mut session) = Session::new(&model, kernels, arena) else { return false };
    model.input().row_bytes() <= row && !matches!(session.self_test(), SelfTest::Differs { .. })
}

/// Chooses the slot to start: its model file, empty if there is none, and an installer for the
/// other slot.
pub(crate) fn start<'f, F: Slot>(
    slots: &'f mut [F; 2],
    key: &'f [u8; 32],
    kernels: impl Backend + Copy,
    row: usize,
    arena: &mut [u8],
) -> (&'f [u8], Other<'f, F>) {
    let chosen = choose(slots, key, |file| is_good(file, kernels, row, arena));
    let [first, second] = slots;
    let (active, slot) = if chosen == Some(1) { (second, first) } else { (first, second) };
    // It was opened a moment ago, so this succeeds.
    let found = chosen.and_then(|_| open::<F>((*active).bytes(), key).ok());
    let running = found.map(|found| found.counter);
    let file = found.map_or(&[][..], |found| found.file);
    (file, Other { slot, key, running, update: None, installed: false })
}
