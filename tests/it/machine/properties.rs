//! Whatever happens: no panic, one answer a request, ends repeat, never two live executions of a key.

use std::{collections::HashMap, time::Duration};

use awf_aws::{
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::identity::Marker,
};
use proptest::prelude::*;

use super::world::{World, phase, task};

#[derive(Clone, Debug)]
enum Deed {
    Ask { node: u8, attempt: u32 },
    Pass { seconds: u64 },
    End { number: usize, success: bool },
    Fail { operation: usize, kind: usize },
    LoseReply { operation: usize },
    Restart,
}

const OPERATIONS: [&str; 6] = [
    "GetCallerIdentity",
    "StartPipelineExecution",
    "DescribePipelineExecution",
    "ListPipelineExecutions",
    "ListPipelineExecutionSteps",
    "StopPipelineExecution",
];
const KINDS: [CallErrorKind; 6] = [
    CallErrorKind::Throttled,
    CallErrorKind::QuotaExceeded,
    CallErrorKind::OutcomeUnknown,
    CallErrorKind::Unreachable,
    CallErrorKind::Credentials,
    CallErrorKind::Conflict,
];

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (0..3_u8, 0..3_u32).prop_map(|(node, attempt)| Deed::Ask { node, attempt }),
        4 => (0..90_u64).prop_map(|seconds| Deed::Pass { seconds }),
        2 => (0..6_usize, any::<bool>()).prop_map(|(number, success)| Deed::End { number, success }),
        2 => (0..OPERATIONS.len(), 0..KINDS.len()).prop_map(|(operation, kind)| Deed::Fail { operation, kind }),
        1 => (0..OPERATIONS.len()).prop_map(|operation| Deed::LoseReply { operation }),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 1..60)
}

fn check_never_two_live(w: &World) {
    let mut live: HashMap<String, usize> = HashMap::new();
    for execution in w.executions.iter().filter(|e| e.status.is_live()) {
        let marker = Marker::parse(execution.description.as_deref().unwrap()).unwrap();
        *live.entry(marker.key.hex(64)).or_default() += 1;
    }
    assert!(live.values().all(|n| *n == 1), "two live executions of one key: {live:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn ends_repeat_and_no_key_ever_has_two_live_executions(deeds in deeds()) {
        let mut w = World::new();
        let mut ends = HashMap::new();
        for deed in deeds {
            match deed {
                Deed::Ask { node, attempt } => {
                    let task = task(&format!("n{node}"), attempt);
                    let reply = w.ask(&task);
                    prop_assert_eq!(reply.requeue.is_some(), !phase(&reply).is_some_and(Phase::is_terminal));
                    if let Some(end) = ends.get(&(node, attempt)) {
                        prop_assert_eq!(&reply, end);
                    } else if phase(&reply).is_some_and(Phase::is_terminal) {
                        ends.insert((node, attempt), reply);
                    }
                }
                Deed::Pass { seconds } => w.pass(Duration::from_secs(seconds)),
                Deed::End { number, success } => {
                    if w.executions.get(number).is_some_and(|e| e.status.is_live()) {
                        w.end(number, if success { Status::Succeeded } else { Status::Failed });
                    }
                }
                Deed::Fail { operation, kind } => w.fail(OPERATIONS[operation], &[KINDS[kind]]),
                Deed::LoseReply { operation } => w.lost_replies.push_back(OPERATIONS[operation]),
                Deed::Restart => {
                    w.restart();
                    ends.clear();
                }
            }
            check_never_two_live(&w);
        }
    }
}
