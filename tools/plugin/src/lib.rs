//! A plugin for QEMU that counts how often each instruction is executed, and how often the next one
//! is not the one after it.
//!
//! ```text
//! qemu-system-arm … -plugin libbrooklet_plugin.so,output=FILE,mark=ADDRESS,cache=CACHE
//! ```
//!
//! Only spans are counted: each begins after a store to `mark`, and ends with a load from it.
//! Firmware uses the timer with which it counts itself in the same way
//! (`boards/parts/src/systick.rs`), so both count the same, and firmware needs no marks of its own.
//! On RISC-V, whose counter has no address, the mark is the static in which firmware keeps the
//! counter's start (`boards/parts/src/minstret.rs`). A second store begins a new span, and discards
//! the counts so far, because the first store only sets up the timer.
//!
//! When QEMU quits, the file is written. It has one line per executed instruction: its address, its
//! bytes, how often it ran, and how often the next instruction was not the one after it. With
//! `cache`, misses of a cache in front of flash are counted: the last line is `misses` and their
//! number, for code and data. `Cache::parse` documents the text of a cache.
//!
//! The plugin uses version 1 of QEMU's interface (`docs/devel/tcg-plugins.rst` there), which QEMU 7.2
//! supports. Only one core is emulated, so all calls except the first and the last come from its
//! thread.

#![allow(unsafe_code, reason = "QEMU's interface is in C")]

mod cache;

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt::Write;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cache::Cache;

/// The version of the interface that this plugin uses.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU looks for this name")]
pub static qemu_plugin_version: c_int = 1;

/// Callbacks neither read nor write the core's registers (`QEMU_PLUGIN_CB_NO_REGS`).
const NO_REGISTERS: c_int = 0;
/// Loads and stores (`QEMU_PLUGIN_MEM_RW`).
const LOADS_AND_STORES: c_int = 3;

// These types are opaque.
type Block = c_void;
type Instruction = c_void;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: extern "C" fn(u64, *mut Block));
    fn qemu_plugin_register_atexit_cb(
        id: u64,
        callback: extern "C" fn(u64, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const u8;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut Instruction,
        callback: extern "C" fn(c_uint, u32, u64, *mut c_void),
        flags: c_int,
        which: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_mem_is_store(info: u32) -> bool;
}

/// An instruction, and how often it ran.
#[derive(Debug)]
struct Counted {
    address: u64,
    bytes: Vec<u8>,
    executed: AtomicU64,
    /// Number of times that the next instruction was not the one after it.
    left: AtomicU64,
}

/// All instructions that were translated, by address. They are never freed.
static ALL: Mutex<BTreeMap<u64, &'static Counted>> = Mutex::new(BTreeMap::new());
/// Whether a span is being counted.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// The previous instruction in the span.
static LAST: AtomicPtr<Counted> = AtomicPtr::new(ptr::null_mut());
/// The cache in front of flash, if misses are counted.
static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
/// Whether the code is Thumb.
static THUMB: AtomicBool = AtomicBool::new(false);
/// The options of the plugin.
static OPTIONS: OnceLock<Options> = OnceLock::new();

#[derive(Debug)]
struct Options {
    output: String,
    mark: u64,
}

/// QEMU calls this when it has loaded the plugin.
///
/// A result other than zero stops QEMU.
///
/// # Safety
///
/// `arguments` are `count` C strings, and the data at `info` begins with the name of the target,
/// which is a C string, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    info: *const *const c_char,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: by this function's contract.
    let target = unsafe { CStr::from_ptr(*info) }.to_bytes();
    THUMB.store(target == b"arm", Relaxed);
    let (mut output, mut mark) = (None, None);
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: by this function's contract.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) }.to_string_lossy();
        match argument.split_once('=') {
            Some(("output", path)) => output = Some(path.to_owned()),
            Some(("mark", address)) => {
                mark = u64::from_str_radix(address.trim_start_matches("0x"), 16).ok();
            }
            Some(("cache", text)) => {
                let Some(cache) = Cache::parse(text) else {
                    eprintln!("brooklet's plugin: `{text}` is not a cache");
                    return 1;
                };
                let _ = CACHE.set(Mutex::new(cache));
            }
            _ => {}
        }
    }
    let (Some(output), Some(mark)) = (output, mark) else {
        eprintln!("brooklet's plugin takes output=FILE,mark=ADDRESS,cache=CACHE");
        return 1;
    };
    if OPTIONS.set(Options { output, mark }).is_err() {
        return 1;
    }
    // SAFETY: `id` is what QEMU gave, and callbacks have the types that its interface asks for.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
        qemu_plugin_register_atexit_cb(id, quits, ptr::null_mut());
    }
    0
}

/// An instruction without the bytes that QEMU reads after it: at the end of a page it checks
/// whether the next Thumb instruction would cross the page, and adds the bytes to the previous
/// instruction.
fn alone(bytes: &[u8]) -> &[u8] {
    // Instructions of 32 bits begin with 0b11101, 0b11110 or 0b11111.
    let length = if bytes.get(1).is_some_and(|&byte| byte >= 0b11101 << 3) { 4 } else { 2 };
    match THUMB.load(Relaxed) {
        true => bytes.get(..length).unwrap_or(bytes),
        false => bytes,
    }
}

/// QEMU calls this when it has translated a block. It asks QEMU to call back for each instruction.
extern "C" fn translated(_: u64, block: *mut Block) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: QEMU lends the block, and its instructions with their bytes, for this call. The data
    // of callbacks are counters, which are never freed.
    unsafe {
        for index in 0..qemu_plugin_tb_n_insns(block) {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            let address = qemu_plugin_insn_vaddr(instruction);
            let size = qemu_plugin_insn_size(instruction);
            let bytes = std::slice::from_raw_parts(qemu_plugin_insn_data(instruction), size);
            let bytes = alone(bytes);
            let counted = *all.entry(address).or_insert_with(|| {
                Box::leak(Box::new(Counted {
                    address,
                    bytes: bytes.to_vec(),
                    executed: AtomicU64::new(0),
                    left: AtomicU64::new(0),
                }))
            });
            let data = ptr::from_ref(counted).cast_mut().cast();
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, NO_REGISTERS, data);
            let none = ptr::null_mut();
            qemu_plugin_register_vcpu_mem_cb(
                instruction,
                accessed,
                NO_REGISTERS,
                LOADS_AND_STORES,
                none,
            );
        }
    }
}

/// The cache, if there is one.
fn cache() -> Option<MutexGuard<'static, Cache>> {
    Some(CACHE.get()?.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Counts a read of code or data in the cache.
fn read(address: u64) {
    if let Some(mut cache) = cache() {
        cache.read(address, COUNTING.load(Relaxed));
    }
}

/// QEMU calls this before it executes an instruction.
extern "C" fn executed(_: c_uint, data: *mut c_void) {
    let counted = data.cast::<Counted>();
    // SAFETY: the data of this callback is a counter, which is never freed.
    let this = unsafe { &*counted };
    read(this.address);
    if !COUNTING.load(Relaxed) {
        return;
    }
    // SAFETY: a pointer in `LAST` was stored here, unless it is null.
    if let Some(last) = unsafe { LAST.swap(counted, Relaxed).as_ref() }
        && last.address + last.bytes.len() as u64 != this.address
    {
        last.left.fetch_add(1, Relaxed);
    }
    this.executed.fetch_add(1, Relaxed);
}

/// QEMU calls this for each access to memory.
extern "C" fn accessed(_: c_uint, info: u32, address: u64, _: *mut c_void) {
    read(address);
    if OPTIONS.get().is_none_or(|options| options.mark != address) {
        return;
    }
    // SAFETY: `info` is QEMU's argument.
    let begins = unsafe { qemu_plugin_mem_is_store(info) };
    if COUNTING.swap(begins, Relaxed) && begins {
        for counted in ALL.lock().unwrap_or_else(PoisonError::into_inner).values() {
            counted.executed.store(0, Relaxed);
            counted.left.store(0, Relaxed);
        }
        if let Some(mut cache) = cache() {
            cache.misses = 0;
        }
    }
    LAST.store(ptr::null_mut(), Relaxed);
}

/// QEMU calls this when it quits.
extern "C" fn quits(_: u64, _: *mut c_void) {
    let Some(Options { output, .. }) = OPTIONS.get() else { return };
    let mut lines = String::new();
    for counted in ALL.lock().unwrap_or_else(PoisonError::into_inner).values() {
        let executed = counted.executed.load(Relaxed);
        if executed > 0 {
            let _ = write!(lines, "{:x} ", counted.address);
            for byte in &counted.bytes {
                let _ = write!(lines, "{byte:02x}");
            }
            let _ = writeln!(lines, " {executed} {}", counted.left.load(Relaxed));
        }
    }
    if let Some(cache) = cache() {
        let _ = writeln!(lines, "misses {}", cache.misses);
    }
    if let Err(error) = std::fs::write(output, lines) {
        eprintln!("brooklet's plugin: {output}: {error}");
    }
}
