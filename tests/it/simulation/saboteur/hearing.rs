//! What a machine hears: requests, what Kubernetes says, AWS's answers.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    input::{Action, Task},
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Execution, Status, Time, jobs::JobResults},
    workflow::{
        Event, WorkflowState,
        identity::{Key, Marker},
    },
};

use super::{Sabotage, Saboteur, Scene, lies};
use crate::simulation::{checks::Process, world::World};

/// A revival stays hidden for so long.
const REVIVED_LATE: Duration = Duration::from_secs(3600);
/// Lists lag for so long.
const LISTED_LATE: Duration = Duration::from_secs(20 * 60);

impl World {
    /// What the machine of a process hears instead; nothing where the event is not for it.
    pub fn overhears(&mut self, process: Process, event: Event) -> Option<Event> {
        let Some(scene) = self.scene(process) else { return Some(event) };
        Some(match event {
            Event::Requested { request, task } => {
                self.saboteur.is_asked(process, &task);
                let task = lies::told(scene.sabotage, Task::clone(&task), self.limit_of(process.0));
                Event::Requested { request, task: Arc::new(task) }
            }
            Event::WorkflowObserved(state) => Event::WorkflowObserved(self.saboteur.observed(scene, state)),
            Event::CallEnded { call, mut ended } => {
                // What it asked for itself is not for the machine.
                let (client, asked) = self.saboteur.open.remove(&(process, call))?;
                ended.result = self.falsified(scene, &client, &asked, ended.result);
                Event::CallEnded { call, ended }
            }
            event => event,
        })
    }

    /// Whether the pace of a process hears that AWS throttled it.
    pub fn hears_throttle(&mut self, process: Process, throttled: bool) -> bool {
        if self.saboteur.sabotage != Some(Sabotage::SlowForEver) {
            return throttled;
        }
        if throttled {
            self.saboteur.throttled.insert(process);
        }
        self.saboteur.throttled.contains(&process)
    }

    fn falsified(
        &mut self,
        scene: Scene,
        client: &ClientKey,
        call: &Call,
        result: Result<CallReply, CallError>,
    ) -> Result<CallReply, CallError> {
        match result {
            Ok(reply) => {
                let hidden = |arn: &str| {
                    let revived = self.checks.revived.get(arn).copied();
                    revived.filter(|at| scene.now.since(*at) < REVIVED_LATE)
                };
                let mut reply = self.saboteur.answered(scene, client, call, reply);
                lies::shown(&mut reply, |execution, listed| {
                    let revived = hidden(&execution.arn);
                    self.saboteur.keeps(scene, execution, listed, revived)
                });
                Ok(reply)
            }
            Err(error) => self.saboteur.failed(scene, call, error),
        }
    }
}

impl Saboteur {
    fn is_asked(&mut self, process: Process, task: &Task) {
        if !matches!(task.action, Action::Execute(_)) {
            return;
        }
        let key = (process, Key::of_execution(task));
        self.clients.entry(key).or_insert_with(|| task.client.clone());
        let newest = self.newest.entry(key).or_default();
        *newest = task.attempt.max(*newest);
    }

    fn observed(&mut self, Scene { sabotage, process, .. }: Scene, state: WorkflowState) -> WorkflowState {
        if let WorkflowState::Alive { deadline, server_time, .. } = state {
            return match sabotage {
                Sabotage::StopOnAlive => WorkflowState::Over,
                Sabotage::NoEpoch => WorkflowState::Alive { started_at: Some(Time::at(0)), deadline, server_time },
                _ => {
                    self.alive.insert(process, state);
                    state
                }
            };
        }
        let over = matches!(state, WorkflowState::Over | WorkflowState::Gone);
        if over && sabotage == Sabotage::StartsAfterOver {
            return self.alive.get(&process).copied().unwrap_or(WorkflowState::Unknown);
        }
        state
    }

    fn failed(
        &mut self,
        Scene { sabotage, process, .. }: Scene,
        call: &Call,
        error: CallError,
    ) -> Result<CallReply, CallError> {
        use CallErrorKind::{Credentials, Denied, Invalid, OutcomeUnknown, QuotaExceeded};
        match (call, error.kind) {
            (Call::StartExecution(start), kind) => {
                if let Some(sent) = self.starts.get_mut(&(process, start.token.clone())) {
                    sent.lost += u32::from(kind == OutcomeUnknown);
                }
                let key = Marker::parse(&start.description).map(|marker| (process, marker.key));
                if kind == Denied {
                    self.denied.insert((process, start.pipeline.clone()));
                }
                Err(match (sabotage, kind) {
                    (Sabotage::UnknownIsFailure, OutcomeUnknown) => lies::like(&error, Invalid),
                    (Sabotage::DenialIsFinal, Denied | Credentials) => lies::like(&error, Invalid),
                    (Sabotage::LosesItsPlace, QuotaExceeded) if key.is_some_and(|key| self.full.insert(key)) => {
                        lies::like(&error, Denied)
                    }
                    _ => error,
                })
            }
            (Call::RetryExecution { .. }, OutcomeUnknown) if sabotage == Sabotage::UnknownResumeIsRefused => {
                Err(lies::like(&error, Invalid))
            }
            (Call::DescribeExecution { arn }, _) if sabotage == Sabotage::TroubleIsTheEnd => {
                let known = self.seen.get(&(process, arn.clone())).cloned().ok_or(error)?;
                Ok(CallReply::Execution(Execution { status: Status::Failed, modified: known.created, ..known }))
            }
            _ => Err(error),
        }
    }

    fn answered(
        &mut self,
        Scene { sabotage, process, now }: Scene,
        client: &ClientKey,
        call: &Call,
        mut reply: CallReply,
    ) -> CallReply {
        match (call, &mut reply) {
            (Call::ListExecutions { pipeline, .. }, CallReply::Executions { page, next_token: more }) => {
                if sabotage == Sabotage::NoListing {
                    page.clear();
                    *more = None;
                }
                if sabotage == Sabotage::RenewedListingsFromSnapshot {
                    let (known, complete) = self.snapshots.entry((process, pipeline.clone())).or_default();
                    if *complete {
                        page.retain(|execution| known.contains(&execution.arn));
                    } else {
                        known.extend(page.iter().map(|execution| execution.arn.clone()));
                        *complete = more.is_none();
                    }
                }
            }
            (Call::ListSteps { arn, .. }, steps) if sabotage == Sabotage::StepsOfTheRunning => {
                return self.steps.entry((process, arn.clone())).or_insert_with(|| steps.clone()).clone();
            }
            (Call::DescribeJob { .. }, CallReply::Job(job)) if sabotage == Sabotage::JobsTellNothing => {
                *job = JobResults::default();
            }
            (Call::DescribeJob { .. }, CallReply::Job(_)) if sabotage == Sabotage::JobsMixedUp => {
                return self.job.insert(process, reply.clone()).unwrap_or(reply);
            }
            (Call::DescribeExecution { arn }, CallReply::Execution(execution)) if !execution.status.is_live() => {
                self.repeated.remove(&(process, arn.clone()));
                if sabotage == Sabotage::PollsOn {
                    self.ended.entry((process, arn.clone())).or_insert_with(|| (client.clone(), now));
                }
            }
            _ => {}
        }
        reply
    }

    /// Falsifies one execution, and says whether a list shows it at all.
    fn keeps(
        &mut self,
        Scene { sabotage, process, now }: Scene,
        execution: &mut Execution,
        listed: bool,
        revived: Option<Time>,
    ) -> bool {
        let live = execution.status.is_live();
        let name = (process, execution.arn.clone());
        match sabotage {
            Sabotage::AdoptsOnlyTheLiving => return live,
            Sabotage::ListsLagFar => return execution.created.is_some_and(|at| now.since(at) >= LISTED_LATE),
            Sabotage::ForgetsSiblings => lies::forget(execution, |marker| marker.asked = None),
            Sabotage::MarkersForgetResumes => lies::forget(execution, |marker| marker.continues = None),
            Sabotage::RunsToldApartByClocks => lies::forget(execution, |marker| marker.run = None),
            Sabotage::FollowsOnlyItsOwnAttempt => {
                let marker = lies::marker(execution);
                let newest = marker.as_ref().and_then(|m| self.newest.get(&(process, m.key)));
                if live && marker.zip(newest).is_some_and(|(marker, newest)| marker.attempt < *newest) {
                    execution.status = Status::Stopped;
                    return false;
                }
            }
            Sabotage::RevivalsStayHidden => {
                if let Some(at) = revived {
                    execution.status = Status::Failed;
                    execution.modified = execution.modified.map(|_| at);
                }
            }
            Sabotage::BelievesStaleLists => {
                if listed {
                    self.listed.insert(name, execution.status.clone());
                    return true;
                }
                // An end of long ago: the machine looks again when a list contradicts it.
                execution.modified = execution.modified.map(|at| at.minus(Duration::from_secs(120)));
                if let Some(stale) = self.listed.remove(&name).filter(|s| lies::rank(s) < lies::rank(&execution.status))
                {
                    execution.status = stale;
                }
            }
            Sabotage::TroubleIsTheEnd => {
                self.seen.insert(name, execution.clone());
            }
            _ => {}
        }
        true
    }
}
