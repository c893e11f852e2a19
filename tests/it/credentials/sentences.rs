//! How a sentence is shortened: from the middle, and never its code and request id.

use awf_aws::text::sentence::{fitting, shorten};

/// The seed's own.
const SEED: &str = "failed to describe amazon sagemaker pipeline: WebIdentityErr: failed to retrieve credentials caused by: \
                    AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity status code: 403, request id: \
                    a3ead691-6855-45ed-aa48-b3714ddcff1f";

#[test]
fn a_sentence_that_fits_is_left_alone() {
    assert_eq!(shorten(SEED, 250), SEED);
}

#[test]
fn the_way_gives_way_first_then_the_words_then_the_end_of_the_hint() {
    let text = format!("{SEED}; the trust policy of role r must allow argo/runner");
    let id = "a3ead691-6855-45ed-aa48-b3714ddcff1f";
    let rows = [
        (
            260,
            format!(
                "failed to describe amazon sagemaker pipeline: WebIdentityErr: … AccessDenied: Not authorized to perform \
                 sts:AssumeRoleWithWebIdentity status code: 403, request id: {id}; the trust policy of role r must allow \
                 argo/runner"
            ),
        ),
        (
            221,
            format!(
                "failed to describe amazon sagemaker pipeline: WebIdentityErr: … AccessDenied … status code: 403, request \
                 id: {id}; the trust policy of role r must allow argo/runner"
            ),
        ),
        (
            160,
            format!(
                "WebIdentityErr: … AccessDenied … status code: 403, request id: {id}; the trust policy of role r must allow \
                 argo/runner"
            ),
        ),
        (115, format!("AccessDenied status code: 403, request id: {id}; the trust policy of role r must…")),
        (80, format!("AccessDenied status code: 403, request id: {id}")),
    ];
    for (max, expected) in rows {
        let told = shorten(&text, max);
        assert_eq!(told, expected);
        assert!(told.len() <= max, "{} > {max}: {told}", told.len());
    }
}

#[test]
fn code_and_request_id_survive_every_length_that_holds_them() {
    let text =
        format!("the execution goes on, but AWS cannot be asked: {SEED}; the trust policy of role r must allow x");
    for max in 80..=text.len() {
        let told = shorten(&text, max);
        assert!(told.len() <= max, "{max}: {told}");
        for part in ["AccessDenied", "status code: 403", "a3ead691-6855-45ed-aa48-b3714ddcff1f"] {
            assert!(told.contains(part), "{max}: {told}");
        }
    }
    for max in 4..80 {
        assert!(shorten(&text, max).len() <= max);
    }
}

#[test]
fn the_fullest_hint_that_leaves_room_for_where_it_happened_is_taken() {
    let hints = ["x".repeat(300), "a hint of a middling length".to_owned(), "a hint".to_owned()];
    assert!(fitting(SEED, &hints, 221).ends_with("; a hint of a middling length"));
    assert!(fitting(SEED, &hints, 110).ends_with("; a hint"));
    assert_eq!(fitting(SEED, &[], 250), SEED);
}

#[test]
fn other_texts_are_cut_at_their_end() {
    assert_eq!(shorten(&"ü".repeat(100), 10), format!("{}…", "ü".repeat(3)));
}
