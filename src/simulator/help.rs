//! The text of `awf-aws simulator --help`.

/// Scenario file and admin calls, with examples.
pub const HELP: &str = r#"A simulated Amazon SageMaker Pipelines with its jobs' logs (CloudWatch Logs) and STS. Point any AWS client at it:

  export AWS_ENDPOINT_URL=http://127.0.0.1:4599 AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any
  aws sagemaker list-pipelines

The access key decides the account (100000000002 unless the scenario maps it; keys of AssumeRole and
AssumeRoleWithWebIdentity act in the role's account), the signature's scope the region. Signatures are not checked.
Everything is in memory and per account and region; only an ARN reaches another account's pipeline.

SCENARIO FILE (JSON; every field is optional, unknown fields are errors)
  {
    "seed": 0,                                   random parts of ARNs follow from it
    "default_account": "100000000002",
    "access_keys": {"AKIAOTHER": "111122223333"},
    "pipelines": [{"name": "MyPipeline", "region": "eu-west-1", "account": "111122223333", "description": "...",
                   "role_arn": "...", "definition": {"Version": "2020-12-01", "Steps": [...], "Parameters": [...]}}],
    "faults": { ... },                           as below
    "iam": { ... }                               as below; without it every role can be assumed and may do everything
  }

FAULTS (in the scenario, and by POST /admin/faults at any time; the values shown are the defaults or examples)
  A map of operations takes names such as "StartPipelineExecution", or "*" for all; how often is a number (the next so
  many calls) or "always". Sending 0, or null for the entry, ends it.
    "latency_ms": 0                              every answer takes so much longer
    "throttle": {"*": 3}                         ThrottlingException
    "rate": {"StartPipelineExecution": 10}       calls a second that are taken (and so many at once), ThrottlingException
                                                 beyond; "*" is for all others together
    "server_error": {"DescribePipeline": 1}      HTTP 500, no effect
    "hang": {"ListPipelineExecutions": 1}        the connection stays open, is never answered, no effect
    "lose_reply": {"StartPipelineExecution": 1}  the effect happens, then the connection is closed
    "deny": {"StopPipelineExecution": "always"}  AccessDeniedException
    "deny_versions": {"2": "always"}             AccessDeniedException for starts of this PipelineVersionId
    "conflict": {"StopPipelineExecution": 2}     ConflictException
    "slow": {"ListPipelineExecutionSteps": 1}    the effect happens, the answer comes "slow_ms" (30000) later
    "errors": {"*": {"code": "ExpiredTokenException", "message": "...", "status": 400, "times": "always"}}
    "deny_web_identity": "access_denied"         or no_provider, wrong_audience, expired_token, unreachable; null: allow
    "external_ids": {"arn:aws:iam::111122223333:role/r": "id"}   what AssumeRole of this role must bring
    "session_seconds": 900                       how long credentials of STS live, whatever was asked for
    "list_lag_seconds": 0                        how long a new execution is absent from lists
    "list_stale_seconds": 0                      lists of executions show each status as it was so long ago
    "not_found_seconds": 0                       a new execution is not found by its ARN for so long
    "quota": 20                                  concurrent executions per account and region
    "token_semantics": "same_arn"                what a repeated ClientRequestToken gets: same_arn, conflict,
                                                 mismatch_error, {"forgotten_after_seconds": 60}
    "step_seconds": 1, "stop_seconds": 1         how long steps and stops take
    "steps": {"TrainModel": {"seconds": 5, "fail": 1, "reason": "ClientError: ..."},
              "MyPipeline/Check": {"outcome": false}, "Notify": {"outputs": {"ticket": "T-1"}}}
                                                 by step or pipeline/step; "fail": the next so many runs of the step, or
                                                 "always"; "handled": true lets the execution go on and end
                                                 CompletedWithFailures; a Callback step without "seconds" waits for
                                                 SendPipelineExecutionStepSuccess or -Failure
              {"Evaluate": {"property_files": {"Report": {"auc": 0.91}}},
               "TrainModel": {"metrics": {"validation:auc": 0.91}, "logs": ["epoch 1", "epoch 2"]}}
                                                 what a step finds out: files that Std:JsonGet reads, final metrics,
                                                 lines of its job's log (without: some that fit its type and end)
    "objects": {"s3://bucket/result.json": {"Result": 7}}        what Std:JsonGet reads from S3

  A Condition step takes the branch that its conditions say: of literals, parameters, execution variables, Std:Join,
  Std:JsonGet, outputs and properties of earlier steps. What hangs on something that nobody told here (a property file, an
  output, a metric) takes the IfSteps; "outcome" goes before everything. A job's description and log are there under the
  names that ListPipelineExecutionSteps shows.

IAM (in the scenario, and by POST /admin/iam at any time)
  STS judges tokens and callers as AWS does: the token's issuer must be a provider of the role's account, its audience one
  of the client ids, its expiry to come; then the role's trust policy decides. Signatures are not checked.
    "oidc_providers": {"arn:aws:iam::100000000002:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/ABC":
                         {"client_ids": ["sts.amazonaws.com"], "reachable": true}}
    "roles": {"arn:aws:iam::100000000002:role/runner":
                {"trust": {"Version": "2012-10-17", "Statement": [...]},
                 "policies": [{"Version": "2012-10-17", "Statement": [...]}],
                 "max_session_seconds": 3600}}
                                                 "policies": what the role may do; without them everything. Conditions:
                                                 StringEquals, StringLike, StringNotEquals, StringNotLike, ArnEquals,
                                                 ArnLike on <issuer>:aud, <issuer>:sub, sts:ExternalId,
                                                 sts:RoleSessionName, aws:PrincipalArn, aws:PrincipalAccount,
                                                 sagemaker:PipelineVersionId

ADMIN CALLS
  curl -s localhost:4599/admin/book              executions with account, region, token, number of starts
                                                 and retries, attempts of each step; call counts
  curl -s localhost:4599/admin/faults            the faults in force
  curl -s localhost:4599/admin/faults -d '{"throttle": {"StartPipelineExecution": 5}, "step_seconds": 10}'
                                                 a JSON merge patch: what is not named stays, null restores the default
  curl -s localhost:4599/admin/iam -d '{"roles": {"arn:aws:iam::100000000002:role/runner": {"trust": {...}}}}'
                                                 replaces what is named of this role or provider, policies as a whole; null
                                                 takes a role, a provider or a member away
  curl -s localhost:4599/admin/forget -d '{"arn": "arn:aws:sagemaker:...:pipeline/p/execution/e"}'
                                                 the execution vanishes from the API, running or not
  curl -s -X POST localhost:4599/admin/reset     back to the scenario
"#;
