//! What one core of a chip leaves for the other to run.
//!
//! A [`Mailbox`] is in memory that both cores see. One has its [`Giver`], which a
//! [`Split`](brooklet::kernels::Split) backend uses; the other is started with the [`Worker`].
#![no_std]
#![allow(unsafe_code, reason = "a borrow goes to the other core, and is back before it ends")]

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use brooklet::kernels::OtherCore;

/// What the other core runs once.
type Work<'w> = &'w mut (dyn FnMut() + Send);

/// A place in memory that both cores see.
#[derive(Debug)]
pub struct Mailbox {
    /// Null while there is nothing to run.
    work: AtomicPtr<Work<'static>>,
    tell: fn(),
    wait: fn(),
}

/// The end that gives work. It does not leave its core.
#[derive(Debug)]
pub struct Giver<'m> {
    mailbox: &'m Mailbox,
    here: PhantomData<Cell<()>>,
}

/// The end that works.
#[derive(Debug)]
pub struct Worker<'m> {
    mailbox: &'m Mailbox,
}

impl Mailbox {
    /// Empty. `tell` lets the other core see what this one has written, and know of it; `wait` waits until
    /// the other core tells something, and returns at once if it has since the last wait. It may return
    /// early.
    pub const fn new(tell: fn(), wait: fn()) -> Self {
        Self { work: AtomicPtr::new(ptr::null_mut()), tell, wait }
    }

    /// Its two ends, one for each core.
    pub fn split(&mut self) -> (Giver<'_>, Worker<'_>) {
        (Giver { mailbox: self, here: PhantomData }, Worker { mailbox: self })
    }

    /// Lets the other core look.
    fn put(&self, work: *mut Work<'static>) {
        self.work.store(work, Ordering::Release);
        (self.tell)();
    }
}

impl Worker<'_> {
    /// Runs what is given, for good.
    pub fn work(mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// Waits for something to run, and runs it, if it is there.
    fn turn(&mut self) {
        match NonNull::new(self.mailbox.work.load(Ordering::Acquire)) {
            Some(mut work) => {
                // SAFETY: `Giver::both` put it there, which nobody else can, and neither touches it nor
                // returns before it is gone from there. There is one worker, and it is done with it then.
                unsafe { work.as_mut()() };
                self.mailbox.put(ptr::null_mut());
            }
            None => (self.mailbox.wait)(),
        }
    }
}

/// Waits until the other core is done: before what it works on is gone, even if this core panics.
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
            // Called from `here` of a call that is under way.
            there();
            return here();
        }
        let mut work: Work<'_> = there;
        let done = Done(self.mailbox);
        // For as long as this function runs, and no longer.
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

    /// Runs something with a thread for the other core.
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
            // Until this core has made its call, the other is at work.
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
