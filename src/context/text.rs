//! Foreign text, made safe to store and to show.

use unicode_normalization::UnicodeNormalization;

/// `text` in normal form C without control, bidirectional and zero-width characters, at most `max` characters long
/// (an ellipsis marks a cut). Line ends and tabs become spaces.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    bounded(text.trim(), max, |c| {
        if c.is_whitespace() { Some(' ') } else { visible(c) }
    })
}

/// As [`clean`], but line ends stay.
#[must_use]
pub fn clean_lines(text: &str, max: usize) -> String {
    bounded(text, max, |c| match c {
        '\n' => Some('\n'),
        c if c.is_whitespace() => Some(' '),
        c => visible(c),
    })
}

fn bounded(text: &str, max: usize, keep: impl Fn(char) -> Option<char>) -> String {
    // Cut before normalizing: a bounded amount of work whatever the length.
    let mut kept = text.chars().filter_map(keep);
    let mut out: String = kept.by_ref().take(max).nfc().collect();
    if kept.next().is_some() {
        let end = out.char_indices().nth(max.saturating_sub(1));
        out.truncate(end.map_or(out.len(), |(at, _)| at));
        out.push('…');
        // The ellipsis composes with nothing, but the cut may have ended on a starter: normal form holds either way.
    }
    out
}

fn visible(c: char) -> Option<char> {
    let hidden = c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    (!hidden).then_some(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::is_nfc;

    use super::*;

    #[test]
    fn hidden_characters_go_and_length_is_bounded() {
        assert_eq!(clean(" a\u{202E}b\u{0}\r\nc\t", 10), "ab  c");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("abcd", 4), "abcd");
        assert_eq!(clean_lines("a\nb\u{200B}\r\n", 10), "a\nb \n");
        assert_eq!(clean("e\u{301}", 5), "é");
    }

    proptest! {
        #[test]
        fn the_result_is_canonical_text(text in any::<String>(), max in 1_usize..40) {
            for out in [clean(&text, max), clean_lines(&text, max)] {
                prop_assert!(is_nfc(&out));
                prop_assert!(out.chars().count() <= max.max(1) * 4);
                prop_assert!(!out.chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}
