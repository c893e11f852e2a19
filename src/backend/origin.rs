//! Where the pod's credentials come from, when that is not where its service account says.

use aws_credential_types::{Credentials, credential_feature::AwsCredentialFeature};

use super::context::WebIdentity;

/// A warning when the SDK's chain ended somewhere else than at the role of the service account. A missing annotation shows
/// as nothing else: the chain silently goes on to the node's role (and a variable that is left over comes before both).
pub fn warning(credentials: &Credentials, web: &WebIdentity) -> Option<&'static str> {
    // Hidden in the documentation, since it is for user agents; without it nothing is warned of.
    let features = credentials.get_property::<Vec<AwsCredentialFeature>>()?;
    let comes_from = |wanted: &[AwsCredentialFeature]| features.iter().any(|feature| wanted.contains(feature));
    if comes_from(&[AwsCredentialFeature::CredentialsImds]) {
        return Some(
            "the credentials are the node's, not the workflow's: annotate its service account with \
             eks.amazonaws.com/role-arn (only new pods see it)",
        );
    }
    let others = [
        AwsCredentialFeature::CredentialsEnvVars,
        AwsCredentialFeature::CredentialsProfile,
        AwsCredentialFeature::CredentialsHttp,
    ];
    (web.role_arn.is_some() && comes_from(&others)).then_some(
        "the credentials are not those of the pod's role: AWS_ACCESS_KEY_ID or a profile comes before AWS_ROLE_ARN",
    )
}
