//! Makes mutants, and judges them, for `cargo xtask fuzz`.
//!
//! ```text
//! mutants run FIRST COUNT VERDICTS     makes mutants and judges them; a line of VERDICTS for each
//! mutants make FIRST COUNT             makes them, for another build's
//! mutants judge FIRST VERDICTS         which judges what it reads
//! mutants dump NUMBER FILE             one of them as a file
//! mutants file FILE…                   judges files
//! ```
//!
//! A judge built for a 32-bit core reads its mutants, because making them needs tools that are not
//! built for it. Verdicts are written one by one: if a judge dies, the mutant that killed it is the
//! one after the last verdict.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use brooklet_mutants::{Kind, Oracle, Report};

/// Number of mutants between two progress messages.
const SIGN_OF_LIFE: usize = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An argument that is not a number, or an error of files.
type Problem = Box<dyn std::error::Error>;

fn command(arguments: &[&str]) -> Result<ExitCode, Problem> {
    match arguments {
        #[cfg(feature = "seeds")]
        ["run", first, count, verdicts] => {
            let seeds = brooklet_mutants::seeds();
            let mut judge = Judge::new(first.parse()?, verdicts)?;
            for number in numbers(first, count)? {
                let mutant = brooklet_mutants::mutant(&seeds, number);
                judge.judge(&mutant.kinds, &mutant.file)?;
            }
            Ok(judge.close())
        }
        #[cfg(feature = "seeds")]
        ["make", first, count] => {
            let seeds = brooklet_mutants::seeds();
            let mut output = io::stdout().lock();
            for number in numbers(first, count)? {
                let mutant = brooklet_mutants::mutant(&seeds, number);
                let kinds: Vec<u8> = mutant.kinds.iter().map(|&kind| kind as u8).collect();
                for part in [&kinds, &mutant.file] {
                    output.write_all(&u32::try_from(part.len())?.to_le_bytes())?;
                    output.write_all(part)?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "seeds")]
        ["dump", number, file] => {
            let mutant = brooklet_mutants::mutant(&brooklet_mutants::seeds(), number.parse()?);
            println!("{:?}: {:?}", mutant.kinds, Oracle::new().judge(&mutant.file));
            std::fs::write(file, mutant.file)?;
            Ok(ExitCode::SUCCESS)
        }
        ["file", files @ ..] => {
            for file in files {
                println!("{file}: {:?}", Oracle::new().judge(&std::fs::read(file)?));
            }
            Ok(ExitCode::SUCCESS)
        }
        ["judge", first, verdicts] => {
            let mut judge = Judge::new(first.parse()?, verdicts)?;
            let mut input = io::stdin().lock();
            while let Some(kinds) = part(&mut input)? {
                let file = part(&mut input)?.ok_or("half a mutant")?;
                let kind = |&number: &u8| Kind::ALL.get(usize::from(number)).copied();
                let kinds: Vec<Kind> = kinds.iter().filter_map(kind).collect();
                judge.judge(&kinds, &file)?;
            }
            Ok(judge.close())
        }
        _ => Err("unknown arguments: its documentation lists them".into()),
    }
}

/// Mutants `first` to `first + count`.
#[cfg(feature = "seeds")]
fn numbers(first: &str, count: &str) -> Result<std::ops::Range<u64>, Problem> {
    let first: u64 = first.parse()?;
    Ok(first..first + count.parse::<u64>()?)
}

/// Reads bytes after their number; `None` at the end.
fn part(input: &mut impl Read) -> Result<Option<Vec<u8>>, Problem> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// An oracle, its verdicts so far, and the file with the verdicts.
struct Judge {
    oracle: Oracle,
    report: Report,
    verdicts: File,
    next: u64,
    start: Instant,
}

impl Judge {
    fn new(first: u64, verdicts: &str) -> io::Result<Self> {
        // A panic is a verdict here, and its mutant is named at the end.
        std::panic::set_hook(Box::new(|_| ()));
        Ok(Self {
            oracle: Oracle::new(),
            report: Report::default(),
            verdicts: File::create(verdicts)?,
            next: first,
            start: Instant::now(),
        })
    }

    fn judge(&mut self, kinds: &[Kind], file: &[u8]) -> io::Result<()> {
        let verdict = self.oracle.judge(file);
        let line = match &verdict {
            Ok(verdict) => format!("{} {verdict}\n", self.next),
            Err(what) => format!("{} FOUND {what}\n", self.next),
        };
        self.verdicts.write_all(line.as_bytes())?;
        self.report.add(self.next, kinds, file, &verdict);
        if let Some((number, what)) = self.report.found.last()
            && *number == self.next
        {
            println!("mutant {number}: {what}");
        }
        self.next += 1;
        if self.report.tried.is_multiple_of(SIGN_OF_LIFE) {
            println!("{} mutants, {:?}", self.report.tried, self.start.elapsed());
        }
        Ok(())
    }

    fn close(self) -> ExitCode {
        println!("{}-bit, {:?}\n{}", usize::BITS, self.start.elapsed(), self.report);
        if self.report.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
