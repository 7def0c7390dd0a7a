//! Steps of a chore.
//!
//! Independent steps run in parallel, in *lanes*; a phase ends when its lanes have ended. Each line
//! of output begins with the name of its step, and a summary ends the chore.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use brooklet_firmware::{FirmwareError, compile};
use wait4::Wait4;

/// The reason why a step or a chore failed, in words.
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<FirmwareError> for Failure {
    fn from(error: FirmwareError) -> Self {
        let mut text = format!("error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        if let Some(help) = error.remedy() {
            text.push_str(&format!("\n  help: {help}"));
        }
        Self(text)
    }
}

/// The work of a step.
type Work<'a> = Box<dyn FnOnce() -> Result<(), Failure> + Send + 'a>;

/// A step: the name that `cargo xtask test NAME` takes, and its work.
pub(crate) struct Step<'a> {
    name: String,
    work: Work<'a>,
}

/// Makes a step.
pub(crate) fn step<'a>(
    name: impl Into<String>,
    work: impl FnOnce() -> Result<(), Failure> + Send + 'a,
) -> Step<'a> {
    Step { name: name.into(), work: Box::new(work) }
}

/// Steps that run one after another.
pub(crate) type Lane<'a> = Vec<Step<'a>>;

/// The result of a step.
struct Taken {
    name: String,
    time: Duration,
    /// Processor time of the commands that it ran.
    cpu: Duration,
    passed: bool,
}

/// Tests that ran, with the seconds that each took.
static TESTS: Mutex<Vec<(f32, String)>> = Mutex::new(Vec::new());

/// Number of tests that the summary lists.
const SLOWEST: usize = 10;

thread_local! {
    /// The name of the step that this thread runs.
    static STEP: RefCell<String> = const { RefCell::new(String::new()) };

    /// Processor time of the commands that this thread has run.
    static CPU_TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Runs phases of lanes: the steps that `wanted` names, or all if it is empty.
///
/// If a step fails, the next one still runs, so that one run shows all errors.
pub(crate) fn run_phases(phases: Vec<Vec<Lane<'_>>>, wanted: &[&str]) -> Result<(), Failure> {
    let names: Vec<&str> =
        phases.iter().flatten().flatten().map(|step| step.name.as_str()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(Failure(format!(
            "error: there is no step `{unknown}`\n  help: the steps are {}",
            names.join(", ")
        )));
    }
    let start = Instant::now();
    let taken = Mutex::new(Vec::new());
    for lanes in phases {
        thread::scope(|scope| {
            for lane in lanes {
                let taken = &taken;
                scope.spawn(move || {
                    for step in lane {
                        if wanted.is_empty() || wanted.contains(&step.name.as_str()) {
                            let step = take(step);
                            taken.lock().unwrap_or_else(|lock| lock.into_inner()).push(step);
                        }
                    }
                });
            }
        });
    }
    let taken = taken.into_inner().unwrap_or_else(|lock| lock.into_inner());
    summary(&taken, start.elapsed());
    match taken.iter().filter(|step| !step.passed).count() {
        0 => Ok(()),
        failed => Err(Failure(format!("{failed} of the steps failed"))),
    }
}

fn take(step: Step<'_>) -> Taken {
    STEP.set(step.name.clone());
    say("begins");
    let (start, cpu) = (Instant::now(), cpu_time());
    let result = (step.work)();
    if let Err(failure) = &result {
        failure.to_string().lines().for_each(say);
    }
    let time = start.elapsed();
    say(&format!("ended after {:.1} s", time.as_secs_f32()));
    let cpu = cpu_time() - cpu;
    Taken { name: step.name, time, cpu, passed: result.is_ok() }
}

/// Processor time of this thread's commands so far, including builds of firmware.
fn cpu_time() -> Duration {
    CPU_TIME.get() + compile::cpu_time()
}

fn summary(taken: &[Taken], time: Duration) {
    let mut tests = TESTS.lock().unwrap_or_else(|lock| lock.into_inner());
    tests.sort_by(|a, b| b.0.total_cmp(&a.0));
    if !tests.is_empty() {
        println!("\n── the slowest tests");
    }
    for (seconds, name) in tests.iter().take(SLOWEST) {
        println!("{seconds:>13.1} s  {name}");
    }
    println!("\n── summary");
    for step in taken {
        let verdict = if step.passed { "ok    " } else { "FAILED" };
        let [time, cpu] = [step.time, step.cpu].map(|time| time.as_secs_f32());
        println!("{verdict} {time:>6.1} s  {cpu:>6.1} s of CPU  {}", step.name);
    }
    let passed = taken.iter().filter(|step| step.passed).count();
    let cpu: Duration = taken.iter().map(|step| step.cpu).sum();
    let [time, cpu] = [time, cpu].map(|time| time.as_secs_f32() / 60.0);
    println!("{time:.1} min in all, with steps in parallel; {cpu:.1} min of CPU");
    println!("{passed} passed, {} failed", taken.len() - passed);
}

/// Runs a command, and shows it as a user would type it.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    run_for(command, pass_on)
}

/// Runs a command, and returns its output instead of showing it.
pub(crate) fn output_of(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    run_for(command, |_, mut output| {
        // If reading fails, the caller finds the output to be incomplete.
        let _ = output.read_to_end(&mut bytes);
    })?;
    Ok(bytes)
}

/// Runs a command whose output `read` takes.
fn run_for(command: &mut Command, read: impl FnOnce(&str, ChildStdout)) -> Result<(), Failure> {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    match command.get_current_dir() {
        Some(folder) => say(&format!("$ (cd {}) {line}", folder.display())),
        None => say(&format!("$ {line}")),
    }
    let failed = |error| Failure(format!("error: `{line}` could not be run: {error}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Incremental builds take time and space, and these are built only once.
        .env("CARGO_INCREMENTAL", "0")
        .spawn()
        .map_err(failed)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let step = STEP.with_borrow(Clone::clone);
    thread::scope(|scope| {
        if let Some(errors) = errors {
            scope.spawn(|| pass_on(&step, errors));
        }
        if let Some(output) = output {
            read(&step, output);
        }
    });
    let ended = child.wait4().map_err(failed)?;
    CPU_TIME.set(CPU_TIME.get() + ended.rusage.utime + ended.rusage.stime);
    if ended.status.success() {
        Ok(())
    } else {
        Err(Failure(format!("error: `{line}` failed: {}", ended.status)))
    }
}

/// Prints the output of a command line by line, and records the times of tests.
fn pass_on(step: &str, output: impl Read) {
    // A line that is not UTF-8 does not come from our tests.
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        print_line(step, &line);
        if let Some(test) = timed(&line) {
            TESTS.lock().unwrap_or_else(|lock| lock.into_inner()).push(test);
        }
    }
}

/// Parses a test's line: `test module::name ... ok <1.234s>`.
fn timed(line: &str) -> Option<(f32, String)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let (_, time) = rest.split_once('<')?;
    Some((time.strip_suffix("s>")?.parse().ok()?, name.to_owned()))
}

fn print_line(step: &str, line: &str) {
    if step.is_empty() { println!("{line}") } else { println!("{step:<12} │ {line}") }
}

/// Prints a line, with the name of the step that this thread runs.
pub(crate) fn say(line: &str) {
    STEP.with_borrow(|step| print_line(step, line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_tests_are_read() {
        assert_eq!(timed("test a::b ... ok <1.250s>"), Some((1.25, "a::b".into())));
        assert_eq!(timed("test a::b ... FAILED <0.5s>"), Some((0.5, "a::b".into())));
        for other in ["test a ... ok", "running 3 tests", "test result: ok. 1 passed"] {
            assert_eq!(timed(other), None, "{other}");
        }
    }

    #[test]
    fn a_failed_step_does_not_hide_the_next() {
        let ran = Mutex::new(Vec::new());
        let lane = |name: &'static str, passes| {
            let ran = &ran;
            step(name, move || {
                ran.lock().unwrap().push(name);
                if passes { Ok(()) } else { Err(Failure("no".into())) }
            })
        };
        let phases =
            vec![vec![vec![lane("a", false), lane("b", true)]], vec![vec![lane("c", true)]]];
        assert!(run_phases(phases, &[]).is_err());
        assert_eq!(*ran.lock().unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn an_unknown_step_is_named() {
        let failure = run_phases(vec![vec![vec![step("a", || Ok(()))]]], &["b"]).unwrap_err();
        assert!(failure.to_string().contains("no step `b`"), "{failure}");
    }
}
