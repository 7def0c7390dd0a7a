//! Prepares text for a terminal.
//!
//! Names of layers, tensors, classes and files are not trusted. Control characters in them are
//! shown instead of obeyed, and very long names are cut.

use std::fmt::Display;

/// Maximum length of a line of a report.
const REPORT_LINE: usize = 4000;

/// Whether a character may control the terminal, or change the order in which text is shown.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text in one line of up to `most` characters.
pub fn line(text: &str, most: usize) -> String {
    clean(text, most, false)
}

/// A drawing or a page, with lines of any length.
pub fn page(text: &str) -> String {
    clean(text, usize::MAX, true)
}

/// The text of a report, cut line by line.
pub fn report(text: &str) -> String {
    clean(text, REPORT_LINE, true)
}

fn clean(text: &str, most: usize, lines: bool) -> String {
    let (mut cleaned, mut length) = (String::with_capacity(text.len().min(1 << 16)), 0);
    for c in text.chars() {
        if c == '\n' && lines {
            cleaned.push(c);
            length = 0;
            continue;
        }
        length += 1;
        if length > most {
            if length == most + 1 {
                cleaned.push('…');
            }
            continue;
        }
        match is_control(c) {
            true => cleaned.extend(c.escape_unicode()),
            false => cleaned.push(c),
        }
    }
    cleaned
}

/// 1234567 as 1,234,567.
pub fn thousands(number: impl Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// JSON with the same meaning, without characters that may control a terminal.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_control(c) && c != '\n' {
            // Outside of strings, JSON has no such characters; and none of them needs a surrogate
            // pair.
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_obey_is_shown() {
        let text = "a\u{1b}[31mb\r\u{7f}\u{9b}c\u{202e}d\né…";
        assert_eq!(line(text, 99), r"a\u{1b}[31mb\u{d}\u{7f}\u{9b}c\u{202e}d\u{a}é…");
        assert_eq!(report(text), "a\\u{1b}[31mb\\u{d}\\u{7f}\\u{9b}c\\u{202e}d\né…");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("abc", 3), "abc");
        let long = "x".repeat(REPORT_LINE + 9);
        assert_eq!(report(&format!("{long}\nb")), format!("{}…\nb", &long[9..]));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "name": "a\u{1b}b\u{9b}c\u{7f}\u{202e}" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json(&text);
        assert!(!escaped.chars().any(|c| is_control(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
