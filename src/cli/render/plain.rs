//! Text that others wrote, made safe to print: nothing in a commit's subject, a taint or a build's
//! log may steer the terminal.

/// One line of at most `width` characters: control characters vanish, a cut is shown.
pub(in crate::cli) fn line(text: &str, width: usize) -> String {
    let mut characters = text.chars().filter(|character| !character.is_control());
    let mut line: String = characters.by_ref().take(width).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// One line, whole.
pub(in crate::cli) fn whole(text: &str) -> String {
    line(text, usize::MAX)
}

/// The text of a log: escape sequences (ECMA-48) and control characters vanish, but for tabs and
/// line feeds; a carriage return ends a line, since what comes after it would hide what was
/// before. What is not UTF-8 is replaced.
pub(in crate::cli) fn log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut characters = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_sequence(&mut characters),
            '\u{9b}' => skip_control_sequence(&mut characters),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => plain.push('\n'),
            '\t' | '\n' => plain.push(character),
            _ if character.is_control() => {}
            _ => plain.push(character),
        }
    }
    plain
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an escape character.
fn skip_sequence(characters: &mut Characters<'_>) {
    match characters.peek() {
        Some('[') => {
            characters.next();
            skip_control_sequence(characters);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(characters),
        Some(' '..='/') => {
            while characters
                .next_if(|next| (' '..='/').contains(next))
                .is_some()
            {}
            characters.next_if(|next| !next.is_control());
        }
        Some(next) if !next.is_control() => {
            characters.next();
        }
        _ => {}
    }
}

/// Skips parameters and the final character of a control sequence.
fn skip_control_sequence(characters: &mut Characters<'_>) {
    while characters
        .next_if(|next| (' '..='?').contains(next))
        .is_some()
    {}
    characters.next_if(|next| ('@'..='~').contains(next));
}

/// Skips a string that a bell or a string terminator ends; one that never ends stops with its
/// line, so that it hides no more than that.
fn skip_string(characters: &mut Characters<'_>) {
    while let Some(next) = characters.next_if(|next| *next != '\n') {
        match next {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                characters.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_lose_what_steers_a_terminal() {
        for (bytes, plain) in [
            (&b"\x1b[1;31mred\x1b[0m\tx\n"[..], "red\tx\n"),
            (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
            (b"a\x1b(Bb\x1bcd\x07\x00\x7f", "abd"),
            (b"10%\r20%\r\ndone", "10%\n20%\ndone"),
            (b"\x1b]never ends\nnext\n", "\nnext\n"),
            (b"\x1b[", ""),
            (b"\x1b", ""),
            (b"\xff\xc2\x9b2Jx", "\u{fffd}x"),
        ] {
            assert_eq!(log(bytes), plain, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lines_are_cut_where_all_see_it() {
        assert_eq!(line("a\u{1b}[2Jbc", 5), "a[2J…");
        assert_eq!(line("abc", 3), "abc");
        assert_eq!(line("abcd", 3), "ab…");
        assert_eq!(whole("a\nb"), "ab");
    }
}
