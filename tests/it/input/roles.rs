//! Which roles a task may name.

use awf_aws::input::AllowedRoles;
use serde_json::json;

use super::task;

const OWN: &str = "arn:aws:iam::100000000002:role/runner";
const OTHER: &str = "arn:aws:iam::111122223333:role/team-a/deployer";

/// What a task with this role is told where these patterns are allowed.
fn refusal(allowed: &[&str], role: &str) -> Option<String> {
    let allowed = AllowedRoles::new(allowed.iter().map(|&pattern| pattern.to_owned()).collect());
    let refused = allowed.check(&task(json!({"role_arn": role}))).err();
    refused.map(|error| error.to_string()).inspect(|text| assert!(text.len() <= 250, "{text}"))
}

#[test]
fn without_a_list_only_roles_of_the_tasks_own_account_are_assumed() {
    assert_eq!(refusal(&[], OWN), None);
    assert_eq!(AllowedRoles::default().check(&task(json!({}))), Ok(()), "no role at all");
    assert_eq!(
        refusal(&[], OTHER).as_deref(),
        Some(
            "malformed plugin input: `role_arn` `arn:aws:iam::111122223333:role/team-a/deployer` is of account 111122223333, \
             but `account_id` is 100000000002; other roles are only assumed when the plugin's --allowed-roles lists them"
        )
    );
}

#[test]
fn a_list_decides_alone() {
    assert_eq!(refusal(&["arn:aws:iam::111122223333:role/team-a/*"], OTHER), None);
    assert_eq!(refusal(&["arn:aws:iam::999999999999:role/x", "*:role/team-a/deployer"], OTHER), None);
    for patterns in [&["arn:aws:iam::111122223333:role/team-b/*"][..], &["arn:aws:iam::111122223333:role/team-a"]] {
        let text = refusal(patterns, OTHER).expect("it is in no pattern");
        assert!(text.contains("matches none of the plugin's --allowed-roles") && text.contains(patterns[0]), "{text}");
    }
    assert!(refusal(&["arn:aws:iam::111122223333:role/*"], OWN).is_some(), "the own account has to be listed, too");
}

#[test]
fn long_roles_and_lists_do_not_push_the_cure_out() {
    let role = format!("arn:aws:iam::111122223333:role/{}", "r".repeat(400));
    assert!(refusal(&[], &role).is_some_and(|text| text.ends_with("--allowed-roles lists them")));
    let list = format!("arn:aws:iam::111122223333:role/{}", "p".repeat(400));
    assert!(refusal(&[&list], &role).is_some_and(|text| text.ends_with("add it there or use one of them")));
}
