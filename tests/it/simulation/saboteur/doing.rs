//! What a machine wants done: calls and answers on their way out.

use std::time::Duration;

use awf_aws::{
    pipelines::{Call, CallError, CallErrorKind, ClientKey, StartExecution, Time},
    protocol::{ExecuteTemplateReply, Reply},
    workflow::{CallId, Command, RequestId, identity::Marker},
};

use super::{Sabotage, Saboteur, Scene, Sent, lies};
use crate::simulation::{agent::ended, checks::Process, plan::SECOND, world::World};

/// A stop that is held back leaves so late.
const HELD_FOR: Duration = Duration::from_secs(20 * 60);
/// How often an ended execution is looked at.
const POLLED_ON_EVERY: Duration = Duration::from_secs(10);

/// What becomes of a command.
#[derive(Debug)]
pub enum Act {
    CarryOut(Command),
    /// The call does not leave, and is answered so.
    Refuse(CallId, CallError),
}

impl World {
    /// What is done instead of what the machine of a process wants done.
    pub fn meddles(&mut self, process: Process, commands: Vec<Command>) -> Vec<Act> {
        let Some(scene) = self.scene(process) else { return commands.into_iter().map(Act::CarryOut).collect() };
        let mut acts = Vec::new();
        for command in commands {
            match command {
                Command::Call { call, client, operation, paced, waited } => {
                    let name = (process, call);
                    self.saboteur.open.insert(name, (client.clone(), operation.clone()));
                    if self.saboteur.refuses(scene, &operation) {
                        let message = "not authorized to perform: sagemaker:StartPipelineExecution".to_owned();
                        let error = CallError { kind: CallErrorKind::Denied, code: None, message, request_id: None };
                        acts.push(Act::Refuse(call, error));
                        continue;
                    }
                    let (client, operation) = self.saboteur.altered(scene, client, operation);
                    let command = Command::Call { call, client, operation, paced, waited };
                    acts.extend(self.saboteur.not_held(scene, command).map(Act::CarryOut));
                }
                Command::Answer { request, reply, started } => {
                    let reply = self.answer_altered(scene, request, reply);
                    acts.push(Act::CarryOut(Command::Answer { request, reply, started }));
                }
                command => acts.push(Act::CarryOut(command)),
            }
        }
        acts.extend(self.saboteur.adds(scene).into_iter().map(Act::CarryOut));
        acts
    }

    fn answer_altered(&mut self, Scene { sabotage, process, .. }: Scene, request: RequestId, reply: Reply) -> Reply {
        if sabotage != Sabotage::EndNotRepeated || ended(&reply.read()).is_none() {
            return reply;
        }
        let Some(node) = self.node_asked(process.0, request) else { return reply };
        let first = self.saboteur.told.insert((process, node));
        if first { reply } else { Reply::Once(ExecuteTemplateReply::free_poll(15 * SECOND)) }
    }
}

impl Saboteur {
    /// Whether a call does not leave, and is denied.
    fn refuses(&self, Scene { sabotage, process, .. }: Scene, call: &Call) -> bool {
        let Call::StartExecution(start) = call else { return false };
        sabotage == Sabotage::DenialHoldsAll && self.denied.contains(&(process, start.pipeline.clone()))
    }

    /// The call that leaves instead, and through which client.
    fn altered(&mut self, scene: Scene, client: ClientKey, call: Call) -> (ClientKey, Call) {
        match call {
            Call::StartExecution(start) => {
                let marker = Marker::parse(&start.description);
                let token = marker.as_ref().map(|marker| self.token(scene, &start, marker));
                let first = marker.and_then(|marker| self.clients.get(&(scene.process, marker.key)));
                let client = match first {
                    Some(first) if scene.sabotage == Sabotage::FamilyKeepsItsClient => first.clone(),
                    _ => client,
                };
                let token = token.unwrap_or_else(|| start.token.clone());
                (client, Call::StartExecution(Box::new(StartExecution { token, ..*start })))
            }
            Call::RetryExecution { arn, parallelism, .. } if scene.sabotage == Sabotage::ResumeTokenForEver => {
                let token = lies::token(&["resume", &arn]);
                (client, Call::RetryExecution { arn, token, parallelism })
            }
            Call::StopExecution { arn, .. } if scene.sabotage == Sabotage::StopTokenForEver => {
                let token = lies::token(&[&arn]);
                (client, Call::StopExecution { arn, token })
            }
            Call::StopExecution { .. } if scene.sabotage == Sabotage::StopsWithoutPause => {
                if let Call::StopExecution { arn, .. } = &call {
                    self.repeated.insert((scene.process, arn.clone()), (client.clone(), call.clone()));
                }
                (client, call)
            }
            call => (client, call),
        }
    }

    fn token(&mut self, Scene { sabotage, process, now }: Scene, start: &StartExecution, marker: &Marker) -> String {
        let original = &start.token;
        let sent = *self.starts.entry((process, original.clone())).or_insert(Sent { first: now, lost: 0 });
        let (key, attempt) = (marker.key.hex(64), marker.attempt.to_string());
        match sabotage {
            Sabotage::TokenWithoutAttempt => lies::token(&[&key, marker.predecessor.as_deref().unwrap_or_default()]),
            Sabotage::TokenWithoutPredecessor => lies::token(&[&key, &attempt]),
            Sabotage::TokenOfTheMoment => format!("{:064}", sent.first.millis()),
            Sabotage::TokenNewAfterLoss if sent.lost > 0 => lies::token(&[original, &sent.lost.to_string()]),
            _ => original.clone(),
        }
    }

    /// A command that leaves now; what is held back waits.
    fn not_held(&mut self, Scene { sabotage, process, now }: Scene, command: Command) -> Option<Command> {
        let stops = matches!(command, Command::Call { operation: Call::StopExecution { .. }, .. });
        if sabotage == Sabotage::StopsHeldBack && stops {
            self.held.push((process, now.plus(HELD_FOR), command));
            return None;
        }
        Some(command)
    }

    /// What the process does besides.
    fn adds(&mut self, Scene { sabotage, process, now }: Scene) -> Vec<Command> {
        let due = |(whose, at, _): &mut (Process, Time, Command)| *whose == process && *at <= now;
        let held: Vec<Command> = self.held.extract_if(.., due).map(|(.., command)| command).collect();
        let mut calls: Vec<(ClientKey, Call)> = Vec::new();
        if sabotage == Sabotage::StopsWithoutPause {
            calls
                .extend(self.repeated.iter().filter(|((whose, _), _)| *whose == process).map(|(_, call)| call.clone()));
        }
        for ((_, arn), (client, looked)) in self.ended.iter_mut().filter(|((whose, _), _)| *whose == process) {
            if now.since(*looked) >= POLLED_ON_EVERY {
                *looked = now;
                calls.push((client.clone(), Call::DescribeExecution { arn: arn.clone() }));
            }
        }
        let own = calls.into_iter().map(|(client, operation)| {
            self.own_calls += 1;
            let call = CallId(u64::MAX - self.own_calls);
            Command::Call { call, client, operation, paced: false, waited: Duration::ZERO }
        });
        held.into_iter().chain(own).collect()
    }
}
