//! Other people: they start the same pipelines, retry and stop in the console, and delete.

use std::time::Duration;

use awf_aws::{
    input::{Task, WorkflowId},
    pipelines::{Call, CallReply, ClientKey, StartExecution, Status, Time},
    simulator::{door, faults::Faults},
    workflow::identity::{Key, Marker, execution_id},
};
use serde_json::json;

use super::{
    plan::{ELSEWHERE, PIPELINES, SECOND},
    troubles::Deed,
    world::{Happening, World},
};
use crate::machine::task;

impl World {
    /// Does something with a book that works without faults and knows no quota.
    fn undisturbed<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let quiet = Faults { quota: usize::MAX, steps: self.book.faults.steps.clone(), ..Faults::default() };
        let faults = std::mem::replace(&mut self.book.faults, quiet);
        let result = act(self);
        self.book.faults = Faults { steps: self.book.faults.steps.clone(), ..faults };
        result
    }

    /// Starts what some nodes attach to: another workflow's execution.
    pub fn start_elsewhere(&mut self) -> String {
        let theirs = Task { workflow: WorkflowId { uid: "elsewhere".into(), ..task("", 0).workflow }, ..task("", 0) };
        let marker = Marker::of(&theirs, &Key::of_execution(&theirs), None, "-", None);
        let (text, now) = (marker.describe(None), self.now);
        self.undisturbed(|w| w.start_strange(ELSEWHERE, "e".repeat(64), text, now)).expect("nothing is deleted yet")
    }

    fn start_strange(&mut self, pipeline: &str, token: String, description: String, now: Time) -> Option<String> {
        let start = StartExecution {
            pipeline: pipeline.to_owned(),
            token,
            display_name: "strange".to_owned(),
            description,
            parameters: Vec::new(),
            version: None,
            max_parallel_steps: None,
            selective: None,
        };
        let call = Call::StartExecution(Box::new(start));
        match door::ask(&mut self.book, "AKIASOMEBODY", &task("", 0).client, &call, now).result {
            Ok(CallReply::Started { arn }) => {
                self.checks.knows_nothing_of_the_next();
                Some(arn)
            }
            // Somebody has deleted the pipeline.
            _ => None,
        }
    }

    /// What other people have started before, of every pipeline; some of it in workflows like ours.
    pub fn start_strangers(&mut self) {
        let Some(strangers) = self.plan.troubles.strangers else { return };
        let began = Self::START.minus(Duration::from_secs(7000));
        self.undisturbed(|w| {
            for number in 0..strangers.before {
                let pipeline = PIPELINES[number % 2];
                let at = began.plus(Duration::from_secs(20 * number as u64));
                w.start_strange(pipeline, format!("{number:064}"), w.strange_text(number), at);
            }
        });
        self.after(strangers.every, Happening::Strangers);
    }

    /// They start many at once.
    pub fn strangers(&mut self) {
        let Some(strangers) = self.plan.troubles.strangers.filter(|_| !self.is_calm()) else { return };
        let pipeline = PIPELINES[self.rng.usize(0..3)];
        let now = self.now;
        self.undisturbed(|w| {
            for _ in 0..strangers.burst {
                let number = w.book.executions().len();
                w.start_strange(pipeline, format!("{number:064}"), w.strange_text(number), now);
            }
        });
        self.tell(|_| format!("strangers start {} of {pipeline}", strangers.burst));
        self.after(strangers.every, Happening::Strangers);
    }

    /// What stands in their descriptions: nothing of ours, or another workflow's marker for a node of the same name.
    fn strange_text(&self, number: usize) -> String {
        let node = &self.plan.workflows[0].nodes[0].name;
        let mut theirs = task(node, 0);
        theirs.workflow.uid = format!("strange-{number}");
        let marker = Marker::of(&theirs, &Key::of_execution(&theirs), None, "-", None);
        if number.is_multiple_of(3) { marker.describe(None) } else { "by hand".to_owned() }
    }

    pub fn deed(&mut self, deed: Deed) {
        let wanted = |status: &Status| match deed {
            Deed::RetryInConsole => matches!(status, Status::Failed | Status::Stopped),
            Deed::StopInConsole => *status == Status::Executing,
            Deed::ForgetExecution | Deed::DeletePipeline => true,
        };
        self.book.settle(self.now);
        let ours: Vec<usize> = self.checks.ours().filter(|i| wanted(&self.book.executions()[*i].status)).collect();
        let Some(chosen) = self.rng.choice(&ours).copied() else { return };
        let execution = &self.book.executions()[chosen];
        if execution.deleted {
            return;
        }
        let (arn, pipeline) = (execution.arn.clone(), execution.pipeline.clone());
        let client = ClientKey { region: execution.scope.region.clone(), role_arn: None, external_id: None };
        let key = format!("AKIA{}", execution.scope.account);
        match deed {
            Deed::RetryInConsole => self.retry_in_console(chosen),
            Deed::StopInConsole => {
                let call = Call::StopExecution { arn: arn.clone(), token: format!("{:064}", self.now.millis()) };
                let ended = self.undisturbed(|w| door::ask(&mut w.book, &key, &client, &call, w.now)).result;
                if ended.is_ok() {
                    self.checks.stopped_by_others.insert(arn.clone(), self.now);
                    self.bites.add("fault: stopped in the console");
                }
            }
            Deed::ForgetExecution => {
                if self.book.forget(&arn, self.now) {
                    self.checks.was_deleted(chosen);
                    self.bites.add("fault: execution deleted");
                }
            }
            Deed::DeletePipeline => {
                let caller = self.book.caller(&key, &client.region);
                let input = json!({"PipelineName": pipeline, "ClientRequestToken": "d".repeat(64)});
                let answer = self.undisturbed(|w| w.book.call(&caller, "DeletePipeline", &input, w.now));
                if answer.result.is_ok() {
                    let gone = self.checks.ours().filter(|i| self.book.executions()[*i].deleted);
                    let gone: Vec<usize> = gone.collect();
                    gone.into_iter().for_each(|i| self.checks.was_deleted(i));
                    self.checks.deleted_pipelines.insert(pipeline.clone());
                    self.bites.add("fault: pipeline deleted");
                }
            }
        }
        self.disturb_all();
        self.tell(|_| format!("somebody: {deed:?} {}", execution_id(&arn)));
    }

    fn retry_in_console(&mut self, chosen: usize) {
        let execution = &self.book.executions()[chosen];
        let (arn, region, account) =
            (execution.arn.clone(), execution.scope.region.clone(), execution.scope.account.clone());
        let caller = self.book.caller(&format!("AKIA{account}"), &region);
        let input = json!({"PipelineExecutionArn": arn, "ClientRequestToken": format!("{:064}", self.now.millis())});
        let answer = self.undisturbed(|w| w.book.call(&caller, "RetryPipelineExecution", &input, w.now));
        if answer.result.is_ok() {
            self.checks.revived.insert(arn.clone(), self.now);
            self.bites.add("fault: retried in the console");
            self.disturb_all();
            self.tell(|_| format!("somebody retries {}", execution_id(&arn)));
        }
    }

    /// Somebody watches the console and retries what has just failed or been stopped.
    pub fn nosy(&mut self) {
        if self.is_calm() {
            return;
        }
        self.book.settle(self.now);
        let since = self.now.minus(20 * SECOND);
        let ended = |i: &usize| {
            let execution = &self.book.executions()[*i];
            let fresh = execution.modified >= since && !execution.deleted;
            fresh && matches!(execution.status, Status::Failed | Status::Stopped)
        };
        let fresh: Vec<usize> = self.checks.ours().filter(ended).collect();
        for chosen in fresh {
            if self.rng.bool() {
                self.retry_in_console(chosen);
            }
        }
        self.after(20 * SECOND, Happening::Nosy);
    }
}
