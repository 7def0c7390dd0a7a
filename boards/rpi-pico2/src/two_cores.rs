//! Core 1, which runs the work that core 0 gives it.

use brooklet_app::kernels::Cores;
use brooklet_cores::{Giver, Mailbox};
use brooklet_parts::memory::Arena;
use cortex_m::asm::{dsb, sev, wfe};
use embassy_rp::Peri;
use embassy_rp::multicore::{Stack, spawn_core1};
use embassy_rp::peripherals::CORE1;
use static_cell::ConstStaticCell;

use crate::board;

static MAILBOX: ConstStaticCell<Mailbox> = ConstStaticCell::new(Mailbox::new(tell, wfe));
static ROOM: board::Room = board::Room::new(Arena::new());
static STACK: ConstStaticCell<Stack<{ board::SECOND_STACK_BYTES }>> =
    ConstStaticCell::new(Stack::new());

/// Makes earlier writes visible before the event that signals them.
fn tell() {
    dsb();
    sev();
}

/// Wakes core 1. It is called only once.
pub(crate) fn start(core: Peri<'static, CORE1>) -> Cores<'static, Giver<'static>> {
    let (giver, worker) = MAILBOX.take().split();
    spawn_core1(core, STACK.take(), || worker.work());
    Cores::new(giver, ROOM.take())
}
