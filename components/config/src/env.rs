//! `${VARIABLE}` in the text of a configuration, as `-config.expand-env` asks for; done before YAML is parsed.
//!
//! `${V}` is the variable's value, or nothing if it is not set. `${V:-x}`, `${V:=x}` and `${V:x}` give `x` if it is not
//! set or empty, `${V-x}` and `${V=x}` if it is not set, `${V:?text}` and `${V?text}` are an error then. Defaults may
//! hold references themselves. `$${` is a literal `${`. Comment lines are left alone.

use std::collections::BTreeMap;

use crate::Finding;

/// References inside of defaults are followed to this depth.
const MAX_DEPTH: usize = 16;

/// A text whose references are replaced.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// References that cannot be read, and required variables that are not set.
    pub(crate) errors: Vec<Finding>,
    /// Variables that are not set and have no default.
    pub(crate) warnings: Vec<Finding>,
}

/// Replaces all references to variables of `env`.
pub(crate) fn expand(text: &str, env: &BTreeMap<String, String>) -> Expanded {
    let mut expander = Expander { env, out: Expanded::default(), line: 0 };
    let mut rest = text;
    while !rest.is_empty() {
        // A reference may span lines, so lines are counted by what was consumed.
        expander.line = 1 + newlines(text.strip_suffix(rest).unwrap_or(text));
        let line_end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        if rest.trim_start_matches([' ', '\t']).starts_with('#') {
            let (comment, tail) = rest.split_at_checked(line_end).unwrap_or((rest, ""));
            expander.out.text.push_str(comment);
            rest = tail;
            continue;
        }
        let (line, consumed) = expander.expand_line(rest, line_end);
        expander.out.text.push_str(&line);
        rest = rest.split_at_checked(consumed).map_or("", |(_, tail)| tail);
    }
    expander.out
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

struct Expander<'a> {
    env: &'a BTreeMap<String, String>,
    out: Expanded,
    line: usize,
}

impl Expander<'_> {
    /// Expands up to `line_end`, or further if a reference goes on; says how much of `text` it took.
    fn expand_line(&mut self, text: &str, line_end: usize) -> (String, usize) {
        let mut out = String::new();
        let mut at = 0;
        while at < line_end {
            let Some(rest) = text.get(at..) else { break };
            let start = rest.find("${").map_or(text.len(), |start| start + at);
            if start >= line_end {
                out.push_str(text.get(at..line_end).unwrap_or_default());
                return (out, line_end);
            }
            let before = text.get(at..start).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                at = start + 2;
                continue;
            }
            out.push_str(before);
            let body = text.get(start + 2..).unwrap_or_default();
            let Some(end) = closing_brace(body) else {
                self.error("`${` without a closing `}`; write `$${` for a literal one".to_owned());
                out.push_str("${");
                at = start + 2;
                continue;
            };
            let value = self.value_of(body.get(..end).unwrap_or_default(), 0);
            out.push_str(&value);
            at = start + 2 + end + 1;
        }
        (out, at)
    }

    /// The value of what is between `${` and `}`.
    fn value_of(&mut self, reference: &str, depth: usize) -> String {
        let name_end =
            reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(reference.len());
        let (name, rest) = reference.split_at_checked(name_end).unwrap_or((reference, ""));
        let (operator, operand, empty_counts_as_unset) = match rest.strip_prefix(':') {
            Some(rest) => match rest.chars().next() {
                Some(operator @ ('-' | '=' | '?')) => (operator, rest.get(1..).unwrap_or_default(), true),
                Some(_) | None => ('-', rest, true),
            },
            None => match rest.chars().next() {
                None => (' ', "", false),
                Some(operator @ ('-' | '=' | '?')) => (operator, rest.get(1..).unwrap_or_default(), false),
                Some(_) => ('!', rest, false),
            },
        };
        if name.is_empty() || operator == '!' || depth > MAX_DEPTH {
            self.error(format!(
                "`${{{reference}}}` is no reference to a variable; write ${{NAME}}, ${{NAME:-default}}, \
                 or `$${{` for a literal `${{`"
            ));
            return String::new();
        }
        let value = self.env.get(name).filter(|value| !(empty_counts_as_unset && value.is_empty()));
        match (value, operator) {
            (Some(value), _) => value.clone(),
            (None, '?') => {
                let reason = if operand.is_empty() { "it is required" } else { operand };
                self.error(format!("variable {name} is not set: {reason}"));
                String::new()
            }
            (None, ' ') => {
                let message = format!("variable {name} is not set and has no default: replaced by nothing");
                self.out.warnings.push(Finding { path: String::new(), line: Some(self.line), message });
                String::new()
            }
            (None, _) => self.expand_default(operand, depth),
        }
    }

    fn expand_default(&mut self, text: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, body)) = rest.split_once("${") {
            out.push_str(before);
            let Some(end) = closing_brace(body) else { break };
            out.push_str(&self.value_of(body.get(..end).unwrap_or_default(), depth + 1));
            rest = body.get(end + 1..).unwrap_or_default();
        }
        out.push_str(rest);
        out
    }

    fn error(&mut self, message: String) {
        self.out.errors.push(Finding { path: String::new(), line: Some(self.line), message });
    }
}

/// Where the `}` is that closes a reference, nested ones skipped.
fn closing_brace(body: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in body.char_indices() {
        match c {
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            '{' if body.get(..at).is_some_and(|before| before.ends_with('$')) => open += 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
