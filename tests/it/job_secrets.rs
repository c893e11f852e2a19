//! What is a secret in the words of strangers, and what is none.

use awf_aws::secrets::{REDACTED, masked, masked_line};

const SECRET: &str = "kJ8sd0+Kd93kdlSKw02kd/93kdLSmc02kdK30dlQ";

#[test]
fn what_a_stranger_calls_a_secret_is_one() {
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "eyJzdWIiOiJ4In0".repeat(3));
    let session = format!("IQoJ{}", "b3JpZ2lu".repeat(20));
    let pem = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    for (line, hidden) in [
        ("key AKIAIOSFODNN7EXAMPLE of it", "AKIA"),
        ("ASIAIOSFODNN7EXAMPLE", "ASIA"),
        (&format!("found {SECRET} in the file"), SECRET),
        (&format!("aws_secret_access_key = {SECRET}"), SECRET),
        (&format!("aws_session_token={session}"), "IQoJ"),
        (&format!("SessionToken: '{session}'"), "IQoJ"),
        ("password=hunter2", "hunter2"),
        ("DB_PASSWORD: hunter", "hunter"),
        ("the password: correcthorse is wrong", "correcthorse"),
        (r#"{"db": {"password": "hunter 2, really"}}"#, "really"),
        (r#"{\"Password\":\"hunter2\"}"#, "hunter2"),
        ("connect(user='a', passwd='hunter2')", "hunter2"),
        ("?token=abc123&x=1", "abc123"),
        ("hf-token => abcdef", "abcdef"),
        ("train.py --api-key abcdef --epochs 3", "abcdef"),
        ("db_pwd=hunter2", "hunter2"),
        ("DRIVER={PostgreSQL};UID=sa;PWD=hunter2;", "hunter2"),
        ("DB_PASS=hunter2", "hunter2"),
        ("password1=hunter2", "hunter2"),
        ("Command '['mysqldump', '--password', 'hunter 2', 'db']' returned non-zero", "hunter"),
        (r#"SM_USER_ARGS=["--db_password","hunter2"]"#, "hunter2"),
        ("AccountKey=abcdef==;EndpointSuffix=x", "abcdef"),
        ("client_secret: \"abcdef\"", "abcdef"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("'Authorization': 'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/2026, Signature=00ff00ff'", "00ff00ff"),
        ("-H \"Authorization: Bearer abcdef.ghi\" https://x", "abcdef"),
        (&format!("token {jwt}"), "eyJ"),
        ("https://user:p%40ss@host/path?x=1", "p%40ss"),
        ("git+https://ghp_abcdef@github.com/a/b", "ghp_"),
        ("login hf_abcdefghijklmnopqrstuvwxyz", "hf_abc"),
        (pem, "MIIEvQ"),
    ] {
        let clean = masked_line(line);
        assert!(!clean.contains(hidden) && clean.contains(REDACTED), "{line}: {clean}");
        assert_eq!(masked_line(&clean), clean, "what is masked stays as it is");
    }
}

#[test]
fn around_a_secret_all_else_stays() {
    for (line, clean) in [
        ("?token=abc123&x=1", "?token=[redacted]&x=1"),
        ("connect(user='a', passwd='hunter2')", "connect(user='a', passwd='[redacted]')"),
        (r#"{"password": "a b", "rows": 3}"#, r#"{"password": "[redacted]", "rows": 3}"#),
        ("https://user:pass@host:8443/p?q=a@b", "https://[redacted]@host:8443/p?q=a@b"),
        ("train.py --api-key abcdef --epochs 3", "train.py --api-key [redacted] --epochs 3"),
        ("['x', '--password', 'a b', 'db']", "['x', '--password', '[redacted]', 'db']"),
        ("-H \"Authorization: Bearer abc\" https://x", "-H \"Authorization: [redacted]\" https://x"),
    ] {
        assert_eq!(masked_line(line), clean);
    }
}

#[test]
fn what_is_no_secret_is_left_alone() {
    for harmless in [
        "ValueError: Unexpected token: expected a comma at 3",
        "max_new_tokens=512 num_tokens: 20",
        "token=None password=null secret: False",
        "KeyError: 'token'",
        "PWD=/opt/ml/code HOME=/root",
        "forward_pass=12ms, pass: 3 of 5, PASS=3",
        "pwd is unknown",
        "the password is wrong",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/opt/conda/lib/python3.12/site-packages/torch/nn/modules/Module2.py:1501",
        "s3://bucket/pipelines-4wemqw2sucgh-Train-AbCdEf/output/model.tar.gz",
        "arn:aws:sagemaker:us-west-2:100000000002:training-job/pipelines-4wemqw2sucgh-Train-Ab1",
        "pip install git+https://github.com/a/b@v1.2",
        "mail a@b.example, ratio 3:4, a=b",
        "loss: 0.31 - val_loss: 0.29",
        "ünïcode … stays",
        "",
    ] {
        assert_eq!(masked_line(harmless), harmless);
    }
}

#[test]
fn an_arn_is_shown_however_long_it_is() {
    let arn = format!("arn:aws:sagemaker:eu-west-1:111122223333:pipeline/{}/execution/abcdefghijkl", "a".repeat(200));
    assert_eq!(masked(&arn), arn);
    assert_eq!(
        masked(&format!("{arn} {}", "B1a".repeat(40))),
        format!("{arn} {REDACTED}"),
        "and nothing in its shadow"
    );
}
