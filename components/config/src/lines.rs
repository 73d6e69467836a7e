//! On which line of a YAML text a key stands.
//!
//! serde_yaml's values carry no positions, so this scans the text for keys in block style by their indentation. It does
//! not judge the text, that is the parser's work. Keys it cannot see (flow style, merged from an anchor) get the line of
//! the nearest key above them.

use std::collections::BTreeMap;

use crate::{Finding, Findings};

/// Keys from the root to one place; list items are `[0]`.
pub(crate) type Path = Vec<String>;

/// The lines of the keys of one text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    /// Every line on which a path stands: more than one if the key is set twice.
    by_path: BTreeMap<Path, Vec<usize>>,
}

impl Lines {
    /// Scans a text.
    pub(crate) fn of(text: &str) -> Self {
        let mut scanner = Scanner::default();
        for (i, line) in text.lines().enumerate() {
            scanner.line(i + 1, line);
        }
        Self { by_path: scanner.by_path }
    }

    /// The last line on which a path stands, or else its nearest parent.
    pub(crate) fn find(&self, path: &[String]) -> Option<usize> {
        (1..=path.len()).rev().find_map(|len| self.by_path.get(path.get(..len)?)?.last().copied())
    }

    /// The first line on which exactly this path stands.
    pub(crate) fn find_first(&self, path: &[String]) -> Option<usize> {
        self.by_path.get(path)?.first().copied()
    }

    /// Adds the lines to findings that have none, such as those of [`crate::Config::validate`].
    pub fn locate(&self, findings: Findings) -> Vec<Finding> {
        let mut findings: Vec<_> = findings.into_iter().collect();
        for finding in &mut findings {
            finding.line = finding.line.or_else(|| self.find(&path_of(&finding.path)));
        }
        findings
    }
}

/// The path that a finding has printed.
pub(crate) fn path_of(dotted: &str) -> Path {
    dotted.split('.').flat_map(split_items).collect()
}

/// `columns[2]` is the key `columns` and its item `[2]`.
fn split_items(key: &str) -> Vec<String> {
    match key.find('[').and_then(|at| key.split_at_checked(at)) {
        Some((name, item)) if !name.is_empty() => vec![name.to_owned(), item.to_owned()],
        Some(_) | None => vec![key.to_owned()],
    }
}

/// A key or list item that the scanner is inside of.
#[derive(Debug)]
struct Open {
    indent: usize,
    name: String,
    is_item: bool,
    /// List items seen directly below.
    items: usize,
}

/// What goes over the end of a line.
#[derive(Debug, Default, PartialEq)]
enum Pending {
    #[default]
    Nothing,
    /// `key: |`: everything that is indented further than the key.
    BlockScalar { indent: usize },
    /// A quoted text without its end.
    Quoted { quote: char },
    /// `{` or `[` without their ends.
    Flow { open: usize },
}

#[derive(Debug, Default)]
struct Scanner {
    open: Vec<Open>,
    /// Items of a list at the top of the document.
    root_items: usize,
    pending: Pending,
    by_path: BTreeMap<Path, Vec<usize>>,
}

impl Scanner {
    fn line(&mut self, number: usize, line: &str) {
        let mut content = line.trim_start_matches(' ');
        let mut indent = line.len() - content.len();
        if self.is_continuation(indent, content) {
            return;
        }
        if content.is_empty() || content.starts_with(['#', '%']) || content == "---" || content == "..." {
            return;
        }
        while let Some(rest) =
            content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' '))
        {
            self.enter_item(number, indent);
            content = rest.trim_start_matches(' ');
            indent += 1 + rest.len() - content.len();
        }
        if let Some((key, value)) = split_key(content) {
            while self.open.last().is_some_and(|open| open.indent >= indent) {
                self.open.pop();
            }
            self.open.push(Open { indent, name: key, is_item: false, items: 0 });
            self.record(number);
            self.pending = pending_after(value, indent);
        } else {
            self.pending = pending_after(content, indent);
        }
    }

    fn is_continuation(&mut self, indent: usize, content: &str) -> bool {
        match &mut self.pending {
            Pending::Nothing => false,
            Pending::BlockScalar { indent: key } => {
                let is_inside = content.is_empty() || indent > *key;
                if !is_inside {
                    self.pending = Pending::Nothing;
                }
                is_inside
            }
            Pending::Quoted { quote } => {
                if content.contains(*quote) {
                    self.pending = Pending::Nothing;
                }
                true
            }
            Pending::Flow { open } => {
                *open = brackets(content, *open);
                if *open == 0 {
                    self.pending = Pending::Nothing;
                }
                true
            }
        }
    }

    fn enter_item(&mut self, number: usize, indent: usize) {
        // A list may stand at the same indentation as its key, but then not as an item before it.
        while self
            .open
            .last()
            .is_some_and(|open| open.indent > indent || open.indent == indent && open.is_item)
        {
            self.open.pop();
        }
        let items = self.open.last_mut().map_or(&mut self.root_items, |open| &mut open.items);
        let name = format!("[{items}]");
        *items += 1;
        self.open.push(Open { indent, name, is_item: true, items: 0 });
        self.record(number);
    }

    fn record(&mut self, number: usize) {
        let path = self.open.iter().map(|open| open.name.clone()).collect();
        self.by_path.entry(path).or_default().push(number);
    }
}

/// The key at the start of a line, and what follows its colon.
fn split_key(content: &str) -> Option<(String, &str)> {
    for quote in ['"', '\''] {
        if let Some(rest) = content.strip_prefix(quote) {
            let (key, rest) = rest.split_once(quote)?;
            let value = rest.trim_start().strip_prefix(':')?;
            return Some((key.to_owned(), value.trim()));
        }
    }
    if content.starts_with(['{', '[', '&', '*', '!', '|', '>']) {
        return None;
    }
    let (key, value) = match content.split_once(": ") {
        Some((key, value)) => (key, value),
        None => (content.trim_end().strip_suffix(':')?, ""),
    };
    let is_comment = key.contains(" #");
    (!is_comment).then(|| (key.trim_end().to_owned(), value.trim()))
}

/// What the value at the end of a line leaves open.
fn pending_after(value: &str, indent: usize) -> Pending {
    // Anchors and tags stand before the value.
    let mut value = value;
    while value.starts_with(['&', '!']) {
        value = value.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    }
    match value.chars().next() {
        Some('|' | '>') => Pending::BlockScalar { indent },
        Some(quote @ ('"' | '\'')) => {
            let rest = value.strip_prefix(quote).unwrap_or_default();
            if rest.contains(quote) { Pending::Nothing } else { Pending::Quoted { quote } }
        }
        Some('{' | '[') => match brackets(value, 0) {
            0 => Pending::Nothing,
            open => Pending::Flow { open },
        },
        Some(_) | None => Pending::Nothing,
    }
}

/// The most brackets that are open at any place of a text, quoted ones included.
pub(crate) fn flow_depth(text: &str) -> usize {
    let (mut open, mut most) = (0, 0);
    for part in text.split_inclusive(['{', '[']) {
        open = brackets(part, open);
        most = most.max(open);
    }
    most
}

/// Brackets that are open after a text. Quoted brackets are counted as well, which no key of ours has.
fn brackets(text: &str, open: usize) -> usize {
    text.chars().fold(open, |open, c| match c {
        '{' | '[' => open + 1,
        '}' | ']' => open.saturating_sub(1),
        _ => open,
    })
}

#[cfg(test)]
mod tests;
