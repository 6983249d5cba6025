//! The table of losses.

use waypost_core::translate::{TABLE, Verdict};

#[test]
fn each_field_has_its_row_once_for_each_verdict() {
    for direction in &TABLE {
        for (at, row) in direction.rows.iter().enumerate() {
            let same = |other: &&waypost_core::translate::Row| {
                other.field == row.field && (other.verdict == Verdict::Map) == (row.verdict == Verdict::Map)
            };
            assert_eq!(direction.rows[..at].iter().find(same), None, "{}", row.field);
            assert!(row.verdict == Verdict::Map || row.becomes.is_empty(), "{}", row.field);
        }
        let last = direction.rows.last().unwrap();
        assert_eq!(
            (last.field, last.verdict),
            ("*", Verdict::Refuse),
            "what nobody has thought of is refused"
        );
    }
}

/// A row of which no test speaks says what nobody has checked.
#[test]
fn each_row_that_loses_something_has_a_test() {
    let tests = [include_str!("chat_to_messages.rs"), include_str!("messages_to_chat.rs")];
    for (direction, tests) in TABLE.iter().zip(tests) {
        for row in direction.rows.iter().filter(|row| row.verdict != Verdict::Map) {
            let last = row.field.trim_end_matches("[]").rsplit('.').next().unwrap();
            assert!(
                last == "*" || tests.contains(last),
                "{} to {}: {}",
                direction.from,
                direction.to,
                row.field
            );
        }
    }
}
