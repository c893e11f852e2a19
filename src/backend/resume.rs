//! What continues an execution that ended: RetryPipelineExecution, and the description that moves with it.

use aws_sdk_sagemaker::Client;

use super::{context::CallContext, convert, denial_log::failure, wire::AttemptRecorder};
use crate::pipelines::{CallError, CallReply};

/// RetryPipelineExecution. An answer that names no execution means the one that was asked for: the operation makes no new one.
pub async fn retry(
    client: &Client,
    arn: String,
    token: String,
    parallelism: Option<i32>,
    context: CallContext<'_>,
    recorder: &AttemptRecorder,
) -> Result<CallReply, CallError> {
    let request = client
        .retry_pipeline_execution()
        .pipeline_execution_arn(&arn)
        .client_request_token(token)
        .set_parallelism_configuration(parallelism.map(convert::parallelism))
        .customize();
    let out = request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
    Ok(CallReply::Retried { arn: convert::text(out.pipeline_execution_arn).unwrap_or(arn) })
}

/// UpdatePipelineExecution of the description alone.
pub async fn update(
    client: &Client,
    arn: String,
    description: String,
    context: CallContext<'_>,
    recorder: &AttemptRecorder,
) -> Result<CallReply, CallError> {
    let request = client
        .update_pipeline_execution()
        .pipeline_execution_arn(arn)
        .pipeline_execution_description(description)
        .customize();
    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
    Ok(CallReply::Updated)
}
