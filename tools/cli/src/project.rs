//! `brooklet.toml` in the current folder holds the options of a project.
//!
//! ```toml
//! board = "rpi-pico"                # for every command that has such an option
//! mean = [0.485, 0.456, 0.406]
//!
//! [quantize]                        # for one command
//! effort = "best"
//! ```
//!
//! Options on the command line replace those in the file. They also replace options that they
//! exclude: `--chip` replaces a `board`.

use std::ffi::OsString;
use std::path::Path;

use brooklet_files::{self as files, FileProblem, Limit};
use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

/// The file's name.
pub const FILE: &str = "brooklet.toml";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It cannot be read.
    #[error("{FILE}: {0}")]
    File(FileProblem),
    /// It is not TOML.
    #[error("{FILE}: is not valid: {0}")]
    Toml(String),
    /// It has a key that is not an option or a command.
    #[error("{FILE}: {0}")]
    Unknown(String),
}

/// The words of the command line, followed by the words that the file in the current folder adds.
/// The second result has only the added words, for messages.
///
/// # Errors
///
/// [`ProjectError`] if there is such a file, and any part of it is wrong.
pub fn words(
    command: &Command,
    typed: Vec<OsString>,
) -> Result<(Vec<OsString>, Vec<String>), ProjectError> {
    let Some(file) = read()? else { return Ok((typed, Vec::new())) };
    let command = &built(command);
    check(command, &file)?;
    let is_command = |word: &OsString| word.to_str().and_then(|word| command.find_subcommand(word));
    let Some(chosen) = typed.iter().skip(1).find_map(is_command) else {
        return Ok((typed, Vec::new()));
    };
    let added = added(chosen, &typed, &file)?;
    let words = typed.into_iter().chain(added.iter().map(OsString::from)).collect();
    Ok((words, added))
}

/// The words that the file in the current folder adds to those of a command.
///
/// # Errors
///
/// As [`words`], but only for the parts of the file that concern this command.
pub fn added_to(command: &Command, typed: &[OsString]) -> Result<Vec<String>, ProjectError> {
    read()?.map_or(Ok(Vec::new()), |file| added(&built(command), typed, &file))
}

/// A command that knows which of its options exclude each other.
fn built(command: &Command) -> Command {
    let mut built = command.clone();
    built.build();
    built
}

/// The file in the current folder, if there is one.
fn read() -> Result<Option<Table>, ProjectError> {
    let path = Path::new(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(path, Limit::Text).map_err(ProjectError::File)?;
    let text = String::from_utf8(bytes).map_err(|_| ProjectError::Toml("not UTF-8 text".into()))?;
    parse(&text).map(Some)
}

fn parse(text: &str) -> Result<Table, ProjectError> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        ProjectError::Toml(format!("line {line}: {}", error.message()))
    })
}

/// The words that a file adds to those of a command.
fn added(chosen: &Command, typed: &[OsString], file: &Table) -> Result<Vec<String>, ProjectError> {
    let own = file.get(chosen.get_name()).and_then(Value::as_table);
    let general = file
        .iter()
        .filter(|(key, value)| !value.is_table() && own.is_none_or(|own| !own.contains_key(*key)));
    let mut words = Vec::new();
    for (key, value) in own.into_iter().flatten().chain(general) {
        let Some(option) = option(chosen, key) else { continue };
        if is_typed(option, typed) || is_excluded(chosen, option, typed) {
            continue;
        }
        match (value, takes_value(option)) {
            (Value::Boolean(true), false) => words.push(format!("--{key}")),
            (Value::Boolean(false), false) => {}
            _ => words.extend([format!("--{key}"), written(key, value)?]),
        }
    }
    Ok(words)
}

/// Refuses options and tables that no command has.
fn check(command: &Command, file: &Table) -> Result<(), ProjectError> {
    let wrong = |what: String| Err(ProjectError::Unknown(what));
    for (key, value) in file {
        match value {
            Value::Table(options) => {
                let Some(named) = command.find_subcommand(key) else {
                    return wrong(format!("[{key}]: there is no such command"));
                };
                if let Some(stray) = options.keys().find(|key| option(named, key).is_none()) {
                    return wrong(format!("[{key}]: `brooklet {key}` has no option --{stray}"));
                }
            }
            _ if command.get_subcommands().all(|named| option(named, key).is_none()) => {
                return wrong(format!("`{key}`: no command has an option --{key}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The option of a command by its long name.
fn option<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(key))
}

fn takes_value(option: &Arg) -> bool {
    !matches!(option.get_action(), ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count)
}

/// Whether an option is among these words.
fn is_typed(option: &Arg, typed: &[OsString]) -> bool {
    let long = option.get_long().map(|long| format!("--{long}"));
    let short = option.get_short().map(|short| format!("-{short}"));
    typed.iter().filter_map(|word| word.to_str()).any(|word| {
        let is_long = long.as_ref().and_then(|long| word.strip_prefix(long.as_str()));
        is_long.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            || short.as_ref().is_some_and(|short| word.starts_with(short.as_str()))
    })
}

/// Whether an option on the command line excludes this one. It may exclude it by itself, or because
/// both are in a group of which only one option may be given.
fn is_excluded(command: &Command, option: &Arg, typed: &[OsString]) -> bool {
    let others = command.get_arg_conflicts_with(option);
    let by_itself = others.into_iter().any(|other| is_typed(other, typed));
    by_itself
        || command.get_groups().cloned().any(|mut group| {
            let members: Vec<_> = group.get_args().cloned().collect();
            let named = |id: &clap::Id| command.get_arguments().find(|arg| arg.get_id() == id);
            members.contains(option.get_id())
                && !group.is_multiple()
                && members.iter().filter_map(named).any(|other| is_typed(other, typed))
        })
}

/// A value as it is typed; the items of a list are separated by commas.
fn written(key: &str, value: &Value) -> Result<String, ProjectError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(_) => {
            Err(ProjectError::Unknown(format!("`{key}`: --{key} takes a value, not true or false")))
        }
        Value::Array(values) => {
            let words: Result<Vec<_>, _> = values.iter().map(|value| written(key, value)).collect();
            Ok(words?.join(","))
        }
        Value::Table(_) | Value::Datetime(_) => {
            Err(ProjectError::Unknown(format!("`{key}`: a word, a number or a list is expected")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let option = |name: &'static str| Arg::new(name).long(name).num_args(1);
        let quantize = Command::new("quantize")
            .arg(Arg::new("network"))
            .arg(option("output").short('o'))
            .arg(option("board").group("device"))
            .arg(option("chip").group("device"))
            .arg(option("seed").conflicts_with("mean"))
            .arg(option("mean"))
            .arg(Arg::new("in-place").long("in-place").action(ArgAction::SetTrue));
        let run = Command::new("run").arg(option("backend"));
        Command::new("brooklet").subcommand(quantize).subcommand(run)
    }

    #[test]
    fn what_is_typed_goes_before_the_file() {
        let text = "board = \"a\"\nseed = 7\nmean = [0.5, 1, 0.25]\nbackend = \"portable\"\n\
                    [quantize]\noutput = \"b.brook\"\nin-place = true\n";
        let told = |line: &str| {
            let typed: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let command = built(&command());
            let chosen = typed.get(1).and_then(|word| command.find_subcommand(word.to_str()?));
            let file = parse(text).unwrap();
            chosen.map_or(String::new(), |chosen| added(chosen, &typed, &file).unwrap().join(" "))
        };
        let all = "--output b.brook --in-place --board a --mean 0.5,1,0.25 --seed 7";
        let sorted = |line: &str| {
            let mut words: Vec<String> = line.split(" --").map(str::to_owned).collect();
            words[0] = words[0].trim_start_matches("--").to_owned();
            words.sort();
            words
        };
        assert_eq!(sorted(&told("brooklet quantize net.onnx")), sorted(all));
        assert_eq!(told("brooklet quantize -oc --chip m4 --mean=1 --in-place"), "");
        assert_eq!(told("brooklet run"), "--backend portable");
        assert_eq!(told("brooklet --help"), "");
    }

    #[test]
    fn what_no_command_has_is_refused() {
        for (text, says) in [
            ("bord = 1", "`bord`: no command has an option --bord"),
            ("[quantise]\nboard = \"a\"", "[quantise]: there is no such command"),
            ("[run]\nboard = \"a\"", "[run]: `brooklet run` has no option --board"),
            ("board = true", "`board`: --board takes a value"),
            ("\nboard = ", "is not valid: line 2"),
        ] {
            let typed = ["brooklet", "quantize"].map(OsString::from);
            let command = command();
            let chosen = command.find_subcommand("quantize").unwrap();
            let file = parse(text).and_then(|file| check(&command, &file).map(|()| file));
            let refused = file.and_then(|file| added(chosen, &typed, &file));
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
