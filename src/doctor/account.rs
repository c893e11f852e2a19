//! The workflow's service account: its role, its secret, and what Argo's agent may do with it.

use serde_json::Value;

use super::{
    Check, Fix,
    argo::asked,
    facts::{Argo, Facts},
    known::{Known, ROLE_ANNOTATION},
};
use crate::{
    backend::redact::redacted,
    iam::{
        account::{Account, Way},
        names::{RoleArn, Subject},
    },
    kubernetes::{
        looking::Look,
        rights::{Deed, Right},
    },
};

/// What the agent does: it reads its tasks and writes their results.
pub const AGENT: [Deed; 3] = [
    Deed { verb: "list", resource: "workflowtasksets", subresource: "" },
    Deed { verb: "watch", resource: "workflowtasksets", subresource: "" },
    Deed { verb: "patch", resource: "workflowtasksets", subresource: "status" },
];

/// Whether the account has all that the agent pod needs.
pub fn service_account(name: &'static str, facts: &Facts, known: &Known) -> Check {
    let argo = match asked(name, facts) {
        Ok(argo) => argo,
        Err(skipped) => return skipped,
    };
    let whole = format!("{} in {}", known.account, argo.namespace);
    match &argo.account {
        Look::Here(_) => {}
        Look::NotThere => {
            let fix = with_manifest(Fix::say("Make the account with its secret and rights:"), facts, known, argo);
            return Check::broken(name, format!("there is no service account {whole}"), fix);
        }
        Look::Forbidden(why) | Look::Failed(why) => return Check::unknown(name, redacted(why)),
    }
    if let Some(check) = annotation(name, facts, known, &whole) {
        return check;
    }
    match &argo.secret {
        Look::Here(_) => {}
        Look::NotThere => {
            let fix = with_manifest(
                Fix::say(
                    "Argo's agent mounts a secret of this name; without it the agent pod is not made (\"create agent pod failed\"). Apply:",
                ),
                facts,
                known,
                argo,
            );
            let secret = secret_name(&argo.account, &known.account);
            return Check::broken(name, format!("there is no secret {secret} in {}", argo.namespace), fix);
        }
        Look::Forbidden(why) | Look::Failed(why) => return Check::unknown(name, redacted(why)),
    }
    for (deed, right) in AGENT.into_iter().zip(&argo.agent_rights) {
        let what = match deed.subresource {
            "" => format!("{} {}", deed.verb, deed.resource),
            sub => format!("{} {}/{sub}", deed.verb, deed.resource),
        };
        match right {
            Right::Given => {}
            Right::Lacking => {
                let fix = with_manifest(
                    Fix::say("Argo's agent runs as this account. Give it its rights:"),
                    facts,
                    known,
                    argo,
                );
                return Check::broken(name, format!("{whole} may not {what}"), fix);
            }
            Right::Unknown(why) => return Check::unknown(name, redacted(why)),
        }
    }
    Check::well(name, format!("{whole}: role, secret and rights"))
}

/// What is wrong with the way to the role; nothing where it is right.
fn annotation(name: &'static str, facts: &Facts, known: &Known, whole: &str) -> Option<Check> {
    let Some(annotated) = &known.annotation else {
        if facts.config.pod_identity {
            return None;
        }
        let fix = Fix::say(
            "The account leads to no AWS role. Give it one, then start new agent pods (with EKS Pod Identity it needs no annotation: say \
             so by --pod-identity):",
        )
        .command(known.annotate())
        .command(known.new_pods());
        return Some(Check::broken(name, format!("{whole} lacks the annotation {ROLE_ANNOTATION}"), fix));
    };
    let role = match RoleArn::parse(annotated) {
        Ok(role) => role,
        Err(problem) => {
            let fix = Fix::say("Write the role's whole ARN, then start new agent pods:")
                .command(known.annotate())
                .command(known.new_pods());
            return Some(Check::broken(name, format!("{whole}: {ROLE_ANNOTATION}: {problem}"), fix));
        }
    };
    let expected = known.role.as_ref().filter(|expected| expected.arn != role.arn)?;
    let fix = match facts.config.pod_role {
        Some(_) => Fix::say(
            "The account leads to another role than --pod-role. Change the annotation, then start new agent pods:",
        )
        .command(known.annotate())
        .command(known.new_pods()),
        None => Fix::say("The annotation was changed after this pod began. Start a new one:").command(known.new_pods()),
    };
    Some(Check::broken(name, format!("{whole} leads to {}, not to {}", role.arn, expected.arn), fix))
}

fn with_manifest(fix: Fix, facts: &Facts, known: &Known, argo: &Argo) -> Fix {
    let controller = &facts.config.controller;
    let Some(role) = known.role.clone() else {
        return fix.command(format!(
            "awf-aws iam service-account --namespace {} --service-account {} --role-arn ROLE_ARN | kubectl apply -f -",
            argo.namespace, known.account
        ));
    };
    let way = match facts.config.pod_identity {
        true => Way::PodIdentity { role, cluster: None },
        false => Way::Irsa { role },
    };
    let account = Account {
        subject: Subject { namespace: argo.namespace.clone(), account: known.account.clone() },
        way,
        controller: Subject { namespace: controller.namespace.clone(), account: controller.name.clone() },
    };
    fix.manifest("the account with its secret and rights", account.manifest()).command("kubectl apply -f account.yaml")
}

/// The name of the secret that Argo mounts into the agent (argo-workflows, util/secrets/secret_name.go).
pub(super) fn secret_name(account: &Look, name: &str) -> String {
    const NAMED: &str = "workflows.argoproj.io/service-account-token.name";
    let named = match account {
        Look::Here(account) => super::known::annotation_of(account.as_ref() as &Value, NAMED),
        _ => None,
    };
    named.unwrap_or_else(|| format!("{name}.service-account-token"))
}
