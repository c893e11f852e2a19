//! What the pod was given: variables, token files, a region.

use super::{
    Check, Fix,
    facts::{Facts, Owner, Seen, Token},
    known::Known,
};
use crate::{
    backend::redact::redacted,
    config::doctor::Variables,
    iam::{
        names::{self, RoleArn},
        trust::Trust,
    },
};

/// How the credentials are to come, by the variables; what the SDK takes first goes first.
pub fn variables(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let Variables { role_arn, web_identity_token_file: file, access_key, secret_key, in_pod, .. } =
        &facts.config.variables;
    let role = role_arn.as_deref().map(redacted);
    let both = role.as_deref().zip(file.as_deref());
    if access_key != secret_key {
        let (there, missing) = match access_key {
            true => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            false => ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        };
        let fix = Fix::say(format!("Set {missing} as well, or take {there} away."));
        return Check::broken(name, format!("{there} is set and {missing} is not"), fix);
    }
    if *access_key {
        if let Some((role, _)) = both {
            let fix = Fix::say(
                "The SDK takes keys from the environment before a role. Take AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
                 AWS_SESSION_TOKEN out of the plugin's container (the ConfigMap, or the workflow's podSpecPatch).",
            );
            return Check::broken(name, format!("AWS_ACCESS_KEY_ID hides the role {role}"), fix);
        }
        return Check::well(name, "keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    match (both, &role, file) {
        (Some((role, file)), _, _) => {
            match RoleArn::parse(role) {
                Ok(_) => Check::well(name, format!("IRSA: role {role}, token {}", file.display())),
                Err(problem) => {
                    let fix = Fix::say("The service account's annotation is malformed. Write the role's whole ARN, then start a new pod:")
                    .command(known.annotate())
                    .command(known.new_pods());
                    Check::broken(name, format!("AWS_ROLE_ARN: {problem}"), fix)
                }
            }
        }
        (None, Some(_), _) => half(name, "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", known),
        (None, _, Some(_)) => half(name, "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", known),
        _ if facts.config.variables.container_credentials => {
            Check::well(name, "EKS Pod Identity: AWS_CONTAINER_CREDENTIALS_FULL_URI")
        }
        _ if !in_pod => Check::well(name, "none is set; outside of a pod the SDK looks into its profile files"),
        _ => Check::broken(
            name,
            "none is set: neither AWS_ROLE_ARN nor AWS_CONTAINER_CREDENTIALS_FULL_URI",
            no_role(facts, known),
        ),
    }
}

/// What gives the pod a role.
pub(super) fn no_role(facts: &Facts, known: &Known) -> Fix {
    let (namespace, account) = (known.namespace(), &known.account);
    if facts.config.pod_identity {
        return Fix::say(
            "EKS Pod Identity gives this service account no role. It needs an association, and the role must trust EKS (trust.json). \
             Make both, then start a new pod:",
        )
        .policy(format!("the trust policy of {}", known.role_arn()), Trust::PodIdentity { subject: known.subject() }.policy())
        .command(format!("aws iam update-assume-role-policy --role-name {} --policy-document file://trust.json", known.role_name()))
        .command(format!(
            "aws eks create-pod-identity-association --cluster-name CLUSTER --namespace {namespace} --service-account {account} --role-arn {}",
            known.role_arn()
        ))
        .command(known.new_pods());
    }
    if known.annotation.is_some() {
        return Fix::say(
            "The service account has its annotation, but this pod does not know it: it is older, or EKS's webhook did not run. \
             Start a new pod; if that does not help, look at the webhook:",
        )
        .command(known.new_pods())
        .command("kubectl get mutatingwebhookconfigurations pod-identity-webhook");
    }
    Fix::say(format!(
        "The workflow's service account ({account}, not one named after the plugin) leads to no role. Give it one, then start a new pod. \
         The workflow must name the account: spec.serviceAccountName: {account}."
    ))
    .command(known.annotate())
    .command(known.new_pods())
}

fn half(name: &'static str, there: &str, missing: &str, known: &Known) -> Check {
    let fix = Fix::say(format!(
        "EKS's webhook sets both, and neither where the pod's own manifest sets one. Take {there} out of the plugin's ConfigMap \
         and of the workflow's podSpecPatch, then start a new pod:"
    ))
    .command(known.new_pods());
    Check::broken(name, format!("{there} is set and {missing} is not"), fix)
}

/// Whether the file with the pod's token can be read.
pub fn token_file(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let variables = &facts.config.variables;
    let (file, seen) = match (&variables.web_identity_token_file, &facts.web_token) {
        (Some(file), Some(seen)) => (file, without_content(seen)),
        _ => match (&variables.container_token_file, &facts.container_token) {
            (Some(file), Some(seen)) => (file, seen.clone()),
            _ => return Check::skipped(name, "no variable names a token file"),
        },
    };
    let file = file.display();
    match seen {
        Seen::Read(()) if matches!(facts.web_token, Some(Seen::Read(Token::Other))) => {
            let fix = Fix::say("Something else was mounted there. Start a new pod; EKS's webhook mounts the token:")
                .command(known.new_pods());
            Check::broken(name, format!("{file} holds no JSON Web Token"), fix)
        }
        Seen::Read(()) => Check::well(name, format!("{file} can be read")),
        Seen::Missing if variables.web_identity_token_file.is_none() => {
            let fix =
                Fix::say("EKS Pod Identity mounts it when a pod is made. Start a new one:").command(known.new_pods());
            Check::broken(name, format!("{file} does not exist"), fix)
        }
        Seen::Missing => {
            let fix = Fix::say(
                "The token's volume is not mounted into this container. Take the container's name out of the pod's annotation \
                 eks.amazonaws.com/skip-containers and the variables out of the plugin's manifest, then start a new pod:",
            )
            .command(known.new_pods());
            Check::broken(name, format!("{file} does not exist"), fix)
        }
        Seen::Empty => {
            let fix = Fix::say("The kubelet writes it; start a new pod:").command(known.new_pods());
            Check::broken(name, format!("{file} is empty"), fix)
        }
        Seen::Denied(owner) => {
            let fix = Fix::say(
                "The kubelet gives the token to the user that all containers of the pod share, else to the pod's fsGroup. Put this \
                 into the Workflow, and take any other runAsUser out of the plugin's container; then submit it anew:",
            )
            .manifest("spec.securityContext of the Workflow", SECURITY);
            Check::broken(name, format!("{file} cannot be read by {}{}", user(facts.uid), owned(owner)), fix)
        }
        Seen::Failed(why) => {
            let fix = Fix::say("Start a new pod; EKS's webhook mounts the token:").command(known.new_pods());
            Check::broken(name, format!("{file} cannot be read: {}", redacted(&why)), fix)
        }
    }
}

/// The whole of it: what a workflow sets replaces what Argo would set for the agent's pod.
const SECURITY: &str = "spec:
  securityContext:
    runAsNonRoot: true
    runAsUser: 8737
    fsGroup: 8737
    seccompProfile:
      type: RuntimeDefault
";

fn without_content<T>(seen: &Seen<T>) -> Seen<()> {
    match seen {
        Seen::Missing => Seen::Missing,
        Seen::Denied(owner) => Seen::Denied(*owner),
        Seen::Failed(why) => Seen::Failed(why.clone()),
        Seen::Empty => Seen::Empty,
        Seen::Read(_) => Seen::Read(()),
    }
}

fn user(uid: Option<u32>) -> String {
    uid.map_or_else(|| "this user".to_owned(), |uid| format!("user {uid}"))
}

fn owned(owner: Option<Owner>) -> String {
    owner.map_or_else(String::new, |Owner { uid, gid, mode }| format!(" (it is {uid}:{gid}'s, mode {mode:04o})"))
}

/// What the token says of itself. STS compares exactly this with the provider and the trust policy.
pub fn token_claims(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let Some(claims) = &known.claims else { return Check::skipped(name, "there is no token to look into") };
    let says = redacted(&claims.to_string());
    let (namespace, account) = (known.namespace(), &known.account);
    if claims.expires.is_some_and(|at| at <= facts.now) {
        let fix = Fix::say(
            "The kubelet replaces a token long before its end, so this is a copy, or the node's clock is wrong. Take the copy away and \
             start a new pod; if the new token is as old, look at the node's clock:",
        )
        .command(known.new_pods());
        return Check::broken(name, format!("the token has expired: {says}"), fix);
    }
    let wanted = &facts.config.audience;
    if !claims.audiences.iter().any(|own| own == wanted) {
        let fix = Fix::say(format!(
            "The token was made for another service than {wanted}. Take the annotation eks.amazonaws.com/audience off the service \
             account and start a new pod (or, if the audience is meant, say so by --audience):"
        ))
        .command(format!("kubectl annotate serviceaccount -n {namespace} {account} eks.amazonaws.com/audience-"))
        .command(known.new_pods());
        return Check::broken(name, format!("the token's audience is not {wanted}: {says}"), fix);
    }
    let subject = format!("system:serviceaccount:{namespace}:{account}");
    if known.namespace.is_some() && claims.subject != subject {
        let fix = Fix::say(format!(
            "The pod runs as another service account than {account} in {namespace}. Name it in the Workflow and submit that in \
             {namespace}; --namespace and --service-account say what is expected here:"
        ))
        .manifest("spec.serviceAccountName of the Workflow", format!("spec:\n  serviceAccountName: {account}\n"));
        return Check::broken(name, format!("the token is not {subject}'s: {says}"), fix);
    }
    Check::well(name, says)
}

/// Where the pipelines are.
pub fn region(name: &'static str, facts: &Facts, known: &Known) -> Check {
    const LIST: &str = "aws ec2 describe-regions --query 'Regions[].RegionName' --output text";
    let Some(given) = facts.config.region.as_deref() else {
        let fix = Fix::say("Name the region of the pipelines with --region, as the tasks do in region_name.");
        return Check::broken(name, "no region is named: neither --region nor AWS_REGION", fix);
    };
    let (region, partition) = match names::region(given) {
        Ok(read) => read,
        Err(problem) => {
            let fix = Fix::say("Write the code of the region, in --region (AWS_REGION) and in the tasks' region_name. Those of your account:")
                .command(LIST);
            return Check::broken(name, problem, fix);
        }
    };
    let of_arn = facts.config.pipeline.as_deref().and_then(|arn| arn.strip_prefix("arn:")?.split(':').nth(2));
    if let Some(of_arn) = of_arn.filter(|own| *own != region) {
        let fix =
            Fix::say(format!("Name the pipeline's own region, in --region and in the tasks' region_name: {of_arn}."));
        return Check::broken(name, format!("it is {region}, but the pipeline is in {of_arn}"), fix);
    }
    if let Some(role) = known.role.as_ref().filter(|role| role.partition != partition) {
        let fix = Fix::say(
            "A role works in its own partition only. Name a region of the role's partition, or a role of the region's.",
        );
        return Check::broken(name, format!("{region} is in partition {partition}, the role {} is not", role.arn), fix);
    }
    Check::well(name, format!("{region} (partition {partition})"))
}

/// Whether the token that Argo's agent sends can be read.
pub fn argo_token(name: &'static str, facts: &Facts, _: &Known) -> Check {
    let (Some(file), Some(seen)) = (&facts.config.token_file, &facts.argo_token) else {
        return Check::skipped(name, "not looked at (--token-file is empty)");
    };
    let file = file.display();
    match seen {
        Seen::Read(()) => Check::well(name, format!("{file} can be read")),
        Seen::Missing => {
            let fix = Fix::say(
                "Argo mounts it into the plugin's container, by the container's name. Run this in that container \
                 (`kubectl exec POD -c awf-aws -- /awf-aws doctor`); elsewhere give --token-file= to leave it out. If it is missing there, the \
                 container is not named awf-aws: apply the ConfigMap as it is shipped.",
            );
            Check::broken(name, format!("{file} does not exist"), fix)
        }
        Seen::Empty => {
            let fix = Fix::say("Argo's init container writes it; start a new agent pod.");
            Check::broken(name, format!("{file} is empty"), fix)
        }
        Seen::Denied(owner) => {
            let fix = Fix::say(
                "The file is user 8737's. Run the plugin's container as that user; in its ConfigMap or ExecutorPlugin:",
            )
            .manifest(
                "securityContext of the container",
                "securityContext:\n  runAsUser: 8737\n  runAsNonRoot: true\n",
            );
            Check::broken(name, format!("{file} cannot be read by {}{}", user(facts.uid), owned(*owner)), fix)
        }
        Seen::Failed(why) => {
            let fix = Fix::say("Argo's init container writes it; start a new agent pod.");
            Check::broken(name, format!("{file} cannot be read: {}", redacted(why)), fix)
        }
    }
}
