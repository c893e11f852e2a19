//! Who a client's credentials are: asked by a diagnosis only, so it is no [`crate::pipelines::Call`].

use super::{
    convert,
    errors::{Asked, explain, invalid},
    sagemaker::{SageMaker, is_region},
    wire::Witness,
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
        let asked = Asked { operation: "GetCallerIdentity", write: false, client, web_identity: self.web_identity() };
        let witness = Witness::default();
        let request = self.sts(client).await.get_caller_identity().customize().interceptor(witness.clone());
        let out = request.send().await.map_err(|error| explain(&error, witness.seen(), asked))?;
        Ok(Caller {
            account: convert::text(out.account).unwrap_or_default(),
            arn: convert::text(out.arn).unwrap_or_default(),
        })
    }
}
