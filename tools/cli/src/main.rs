//! The command `brooklet`.

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;

use anstream::ColorChoice;
use brooklet_cli::arguments::check_files;
use brooklet_cli::commands::progress::{self, Level, Stage};
use brooklet_cli::commands::{self, Output};
use brooklet_cli::failure::Failure;
use brooklet_cli::project;
use brooklet_cli::terminal::Handler;
use brooklet_files::remove_on_signals;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use miette::MietteHandlerOpts;

/// Quantizes trained ResNets, runs them on the host as a microcontroller would, and puts them on
/// boards.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    /// Prints the report as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Does not show progress. The report, warnings and errors are still printed.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Also prints decisions, and the time of each stage.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Colours of errors.
    #[arg(long, global = true, value_name = "WHEN", default_value_t)]
    color: Colors,
    #[command(subcommand)]
    command: Command,
}

/// When errors have colours.
#[derive(Debug, Clone, Copy, Default, ValueEnum, strum::Display)]
#[strum(serialize_all = "lowercase")]
enum Colors {
    /// On a terminal, unless the environment forbids it (`NO_COLOR`).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

const EXAMPLES: &str = "\
Examples:
  brooklet quantize resnet20.onnx --calibrate images/ -o resnet20.brook \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  brooklet quantize resnet20.safetensors --arch resnet20 --ranges ranges.json -o resnet20.brook
  brooklet quantize mobile.tflite -o mobile.brook
  brooklet inspect resnet20.brook
  brooklet check resnet20.brook
  brooklet run resnet20.brook cat.png
  brooklet eval resnet20.brook test_batch.bin --json
  brooklet doctor resnet20.onnx test_batch.bin
  brooklet compare resnet20.onnx resnet20.brook test_batch.bin
  brooklet report resnet20.onnx resnet20.brook test_batch.bin -o report.html
  brooklet export resnet20.brook -o resnet20.onnx
  brooklet fit resnet20.brook
  brooklet fit resnet20.onnx --calibrate images/ --board rpi-pico -o resnet20.brook
  brooklet flash resnet20.brook --board qemu-mps2-an386 --run cat.png --check
  brooklet bench resnet20.brook --board qemu-riscv-virt
  brooklet init my-camera --board rpi-pico --model resnet20.brook
  brooklet new resnet50 -o resnet50.safetensors
  brooklet boards";

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a model file from a trained network.
    ///
    /// Folds batch norms, fuses activations, quantizes weights and activations to int8, and plans
    /// memory. An int8 .tflite file, or an .onnx file in QDQ form, keeps its scales, zero points
    /// and weights.
    #[command(after_help = "\
Examples:
  brooklet quantize net.onnx --calibrate images/ -o net.brook --resize 256 --crop 224x224 \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  brooklet quantize resnet20.th --arch resnet20 --calibrate data_batch_1.bin \\
      --save-ranges ranges.json -o resnet20.brook
  brooklet quantize net_int8.tflite -o net.brook")]
    Quantize(Box<commands::quantize::Args>),
    /// Makes an untrained network, for measuring size and speed.
    #[command(after_help = "Example:\n  brooklet new resnet50 -o resnet50.safetensors")]
    New(commands::new::Args),
    /// Shows what is in a model file: layers, quantization, memory plan.
    #[command(after_help = "Example:\n  brooklet inspect net.brook --json")]
    Inspect(commands::inspect::Args),
    /// Checks a model file, and runs the test images that it carries.
    #[command(after_help = "Example:\n  brooklet check net.brook")]
    Check(commands::check::Args),
    /// Classifies images in the host simulator.
    #[command(
        after_help = "Example:\n  brooklet run net.brook cat.png dog.jpg --logits logits.npy"
    )]
    Run(commands::run::Args),
    /// Counts how many images are classified correctly.
    #[command(
        after_help = "Example:\n  brooklet eval net.brook test_batch.bin --limit 1000 --float logits.npy"
    )]
    Eval(commands::eval::Args),
    /// Finds the preprocessing that a network was trained with, from labelled images.
    #[command(
        after_help = "Example:\n  brooklet doctor net.onnx images/ --resize 256 --crop 224x224"
    )]
    Doctor(commands::doctor::Args),
    /// Shows what quantization costs, layer by layer, and what would help.
    #[command(
        after_help = "Example:\n  brooklet compare net.onnx net.brook test_batch.bin --limit 1000"
    )]
    Compare(commands::compare::Args),
    /// Writes a page that shows what quantization costs, and in which the model runs.
    #[command(
        after_help = "Example:\n  brooklet report net.onnx net.brook test_batch.bin --board rpi-pico -o report.html"
    )]
    Report(Box<commands::report::Args>),
    /// Makes one model of several, which averages their probabilities.
    #[command(after_help = "Example:\n  brooklet ensemble a.brook b.brook c.brook -o abc.brook")]
    Ensemble(commands::ensemble::Args),
    /// Writes a model as a quantized ONNX network, for viewers and other engines.
    #[command(
        after_help = "Example:\n  brooklet export net.brook -o net.onnx --compare test_batch.bin"
    )]
    Export(commands::export::Args),
    /// Plans a model's memory for a board, and shows where each row is and when.
    #[command(
        after_help = "Example:\n  brooklet plan net.brook --board qemu-mps2-an386 --optimize speed --svg map.svg -o fast.brook"
    )]
    Plan(commands::plan::Args),
    /// Shows on which boards a model fits, and what other boards lack. With --calibrate, finds the best
    /// models of a network.
    #[command(after_help = "\
Examples:
  brooklet fit net.brook
  brooklet fit net.onnx --calibrate images/ --test test_batch.bin --board rpi-pico -o net.brook
  brooklet fit net.onnx --calibrate images/ --chip cortex-m4 --ram 96K --flash 512K --mhz 64 --max-ms 200")]
    Fit(Box<commands::fit::Args>),
    /// Writes firmware and a model to a board, and sends images to it.
    #[command(
        after_help = "Example:\n  brooklet flash net.brook --board qemu-mps2-an386 --run cat.png --check"
    )]
    Flash(commands::flash::Args),
    /// Makes a firmware project that runs a model.
    #[command(
        after_help = "Example:\n  brooklet init my-camera --board rpi-pico --model net.brook"
    )]
    Init(commands::init::Args),
    /// Shows the lines that firmware writes to its serial port.
    #[command(after_help = "Example:\n  brooklet monitor --board rpi-pico --port /dev/ttyUSB0")]
    Monitor(commands::monitor::Args),
    /// Makes keys that sign models.
    #[command(after_help = "Example:\n  brooklet key new models.key")]
    Key(commands::sign::KeyArgs),
    /// Signs a model, for boards that accept models over their link.
    #[command(
        after_help = "Example:\n  brooklet sign net.brook --key models.key --counter 7 -o net.signed"
    )]
    Sign(commands::sign::SignArgs),
    /// Sends a signed model to a board, into the slot that is not in use, and starts it.
    #[command(
        after_help = "Example:\n  brooklet push net.signed --board qemu-mps2-an386 --key models.key.pub"
    )]
    Push(commands::push::Args),
    /// Counts instructions or cycles, memory and code size on a board.
    #[command(after_help = "Example:\n  brooklet bench net.brook --board qemu-mps2-an386 --json")]
    Bench(commands::bench::Args),
    /// Prints completions for a shell.
    #[command(
        after_help = "Example:\n  brooklet completions bash > /etc/bash_completion.d/brooklet"
    )]
    Completions(commands::shell::Completions),
    /// Prints the manual page of the command, or of a subcommand.
    #[command(after_help = "Example:\n  brooklet man quantize | man -l -")]
    Man(commands::shell::Man),
    /// Prints the JSON Schema of a report, or lists all schemas.
    #[command(after_help = "Examples:\n  brooklet schema\n  brooklet schema bench")]
    Schema(commands::schema::Args),
    /// Lists the boards.
    #[command(after_help = "Example:\n  brooklet boards --json")]
    Boards,
}

fn main() -> ExitCode {
    // Temporary files are removed even if a signal stops the command.
    if let Err(error) = remove_on_signals() {
        let _ = writeln!(anstream::stderr(), "signals are not handled: {error}");
    }
    let command = Cli::command();
    let (words, added) = match project::words(&command, std::env::args_os().collect()) {
        Ok(words) => words,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "Error: {:?}", Failure::from(error));
            return ExitCode::FAILURE;
        }
    };
    let matches = command.clone().try_get_matches_from(words).unwrap_or_else(|error| {
        let _ = error.print();
        if error.use_stderr() && !added.is_empty() {
            // The error may be in an option that was not typed.
            let _ = writeln!(anstream::stderr(), "\n{} adds: {}", project::FILE, added.join(" "));
        }
        std::process::exit(error.exit_code())
    });
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let output = Output { json: cli.json };
    progress::set_level(match (cli.quiet, cli.verbose) {
        (true, _) => Level::Quiet,
        (_, true) => Level::Verbose,
        _ => Level::Usual,
    });
    if !added.is_empty() {
        progress::detail(|| format!("{} adds: {}", project::FILE, added.join(" ")));
    }
    show_errors(cli.color);
    let run = || match &cli.command {
        Command::Quantize(args) => commands::quantize::run(args, output),
        Command::New(args) => commands::new::run(args, output),
        Command::Inspect(args) => commands::inspect::run(args, output),
        Command::Check(args) => commands::check::run(args, output),
        Command::Run(args) => commands::run::run(args, output),
        Command::Eval(args) => commands::eval::run(args, output),
        Command::Doctor(args) => commands::doctor::run(args, output),
        Command::Compare(args) => commands::compare::run(args, output),
        Command::Report(args) => commands::report::run(args, output),
        Command::Ensemble(args) => commands::ensemble::run(args, output),
        Command::Export(args) => commands::export::run(args, output),
        Command::Plan(args) => commands::plan::run(args, output),
        Command::Fit(args) => commands::fit::run(args, output),
        Command::Flash(args) => commands::flash::run(args, output),
        Command::Init(args) => commands::init::run(args, output),
        Command::Key(args) => commands::sign::key(args, output),
        Command::Sign(args) => commands::sign::run(args, output),
        Command::Push(args) => commands::push::run(args, output),
        Command::Monitor(args) => commands::monitor::run(args),
        Command::Bench(args) => commands::bench::run(args, output),
        Command::Completions(args) => commands::shell::completions(args, command.clone()),
        Command::Man(args) => commands::shell::man(args, command.clone()),
        Command::Schema(args) => commands::schema::run(args),
        Command::Boards => commands::boards::run(output),
    };
    let all = Stage::new("in all");
    // No command starts if one of its outputs would replace one of its files.
    let done = check_files(&command, &matches).map_err(Failure::from).and_then(|()| run());
    drop(all);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If the error stream cannot be written, the exit code still tells.
            let _ = writeln!(anstream::stderr(), "Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Sets how errors are shown.
fn show_errors(colors: Colors) {
    // File names are not broken. An error that a program reads stays on one line.
    let wrap = stderr().is_terminal();
    let options = MietteHandlerOpts::new().break_words(false).wrap_lines(wrap);
    let (options, choice) = match colors {
        Colors::Auto => (options, ColorChoice::Auto),
        Colors::Always => (options.color(true), ColorChoice::Always),
        Colors::Never => (options.color(false), ColorChoice::Never),
    };
    choice.write_global();
    // Setting a hook fails only if there is one already, and there is none.
    let _ = miette::set_hook(Box::new(move |_| Box::new(Handler::new(options.clone()))));
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::*;

    /// Every file argument must have a type of `brooklet-files`, because only these are checked.
    #[test]
    fn no_argument_is_a_bare_path() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let kind = argument.get_value_parser().type_id();
                let bare = [TypeId::of::<PathBuf>(), TypeId::of::<OsString>()];
                let told = format!("{} {}", command.get_name(), argument.get_id());
                assert!(!bare.iter().any(|bare| kind == *bare), "{told}: name its type of file");
            }
        }
    }
}
