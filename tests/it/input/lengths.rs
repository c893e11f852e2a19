//! Sentences stay within a node's message, whatever they quote.

use serde_json::json;

use super::{refusal, request};

#[test]
fn no_value_makes_a_sentence_longer_than_a_message_and_what_is_allowed_stays() {
    // The widest characters there are, also when they are escaped.
    for wide in ["\u{1F600}".repeat(300), "\u{9f}".repeat(300), "\u{10FFFF}x".repeat(200), "x".repeat(10_000)] {
        let arn = |account: &str, region: &str, resource: &str| {
            format!("arn:aws:sagemaker:{region}:{account}:{resource}").chars().take(400).collect::<String>()
        };
        let execution = "pipeline/MyPipeline/execution/4wemqw2sucgh";
        for (changes, kept) in [
            (json!({"action": wide}), "`action` is `"),
            (json!({"action": wide}), "…`; it must be `validate`, `execute` or `stop`"),
            (json!({"pipeline_name": wide}), "…`; it must be a pipeline's ARN or its name: 1 to 256 letters, digits"),
            (json!({"region_name": wide}), "…`; it must be an AWS region's code such as `us-west-2`"),
            (json!({"workflow_created": wide}), "which is \"{{workflow.creationTimestamp.RFC3339}}\""),
            (json!({"timeout": wide}), "such as `90m` or `1h30m`"),
            (json!({"display_name": wide}), "it must be 1 to 82 letters, digits and inner hyphens"),
            (json!({"role_arn": wide}), "it must be an IAM role's ARN (`arn:aws:iam::ACCOUNT:role/NAME`)"),
            (json!({"execution_arn": wide}), "(`arn:aws:sagemaker:…:pipeline/NAME/execution/ID`)"),
            (json!({"selected_steps": wide}), "`selected_steps` has the entry `"),
            (json!({"parameters": {(wide.as_str()): 1}}), "names are 1 to 256 letters, digits, `-` and `_`"),
            (json!({(wide.as_str()): 1}), "`; did you mean `"),
            (
                json!({"execution_arn": arn(&wide[..wide.floor_char_boundary(300)], "us-west-2", "")}),
                "an execution's ARN",
            ),
            (
                json!({"source_execution_arn": format!("arn:aws:sagemaker:us-west-2:{wide:.80}:{execution}")}),
                "…`, but `account_id` is `100000000002`",
            ),
            (
                json!({"source_execution_arn": format!("arn:aws:sagemaker:{wide:.80}:100000000002:{execution}")}),
                "…`, but `region_name` is `us-west-2`",
            ),
        ] {
            let text = refusal(request(&changes));
            assert!(text.len() <= 250, "{} bytes: {text}", text.len());
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }
    let (one, other) = ("A".repeat(256), "B".repeat(256));
    let execution = format!("arn:aws:sagemaker:us-west-2:100000000002:pipeline/{one}/execution/4wemqw2sucgh");
    let text = refusal(request(&json!({"pipeline_name": other, "source_execution_arn": execution})));
    assert!(text.len() <= 250 && text.contains("AAA…`, but `pipeline_name` is `BBB"), "{} bytes: {text}", text.len());
}
