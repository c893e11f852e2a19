//! The shell: looks at the pod's files, asks AWS and the cluster, writes down what it saw. Nothing is changed anywhere.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use futures_util::future::join_all;

use super::{
    account::{AGENT, secret_name},
    argo::{MAP, PLUGIN_ACCOUNT, READ_WORKFLOWS},
    facts::{Argo, Cluster, Facts, Link, Owner, Seen, Token},
    features,
    known::Known,
    pipeline,
};
use crate::{
    backend::{Backend as _, sagemaker::SageMaker, token::Claims},
    config::doctor::DoctorConfig,
    kubernetes::{Kubernetes, controller_rights::NEEDED, looking::Kind, rights::Right},
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Time},
};

/// Looks at everything. What was asked to be left out is looked at all the same: other checks may need it.
pub async fn facts(config: DoctorConfig, sagemaker: &SageMaker, link: Link, now: Time) -> Facts {
    let variables = &config.variables;
    let web_token = variables.web_identity_token_file.as_deref().map(|file| file_of(file, token));
    let container_token = variables.container_token_file.as_deref().map(|file| file_of(file, |_| ()));
    let argo_token = config.token_file.as_deref().map(|file| file_of(file, |_| ()));
    // The process's own entry belongs to the user it runs as.
    let uid = fs::metadata("/proc/self").ok().map(|own| own.uid());
    let nothing = Cluster::NotAsked(String::new());
    let mut facts = Facts {
        config,
        now,
        uid,
        web_token,
        container_token,
        caller: None,
        assumed: None,
        described: None,
        listed: None,
        tried: Vec::new(),
        argo_token,
        cluster: nothing,
    };
    facts.cluster = cluster(&facts, link).await;
    aws(&mut facts, sagemaker).await;
    facts
}

/// What AWS answers, from the credentials up: what cannot work after a failure is not asked.
async fn aws(facts: &mut Facts, sagemaker: &SageMaker) {
    let Some((region, _)) = Known::of(facts).region else { return };
    let mut client = ClientKey { region, role_arn: None, external_id: None };
    facts.caller = Some(sagemaker.caller(&client).await);
    let Some(Ok(caller)) = &facts.caller else { return };
    let mut caller = caller.clone();
    if let Some(role) = &facts.config.role {
        client.role_arn = Some(role.arn.clone());
        client.external_id.clone_from(&facts.config.external_id);
        let assumed = sagemaker.caller(&client).await;
        facts.assumed = Some(assumed.clone());
        let Ok(assumed) = assumed else { return };
        caller = assumed;
    }
    let Some(pipeline) = pipeline::asked(facts, &caller.account) else { return };
    let call = Call::DescribePipeline { pipeline: pipeline.clone(), version: None };
    facts.described = Some(match sagemaker.call(client.clone(), call).await.result {
        Ok(CallReply::Pipeline(found)) => Ok(found.status),
        Ok(_) => Err(strange()),
        Err(error) => Err(error),
    });
    let call = Call::ListExecutions { pipeline, created_after: None, next_token: None };
    facts.listed = Some(match sagemaker.call(client.clone(), call).await.result {
        Ok(CallReply::Executions { page, .. }) => Ok(page.len()),
        Ok(_) => Err(strange()),
        Err(error) => Err(error),
    });
    facts.tried = features::gather(facts, sagemaker, &client, &caller.account).await;
}

fn strange() -> CallError {
    CallError {
        kind: CallErrorKind::OutcomeUnknown,
        code: None,
        message: "the answer is that of another call".to_owned(),
        request_id: None,
    }
}

async fn cluster(facts: &Facts, link: Link) -> Cluster {
    let kubernetes = match link {
        Link::Off => return Cluster::NotAsked("--kubernetes is off".to_owned()),
        Link::NotMounted(why) => return Cluster::NotAsked(why),
        Link::Failed(why) => return Cluster::Failed(why),
        Link::Connected(kubernetes) => kubernetes,
    };
    let known = Known::of(facts);
    let namespace = known.namespace.clone().unwrap_or_else(|| kubernetes.own_namespace().to_owned());
    let controller = &facts.config.controller;
    let kinds = kubernetes.argo_kinds().await;
    let account = kubernetes.object(Kind::ServiceAccount, &namespace, &known.account).await;
    let secret = secret_name(&account, &known.account);
    let agent = AGENT.into_iter().map(|deed| kubernetes.may(&namespace, &namespace, &known.account, deed));
    let argo = Argo {
        kinds,
        controller_right: kubernetes.may(&namespace, &controller.namespace, &controller.name, NEEDED).await,
        deployments: kubernetes.objects(Kind::Deployment, &controller.namespace).await,
        map_of_controller: kubernetes.object(Kind::ConfigMap, &controller.namespace, MAP).await,
        map_of_namespace: kubernetes.object(Kind::ConfigMap, &namespace, MAP).await,
        plugin_right: plugin_right(&kubernetes, &namespace).await,
        secret: kubernetes.object(Kind::SecretMetadata, &namespace, &secret).await,
        agent_rights: join_all(agent).await,
        account,
        namespace,
    };
    Cluster::Asked(Box::new(argo))
}

async fn plugin_right(kubernetes: &Kubernetes, namespace: &str) -> Right {
    kubernetes.may(namespace, namespace, PLUGIN_ACCOUNT, READ_WORKFLOWS).await
}

fn file_of<T>(file: &Path, read: impl Fn(&str) -> T) -> Seen<T> {
    match fs::read(file) {
        Ok(bytes) => match String::from_utf8_lossy(&bytes).trim() {
            "" => Seen::Empty,
            text => Seen::Read(read(text)),
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Seen::Missing,
            io::ErrorKind::PermissionDenied => Seen::Denied(fs::metadata(file).ok().map(|own| Owner {
                uid: own.uid(),
                gid: own.gid(),
                mode: own.mode() & 0o777,
            })),
            _ => Seen::Failed(error.to_string()),
        },
    }
}

fn token(text: &str) -> Token {
    Claims::decode(text).map_or(Token::Other, Token::Claims)
}
