//! Who a client's credentials are: asked by a diagnosis only, so it is no [`crate::pipelines::Call`].

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
}
