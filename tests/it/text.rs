//! Texts within their limits, times and durations as people read them.

use std::time::Duration;

use awf_aws::{
    pipelines::Time,
    text::{cut, ellipsize, fit, hex, json_len, one_line, parse_rfc3339, rfc3339, spoken},
};

#[test]
fn a_text_is_cut_at_a_character_boundary() {
    assert_eq!(cut("aüb", 2), "a");
    assert_eq!(cut("aüb", 3), "aü");
    assert_eq!(cut("ab", 9), "ab");
}

#[test]
fn what_is_missing_at_the_end_shows_as_an_ellipsis_within_the_limit() {
    assert_eq!(ellipsize("abcdef", 6), "abcdef");
    assert_eq!(ellipsize("abcdefg", 6), "abc…");
    // Two bytes each: the third does not fit beside the ellipsis.
    assert_eq!(ellipsize("üüüü", 7), "üü…");
    assert_eq!(ellipsize("abcdefg", 1), "…");
}

#[test]
fn a_line_has_no_control_characters_and_keeps_its_blanks() {
    assert_eq!(one_line("a\r\nb\t  c\u{7}"), "a  b   c ");
    assert_eq!(fit("a\nbcdefg", 6), "a b…");
    assert_eq!(ellipsize("a\nb", 6), "a\nb");
}

#[test]
fn a_time_is_told_in_utc_to_the_second_and_read_with_any_offset() {
    let time = Time::at(1_764_078_930_999);
    assert_eq!(rfc3339(time).as_deref(), Some("2025-11-25T13:55:30Z"));
    assert_eq!(parse_rfc3339("2025-11-25T14:55:30.9999+01:00"), Some(time));
    // Before 1970 as after it: down to the second, down to the millisecond.
    assert_eq!(rfc3339(Time::at(-1)).as_deref(), Some("1969-12-31T23:59:59Z"));
    assert_eq!(parse_rfc3339("1969-12-31T23:59:59.9995Z"), Some(Time::at(-1)));
    assert_eq!((rfc3339(Time::at(i64::MAX)), parse_rfc3339("yesterday")), (None, None));
}

#[test]
fn a_spoken_duration_has_whole_seconds() {
    assert_eq!(spoken(Duration::from_millis(90_999)), "90s");
    assert_eq!(spoken(Duration::from_millis(999)), "0s");
}

#[test]
fn bytes_are_two_lower_case_digits_each() {
    assert_eq!(hex(&[0, 0xa, 0xff]), "000aff");
}

proptest::proptest! {
    #[test]
    fn the_length_of_a_text_as_json_is_that_of_what_is_written(text in "[\\x00-\\x7f]{0,40}|.{0,20}") {
        proptest::prop_assert_eq!(json_len(&text), serde_json::to_string(&text).unwrap().len());
    }
}
