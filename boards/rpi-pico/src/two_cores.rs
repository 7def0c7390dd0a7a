//! Core 1, which runs the work that core 0 gives it.

use brooklet_app::kernels::Cores;
use brooklet_cores::{Giver, Mailbox};
use brooklet_parts::memory::Arena;
use cortex_m::asm::{dsb, sev, wfe};
use rp2040_hal::multicore::{Multicore, Stack};
use rp2040_hal::pac;
use rp2040_hal::sio::SioFifo;
use static_cell::ConstStaticCell;

use crate::board;

static MAILBOX: ConstStaticCell<Mailbox> = ConstStaticCell::new(Mailbox::new(tell, wfe));
static ROOM: board::Room = board::Room::new(Arena::new());
static STACK: Stack<{ board::SECOND_STACK_BYTES / 4 }> = Stack::new();

/// Makes earlier writes visible before the event that signals them.
fn tell() {
    dsb();
    sev();
}

/// Wakes core 1. It is called only once.
pub(crate) fn start(
    psm: &mut pac::PSM,
    ppb: &mut pac::PPB,
    fifo: &mut SioFifo,
) -> Cores<'static, Giver<'static>> {
    let (giver, worker) = MAILBOX.take().split();
    let Some(stack) = STACK.take() else { unreachable!("core 1 is woken once") };
    let mut cores = Multicore::new(psm, ppb, fifo);
    let [_, core] = cores.cores() else { unreachable!("two cores") };
    let Ok(()) = core.spawn(stack, || worker.work()) else { unreachable!("core 1 answers") };
    Cores::new(giver, ROOM.take())
}
