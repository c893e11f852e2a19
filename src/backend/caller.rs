//! Who a client's credentials are, and whether they may read a log: asked by a diagnosis only, so these are no
//! [`crate::pipelines::Call`]s.

use super::{
    convert,
    errors::{explain, invalid},
    sagemaker::{SageMaker, is_region},
    wire::AttemptRecorder,
};
use crate::pipelines::{CallError, ClientKey};

/// What STS GetCallerIdentity says, which needs no permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    pub arn: String,
}

impl SageMaker {
    /// Has the credentials loaded and asks STS whose they are.
    pub async fn caller(&self, client: &ClientKey) -> Result<Caller, CallError> {
        if !is_region(&client.region) {
            return Err(invalid(format!("{:?} is not the name of an AWS region", client.region)));
        }
        let context = self.context("GetCallerIdentity", client);
        let recorder = AttemptRecorder::default();
        let request = self.sts(client).await.get_caller_identity().customize().interceptor(recorder.clone());
        let out = request.send().await.map_err(|error| explain(&error, recorder.attempts(), context))?;
        Ok(Caller {
            account: convert::text(out.account).unwrap_or_default(),
            arn: convert::text(out.arn).unwrap_or_default(),
        })
    }

    /// Reads a line of one stream by its name, as the end of a log is read, and drops it.
    pub async fn read_log(&self, client: &ClientKey, group: &str, stream: &str) -> Result<(), CallError> {
        let context = self.context("GetLogEvents", client);
        let recorder = AttemptRecorder::default();
        let request = self.logs(client).await.get_log_events().log_group_name(group).log_stream_name(stream).limit(1);
        let request = request.customize().interceptor(recorder.clone());
        request.send().await.map(|_| ()).map_err(|error| explain(&error, recorder.attempts(), context))
    }
}
