//! Showing texts that strangers wrote, and tables of them.

/// A text with everything that could act on a terminal or reorder what is read made visible: control characters and the
/// marks that change the direction of writing. Tool names and reasons come from agents and servers.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let acts = character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if acts {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// At most so many characters, the last one an ellipsis when something was left out.
pub(crate) fn shorten(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => {
            let mut short: String = text.chars().take(characters.saturating_sub(1)).collect();
            short.push('…');
            short
        }
    }
}

/// Rows below one another. Columns are as wide as their widest cell so far, so that a table can grow while it is shown.
#[derive(Debug, Default)]
pub(crate) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The next rows, as lines. The last column is not filled up.
    pub(crate) fn lines(&mut self, rows: &[Vec<String>]) -> Vec<String> {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (cell, widest) in row.iter().zip(&self.widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', widest.saturating_sub(width(cell)) + 2));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Characters that a cell takes on a terminal; colour sequences take none.
fn width(cell: &str) -> usize {
    let mut count = 0;
    let mut inside = false;
    for character in cell.chars() {
        match character {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            _ if inside => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\u{a}\\u{202e}c");
        assert_eq!(plain("grün"), "grün");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |first: &str, second: &str| vec![first.to_owned(), second.to_owned()];
        let mut table = Table::default();
        assert_eq!(table.lines(&[row("a", "b"), row("long", "c")]), ["a     b", "long  c"]);
        assert_eq!(table.lines(&[row("\u{1b}[31mx\u{1b}[0m", "y")]), ["\u{1b}[31mx\u{1b}[0m     y"]);
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
