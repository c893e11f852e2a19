//! The words for times and ARNs.

use std::{collections::HashSet, time::Duration};

use awf_aws::pipelines::{Arn, Time};
use proptest::prelude::*;

/// Around the epoch, where a time is kept in another way before and after, and at both ends.
const SPECIAL: [i64; 7] = [i64::MIN, i64::MIN + 1, -2, -1, 0, 1, i64::MAX - 1];

#[test]
fn times_do_not_overflow() {
    assert_eq!(Time::at(i64::MAX).plus(Duration::from_secs(1)), Time::at(i64::MAX));
    assert_eq!(Time::at(i64::MIN).minus(Duration::from_secs(1)), Time::at(i64::MIN));
    assert_eq!(Time::at(1).since(Time::at(5)), Duration::ZERO);
}

#[test]
fn a_time_that_may_be_absent_is_no_larger_than_a_time() {
    assert_eq!(size_of::<Option<Time>>(), size_of::<i64>());
}

#[test]
fn a_time_is_written_as_its_milliseconds() {
    for millis in SPECIAL {
        let text = serde_json::to_string(&Time::at(millis)).unwrap();
        assert_eq!(text, millis.to_string());
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), Time::at(millis));
        assert_eq!(format!("{:?}", Time::at(millis)), format!("Time({millis})"));
    }
}

proptest! {
    #[test]
    fn times_are_in_the_order_of_their_milliseconds(
        a in prop_oneof![any::<i64>(), prop::sample::select(&SPECIAL[..])],
        b in prop_oneof![any::<i64>(), prop::sample::select(&SPECIAL[..])],
    ) {
        // The last millisecond that there is has no time of its own.
        let (a, b) = (a.min(i64::MAX - 1), b.min(i64::MAX - 1));
        prop_assert_eq!(Time::at(a).millis(), a);
        prop_assert_eq!(Time::at(a).cmp(&Time::at(b)), a.cmp(&b));
    }

    #[test]
    fn an_arn_is_the_same_however_its_letters_are_spelled(text in "[a-zA-Z0-9:/-]{0,150}", other in "[a-zA-Z0-9:/-]{0,150}") {
        let arn = Arn::from(text.as_str());
        let spelled = [text.to_ascii_lowercase(), text.to_ascii_uppercase()].map(|text| Arn::from(text.as_str()));
        let known: HashSet<Arn> = spelled.iter().cloned().collect();
        prop_assert_eq!(known.len(), 1);
        prop_assert!(known.contains(&arn));
        prop_assert!(spelled.iter().all(|spelled| spelled.cmp(&arn).is_eq()));
        prop_assert_eq!(arn.as_str(), text.as_str());
        let other = Arn::from(other.as_str());
        let lower = (text.to_ascii_lowercase(), other.as_str().to_ascii_lowercase());
        prop_assert_eq!(arn == other, lower.0 == lower.1);
        prop_assert_eq!(arn.cmp(&other), lower.0.cmp(&lower.1));
    }
}
