//! AWS as a process meets it: the simulator's book, and what goes wrong on the way there and back.

use std::time::Duration;

use awf_aws::{
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey},
    simulator::{
        door,
        faults::{Faults, Times},
    },
    workflow::{CallId, identity::execution_id},
};

use super::{
    checks::Process,
    pod::PodId,
    world::{Happening, World},
};

impl World {
    /// A call arrives at AWS and has its effect; its answer leaves.
    pub fn call_aws(
        &mut self,
        pod: PodId,
        plugin: u32,
        call: CallId,
        client: &ClientKey,
        operation: Call,
        knew_over: bool,
    ) {
        let (known, resumed) = (self.book.executions().len(), self.resumes_of(&operation));
        let process = (pod, plugin);
        let (ended, after) = match self.refused(process, &operation) {
            Some(error) => (CallEnded { result: Err(error), server_time: None }, Duration::ZERO),
            None => self.book_answers(client, &operation),
        };
        let ended = self.as_a_moment_ago(&operation, ended);
        if self.resumes_of(&operation) > resumed {
            self.check_resumed(process, &operation, knew_over);
        }
        self.check_call(process, &operation, &ended.result, known, knew_over);
        self.tell(|_| format!("{pod:?} {} -> {}", spell(&operation), spell_result(&ended)));
        let slow = self.plan.troubles.slow;
        let late = if self.strikes(slow) { self.ms(1000, 30_000) } else { Duration::ZERO };
        if late >= Duration::from_secs(10) {
            self.bites.add("fault: answer 10 s late or more");
            self.disturbed(pod.0);
        }
        let wait = after + late + self.ms(5, 200);
        let sent = self.now;
        self.after(wait, Happening::FromAws { pod, plugin, call, ended, sent });
    }

    /// A describe may lag for a moment: just after a resume it shows the end before.
    fn as_a_moment_ago(&mut self, operation: &Call, mut ended: CallEnded) -> CallEnded {
        if let (Call::DescribeExecution { arn }, Ok(CallReply::Execution(shown))) = (operation, &mut ended.result)
            && shown.status.is_live()
            && let Some((resumed, status)) = self.resumed_from(arn)
            && self.now < resumed.plus(self.plan.describe_lag)
        {
            (shown.status, shown.modified) = (status, Some(resumed));
            self.bites.add("fault: a describe shows the end before a resume");
        }
        ended
    }

    /// What keeps the call from the book: the network, or a policy.
    fn refused(&mut self, process: Process, operation: &Call) -> Option<CallError> {
        let error = |kind: CallErrorKind, message: &str| {
            Some(CallError { kind, code: None, message: message.to_owned(), request_id: None })
        };
        if self.strikes(self.plan.odds.unreachable) {
            self.bites.add("fault: out of reach");
            return error(CallErrorKind::Unreachable, "no route to host");
        }
        let gap = self.plan.credentials_gap.map(|(from, to)| (Self::START.plus(from), Self::START.plus(to)));
        if gap.is_some_and(|(from, to)| from <= self.now && self.now < to) {
            self.bites.add("fault: a call without credentials");
            return error(CallErrorKind::Credentials, "the web identity token expired");
        }
        let kind = self.refusal_of(process, operation)?;
        self.bites.add(match kind {
            CallErrorKind::Denied => "fault: a call denied",
            _ => "fault: a call without credentials",
        });
        if matches!(operation, Call::ListExecutions { .. }) && kind == CallErrorKind::Denied {
            self.listing_was_denied(process);
        }
        let text = match kind {
            CallErrorKind::Denied => format!("not authorized to perform: sagemaker:{}", operation.operation()),
            _ => "The security token included in the request is expired".to_owned(),
        };
        error(kind, &text)
    }

    fn refusal_of(&mut self, process: Process, operation: &Call) -> Option<CallErrorKind> {
        let node = self.node_of_start(operation);
        let now = self.now;
        let mut struck = None;
        for (number, refusal) in self.plan.troubles.refusals.iter().enumerate() {
            let from = Self::START.plus(refusal.from);
            let until = refusal.until.map(|until| Self::START.plus(until));
            let its_node = refusal.node.is_none_or(|planned| {
                let Some((0, node)) = node else { return false };
                self.workflows[0].nodes[node].plan.name == self.plan.workflows[0].nodes[planned].name
            });
            let meant = refusal.operation.is_none_or(|name| name == operation.operation()) && its_node;
            let open = now >= from && until.map_or(!self.spent.contains(&number), |until| now < until);
            if meant && open {
                self.spent.insert(number);
                if refusal.node.is_some() {
                    self.bites.add("fault: starts of one node denied");
                } else if refusal.until.is_some() {
                    self.bites.add("fault: denied for a while");
                }
                struck = Some(refusal.kind);
                break;
            }
        }
        if let (Some(_), Some((workflow, node))) = (struck, node) {
            self.start_was_denied(process, workflow, node);
        }
        struck
    }

    fn book_answers(&mut self, client: &ClientKey, operation: &Call) -> (CallEnded, Duration) {
        let odds = self.plan.odds;
        let name = operation.operation();
        let congested = self.is_congested();
        let mut strikes =
            [odds.throttle, odds.server_error, odds.lost_reply, odds.hang, odds.conflict].map(|o| self.strikes(o));
        strikes[0] |= congested;
        let Faults { throttle, server_error, lose_reply, hang, conflict, .. } = &mut self.book.faults;
        for (fault, strikes) in [throttle, server_error, lose_reply, hang, conflict].into_iter().zip(strikes) {
            fault.clear();
            if strikes {
                fault.insert(name.to_owned(), Times::Next(1));
            }
        }
        // On a start a conflict would say that the execution exists.
        if name != "StopPipelineExecution" {
            self.book.faults.conflict.clear();
        }
        let words = ["fault: throttled", "fault: server error", "fault: reply lost", "fault: silence"];
        for (word, _) in words.into_iter().zip(strikes).filter(|(_, strikes)| *strikes) {
            self.bites.add(word);
        }
        if strikes[4] && name == "StopPipelineExecution" {
            self.bites.add("fault: conflict at a stop");
        }
        let outcome = door::ask(&mut self.book, "AKIAPLUGIN", client, operation, self.now);
        let server_time = outcome.answered.then(|| self.date());
        (CallEnded { result: outcome.result, server_time }, outcome.after)
    }
}

pub fn spell(call: &Call) -> String {
    match call {
        Call::StartExecution(start) => format!("Start {} token {}", start.pipeline, &start.token[..8]),
        Call::DescribeExecution { arn } | Call::ListSteps { arn, .. } | Call::StopExecution { arn, .. } => {
            format!("{} {}", call.operation(), execution_id(arn))
        }
        Call::UpdateExecution { arn, description } => {
            let (_, marker) = description.split_once(" attempt=").unwrap_or_default();
            format!("Update {} attempt {marker}", execution_id(arn))
        }
        Call::RetryExecution { arn, token, .. } => format!("Retry {} token {}", execution_id(arn), &token[..8]),
        Call::ListExecutions { pipeline, .. } => format!("List {pipeline}"),
        _ => call.operation().to_owned(),
    }
}

fn spell_result(ended: &CallEnded) -> String {
    match &ended.result {
        Ok(CallReply::Started { arn }) => execution_id(arn).to_owned(),
        Ok(CallReply::Execution(execution)) => execution.status.as_str().to_owned(),
        Ok(CallReply::Executions { page, .. }) => {
            let ours = page.iter().filter(|e| e.description.as_ref().is_some_and(|d| d.contains("uid=uid-")));
            let ours: Vec<_> = ours.map(|e| format!("{} {}", execution_id(&e.arn), e.status.as_str())).collect();
            format!("{} executions {}", page.len(), ours.join(", "))
        }
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.kind.as_str(), error.message.chars().take(60).collect::<String>()),
    }
}
