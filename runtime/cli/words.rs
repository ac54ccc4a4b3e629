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

/// Rows whose columns are as wide as their widest cell. The last column is not filled up.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(self::width(cell)) + 2));
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
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
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(aligned(&rows), ["a     b", "long  c"]);
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
