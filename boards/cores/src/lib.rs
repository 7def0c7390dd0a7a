//! Passes work from one core of a chip to the other.
//!
//! A [`Mailbox`] is in memory that both cores see. One core has its [`Giver`], which a
//! [`Split`](brooklet::kernels::Split) backend uses; the other core is started with the [`Worker`].
#![no_std]
#![allow(unsafe_code, reason = "a borrow goes to the other core, and is back before it ends")]

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use brooklet::kernels::OtherCore;

/// A function that the other core runs once.
type Work<'w> = &'w mut (dyn FnMut() + Send);

/// An entry in memory that both cores see.
#[derive(Debug)]
pub struct Mailbox {
    /// Null while there is nothing to run.
    work: AtomicPtr<Work<'static>>,
    tell: fn(),
    wait: fn(),
}

/// The end that gives work. It stays on its core.
#[derive(Debug)]
pub struct Giver<'m> {
    mailbox: &'m Mailbox,
    here: PhantomData<Cell<()>>,
}

/// The end that does the work.
#[derive(Debug)]
pub struct Worker<'m> {
    mailbox: &'m Mailbox,
}

impl Mailbox {
    /// An empty mailbox. `tell` makes what this core has written visible to the other, and signals
    /// it. `wait` waits until the other core signals, and returns at once if it has since the last
    /// wait. It may return early.
    pub const fn new(tell: fn(), wait: fn()) -> Self {
        Self { work: AtomicPtr::new(ptr::null_mut()), tell, wait }
    }

    /// Its two ends, one for each core.
    pub fn split(&mut self) -> (Giver<'_>, Worker<'_>) {
        (Giver { mailbox: self, here: PhantomData }, Worker { mailbox: self })
    }

    /// Sets the work, and signals the other core.
    fn put(&self, work: *mut Work<'static>) {
        self.work.store(work, Ordering::Release);
        (self.tell)();
    }
}

impl Worker<'_> {
    /// Runs all work that is given, forever.
    pub fn work(mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// Runs the work that is there, or waits for some.
    fn turn(&mut self) {
        match NonNull::new(self.mailbox.work.load(Ordering::Acquire)) {
            Some(mut work) => {
                // SAFETY: only `Giver::both` puts work there. It neither touches the work nor
                // returns before the entry is cleared. There is only one worker, which is done with
                // the work when it clears the entry.
                unsafe { work.as_mut()() };
                self.mailbox.put(ptr::null_mut());
            }
            None => (self.mailbox.wait)(),
        }
    }
}

/// Waits until the other core is done, even if this core panics, so that its work is not dropped
/// before.
struct Done<'m>(&'m Mailbox);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        while !self.0.work.load(Ordering::Acquire).is_null() {
            (self.0.wait)();
        }
    }
}

impl OtherCore for Giver<'_> {
    fn both(&self, there: &mut (dyn FnMut() + Send), here: &mut dyn FnMut()) {
        if !self.mailbox.work.load(Ordering::Relaxed).is_null() {
            // Called from within `here` of another call.
            there();
            return here();
        }
        let mut work: Work<'_> = there;
        let done = Done(self.mailbox);
        // The work is borrowed until this function returns, and no longer.
        self.mailbox.put((&raw mut work).cast());
        here();
        drop(done);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::vec::Vec;

    /// Calls `run` with a thread as the other core.
    fn with_a_worker(run: impl FnOnce(&Giver<'_>)) {
        let mut mailbox = Mailbox::new(|| {}, thread::yield_now);
        let over = AtomicBool::new(false);
        let (giver, mut worker) = mailbox.split();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    worker.turn();
                }
            });
            run(&giver);
            over.store(true, Ordering::Release);
        });
    }

    #[test]
    fn both_sides_work_and_what_they_made_is_there() {
        with_a_worker(|giver| {
            let this = thread::current().id();
            for n in 0..200 {
                let (mut there, mut here) = (Vec::new(), 0);
                giver.both(
                    &mut || {
                        assert_ne!(thread::current().id(), this);
                        there.push(n);
                    },
                    &mut || {
                        assert_eq!(thread::current().id(), this);
                        here += n;
                    },
                );
                assert_eq!((there, here), (std::vec![n], n));
            }
        });
    }

    #[test]
    fn a_call_from_within_runs_here() {
        with_a_worker(|giver| {
            let (mut outer, mut inner) = (0, 0);
            // The other core works until this core has made its call.
            let called = AtomicBool::new(false);
            giver.both(
                &mut || {
                    while !called.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                    outer += 1;
                },
                &mut || {
                    giver.both(&mut || inner += 1, &mut || {});
                    called.store(true, Ordering::Release);
                },
            );
            assert_eq!((outer, inner), (1, 1));
        });
    }

    #[test]
    fn a_panic_here_waits_for_the_other() {
        with_a_worker(|giver| {
            let mut done = false;
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                giver.both(
                    &mut || {
                        thread::sleep(std::time::Duration::from_millis(5));
                        done = true;
                    },
                    &mut || panic!("meant"),
                );
            }));
            assert!(panicked.is_err() && done);
        });
    }
}
