//! Argo's controller, as far as a workflow of plugin nodes needs it: steps, arguments, fan-out, retries, the exit handler.
//! Facts: argo-workflows v4.1.2, workflow/controller/{operator,steps}.go. Nodes that are no plugin's are taken as done.

use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::{
    agent::{Agent, NodeStatus},
    template::{
        Definition, TemplateError, Variables, has_tag, named, on_the_wire, scalar, substitute, substitute_text,
    },
};
use crate::protocol::{Outputs, Parameter, Phase, parse_go_duration};

/// Which workflow is played.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// `creationTimestamp` as RFC 3339, to the second.
    pub created: String,
}

/// A leaf node that has ended: a plugin's, or one that was taken as done.
#[derive(Clone, Debug)]
pub struct NodeEnd {
    /// Such as `wf[1].execute-pipeline(3:item)`.
    pub name: String,
    pub template: String,
    /// Whether the plugin was asked; else the template is no plugin's and was taken as done.
    pub plugin: bool,
    pub inputs: Vec<(String, String)>,
    /// One status for each attempt, in order; never empty.
    pub attempts: Vec<NodeStatus>,
}

impl NodeEnd {
    /// How the node ended: as its last attempt did.
    pub fn phase(&self) -> Phase {
        self.attempts.last().map_or(Phase::Error, |status| status.phase)
    }
}

/// What happens to a node.
#[derive(Debug)]
pub enum NodeEvent<'a> {
    /// An attempt begins; the first is 0.
    Started {
        attempt: u32,
    },
    /// The plugin reported something that Argo writes down.
    Reported(&'a NodeStatus),
    /// The attempt failed, the next one begins after the wait.
    Retrying {
        next: u32,
        wait: Duration,
        last: &'a NodeStatus,
    },
    Ended(&'a NodeEnd),
}

/// Watches nodes.
pub trait Observer {
    fn event(&self, node: &str, event: NodeEvent<'_>);
}

impl Observer for () {
    fn event(&self, _node: &str, _event: NodeEvent<'_>) {}
}

/// One workflow being played.
pub struct Controller {
    pub definition: Definition,
    pub identity: Identity,
    pub agent: Rc<Agent>,
    /// Longest wait between two attempts, whatever the template says: a demo has no minutes to spare.
    pub longest_backoff: Duration,
    /// Told of everything that happens to a node.
    pub observer: Rc<dyn Observer>,
}

/// How a template ended, for the steps after it.
struct Ended {
    succeeded: bool,
    outputs: Outputs,
}

type Playing<'a> = Pin<Box<dyn Future<Output = Result<(Ended, Vec<NodeEnd>), TemplateError>> + 'a>>;

/// A step's one node.
struct Child {
    name: String,
    template: String,
    arguments: Vec<(String, String)>,
}

impl Controller {
    /// Plays the workflow to its end: the entrypoint, then the exit handler. Returns its leaf nodes.
    pub async fn play(&self) -> Result<Vec<NodeEnd>, TemplateError> {
        let name = &self.identity.name;
        let (_, mut nodes) = self.node(name.clone(), &self.definition.entrypoint, Vec::new()).await?;
        if let Some(handler) = &self.definition.on_exit {
            let (_, after) = self.node(format!("{name}.onExit"), handler, Vec::new()).await?;
            nodes.extend(after);
        }
        Ok(nodes)
    }

    /// The outputs that a finished run's entrypoint would have are those of its nodes; this is one node of a template.
    fn node<'a>(&'a self, name: String, template: &'a str, arguments: Vec<(String, String)>) -> Playing<'a> {
        Box::pin(async move {
            let template = self.definition.template(template)?;
            let label = template["name"].as_str().unwrap_or_default();
            let inputs = inputs(label, template, &arguments)?;
            let mut variables = self.globals();
            variables.insert("node.name".to_owned(), name.clone());
            for (parameter, value) in &inputs {
                variables.insert(format!("inputs.parameters.{parameter}"), value.clone());
            }
            if template.get("steps").is_some() {
                self.steps(&name, template, variables).await
            } else if template.get("plugin").is_some() {
                let end =
                    self.plugin(name, label, &substitute(&on_the_wire(template, &inputs), &variables), inputs).await;
                Ok((Ended::of(&end), vec![end]))
            } else if template.get("dag").is_some() {
                Err(TemplateError::Unsupported { template: label.to_owned(), what: "a dag".to_owned() })
            } else {
                let done = NodeStatus {
                    phase: Phase::Succeeded,
                    message: "no plugin node: taken as done".to_owned(),
                    ..Default::default()
                };
                let end = NodeEnd { name, template: label.to_owned(), plugin: false, inputs, attempts: vec![done] };
                self.observer.event(&end.name, NodeEvent::Ended(&end));
                Ok((Ended::of(&end), vec![end]))
            }
        })
    }

    /// Groups one after the other, the steps of a group side by side; a failed group is the last.
    async fn steps(
        &self,
        name: &str,
        template: &Value,
        mut variables: Variables,
    ) -> Result<(Ended, Vec<NodeEnd>), TemplateError> {
        let label = template["name"].as_str().unwrap_or_default();
        let mut nodes = Vec::new();
        let mut succeeded = true;
        for (index, group) in template["steps"].as_array().into_iter().flatten().enumerate() {
            let mut children = Vec::new();
            for (step_name, step) in named(group) {
                if let Some(field) =
                    ["when", "continueOn", "withSequence", "templateRef"].iter().find(|f| step.get(**f).is_some())
                {
                    return Err(TemplateError::Unsupported { template: label.to_owned(), what: (*field).to_owned() });
                }
                let fanned = step.get("withParam").or_else(|| step.get("withItems")).is_some();
                children.push((
                    step_name,
                    fanned,
                    expand(label, &format!("{name}[{index}].{step_name}"), step, &variables)?,
                ));
            }
            let playing = children.iter().map(|(_, _, many)| {
                join_all(many.iter().map(|c| self.node(c.name.clone(), &c.template, c.arguments.clone())))
            });
            let ended = join_all(playing).await;
            for ((step_name, fanned, _), results) in children.iter().zip(ended) {
                let mut all_outputs = Vec::new();
                for result in results {
                    let (ended, leaves) = result?;
                    succeeded &= ended.succeeded;
                    all_outputs.push(ended.outputs);
                    nodes.extend(leaves);
                }
                into_scope(step_name, *fanned, &all_outputs, &mut variables);
            }
            if !succeeded {
                break;
            }
        }
        let outputs = Outputs { parameters: outputs_of_steps(template, &variables), ..Outputs::default() };
        Ok((Ended { succeeded, outputs }, nodes))
    }

    /// A plugin node with its attempts.
    async fn plugin(&self, name: String, label: &str, wire: &Value, inputs: Vec<(String, String)>) -> NodeEnd {
        let metadata =
            json!({"name": self.identity.name, "namespace": self.identity.namespace, "uid": self.identity.uid});
        let retry = wire.get("retryStrategy").map(Retry::read);
        let mut end = NodeEnd { name, template: label.to_owned(), plugin: true, inputs, attempts: Vec::new() };
        let began = Instant::now();
        for attempt in 0.. {
            self.observer.event(&end.name, NodeEvent::Started { attempt });
            // `{{retries}}` has a value only under a retryStrategy, in a second substitution; else it stays as it is.
            let mut variables = Variables::new();
            if retry.is_some() {
                variables.insert("retries".to_owned(), attempt.to_string());
            }
            let task = json!({"workflow": {"metadata": metadata}, "template": substitute(wire, &variables)});
            let report = |status: &NodeStatus| self.observer.event(&end.name, NodeEvent::Reported(status));
            let status = self.agent.execute(&end.name, &task, report).await;
            let wait = retry.as_ref().and_then(|r| r.wait_before(attempt + 1, status.phase, began.elapsed()));
            let wait = wait.map(|wait| wait.min(self.longest_backoff));
            if let Some(wait) = wait {
                self.observer.event(&end.name, NodeEvent::Retrying { next: attempt + 1, wait, last: &status });
            }
            end.attempts.push(status);
            let Some(wait) = wait else { break };
            sleep(wait).await;
        }
        self.observer.event(&end.name, NodeEvent::Ended(&end));
        end
    }

    fn globals(&self) -> Variables {
        let Identity { name, namespace, uid, created } = &self.identity;
        let mut variables: Variables = [
            ("workflow.name", name),
            ("workflow.namespace", namespace),
            ("workflow.uid", uid),
            ("workflow.creationTimestamp.RFC3339", created),
        ]
        .map(|(tag, value)| (tag.to_owned(), value.clone()))
        .into();
        for (parameter, value) in &self.definition.parameters {
            if let Some(value) = value {
                variables.insert(format!("workflow.parameters.{parameter}"), value.clone());
            }
        }
        variables
    }
}

impl Ended {
    fn of(end: &NodeEnd) -> Self {
        let last = end.attempts.last();
        Self {
            succeeded: end.phase() == Phase::Succeeded,
            outputs: last.map(|status| status.outputs.clone()).unwrap_or_default(),
        }
    }
}

/// `retryStrategy`, as far as it concerns plugin nodes.
#[derive(Debug)]
struct Retry {
    /// Attempts after the first; `None` has no end.
    limit: Option<u32>,
    policy: String,
    backoff: Duration,
    factor: u32,
    /// Since the first attempt began.
    max_duration: Option<Duration>,
}

impl Retry {
    fn read(strategy: &Value) -> Self {
        let backoff = &strategy["backoff"];
        let number = |value: &Value| scalar(value).parse::<u32>().ok();
        Self {
            limit: number(&strategy["limit"]),
            policy: strategy["retryPolicy"].as_str().unwrap_or("OnFailure").to_owned(),
            backoff: argo_duration(&backoff["duration"]).unwrap_or_default(),
            factor: number(&backoff["factor"]).unwrap_or(1),
            max_duration: argo_duration(&backoff["maxDuration"]),
        }
    }

    /// How long to wait before attempt `next`, or `None` when there is none.
    fn wait_before(&self, next: u32, ended: Phase, since_first: Duration) -> Option<Duration> {
        let wanted = match self.policy.as_str() {
            "Always" => matches!(ended, Phase::Failed | Phase::Error),
            "OnError" => ended == Phase::Error,
            "OnFailure" => ended == Phase::Failed,
            // OnTransientError looks for lost connections to Kubernetes; a plugin's node has none.
            _ => false,
        };
        let spent = self.max_duration.is_some_and(|max| since_first > max);
        if !wanted || spent || self.limit.is_some_and(|limit| next > limit) {
            return None;
        }
        Some(self.backoff.saturating_mul(self.factor.saturating_pow(next - 1)))
    }
}

/// A duration as Argo takes it in a retryStrategy: Go's, or plain seconds.
fn argo_duration(value: &Value) -> Option<Duration> {
    let text = if value.is_null() { String::new() } else { scalar(value) };
    text.parse::<u64>().ok().map(Duration::from_secs).or_else(|| parse_go_duration(&text))
}

/// The values of a template's input parameters.
fn inputs(
    label: &str,
    template: &Value,
    arguments: &[(String, String)],
) -> Result<Vec<(String, String)>, TemplateError> {
    named(&template["inputs"]["parameters"])
        .map(|(name, declared)| {
            let given = arguments.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
            let value = given.or_else(|| declared.get("value").or_else(|| declared.get("default")).map(scalar));
            value
                .map(|value| (name.to_owned(), value))
                .ok_or_else(|| TemplateError::MissingInput { template: label.to_owned(), parameter: name.to_owned() })
        })
        .collect()
}

/// The nodes of a step: one, or one for each item.
fn expand(label: &str, name: &str, step: &Value, variables: &Variables) -> Result<Vec<Child>, TemplateError> {
    let malformed = |what: String| TemplateError::Malformed { template: label.to_owned(), what };
    let template = step["template"].as_str().ok_or_else(|| malformed(format!("step {name} names no template")))?;
    let child = |name: String, variables: &Variables| {
        let arguments = named(&step["arguments"]["parameters"])
            .map(|(parameter, argument)| {
                let value = substitute_text(&scalar(&argument["value"]), variables);
                // Argo waits for ever for an output that does not come; here it is an error.
                if has_tag(&value) {
                    return Err(malformed(format!("argument {parameter} of {name} cannot be resolved: {value}")));
                }
                Ok((parameter.to_owned(), value))
            })
            .collect::<Result<_, _>>()?;
        Ok(Child { name, template: template.to_owned(), arguments })
    };
    let items = match (&step["withParam"], &step["withItems"]) {
        (Value::String(list), _) => {
            let list = substitute_text(list, variables);
            serde_json::from_str::<Vec<Value>>(&list)
                .map_err(|_| malformed(format!("withParam of {name} is not a JSON list: {list}")))?
        }
        (_, Value::Array(items)) => items.clone(),
        _ => return Ok(vec![child(name.to_owned(), variables)?]),
    };
    let children = items.iter().enumerate().map(|(index, item)| {
        let mut variables = variables.clone();
        variables.insert("item".to_owned(), scalar(item));
        for (key, value) in item.as_object().into_iter().flatten() {
            variables.insert(format!("item.{key}"), scalar(value));
        }
        child(format!("{name}({index}:{})", item_in_name(item)), &variables)
    });
    children.collect()
}

/// An item as it stands in a node's name: parentheses stripped, the keys of a map sorted.
fn item_in_name(item: &Value) -> String {
    let text = match item.as_object() {
        Some(fields) => {
            let mut pairs: Vec<String> = fields.iter().map(|(k, v)| format!("{k}:{}", scalar(v))).collect();
            pairs.sort();
            pairs.join(",")
        }
        None => scalar(item),
    };
    text.replace(['(', ')'], "")
}

/// Puts a step's outputs into the scope of the steps after it; those of a loop as JSON lists.
fn into_scope(step: &str, fanned: bool, outputs: &[Outputs], variables: &mut Variables) {
    let prefix = format!("steps.{step}.outputs");
    if !fanned {
        for outputs in outputs {
            for Parameter { name, value } in &outputs.parameters {
                variables.insert(format!("{prefix}.parameters.{name}"), value.clone());
            }
            if let Some(result) = &outputs.result {
                variables.insert(format!("{prefix}.result"), result.clone());
            }
        }
        return;
    }
    let maps = outputs.iter().map(|o| {
        o.parameters.iter().map(|p| (p.name.clone(), Value::from(p.value.clone()))).collect::<Map<String, Value>>()
    });
    variables.insert(format!("{prefix}.parameters"), Value::from_iter(maps).to_string());
    let results = outputs.iter().filter_map(|o| serde_json::from_str::<Value>(o.result.as_deref()?).ok());
    variables.insert(format!("{prefix}.result"), Value::from_iter(results).to_string());
}

/// What a `steps` template declares as its own outputs, as far as its steps gave them.
fn outputs_of_steps(template: &Value, variables: &Variables) -> Vec<Parameter> {
    named(&template["outputs"]["parameters"])
        .filter_map(|(name, declared)| {
            let value = substitute_text(declared["valueFrom"]["parameter"].as_str()?, variables);
            (!has_tag(&value)).then(|| Parameter { name: name.to_owned(), value })
        })
        .collect()
}
