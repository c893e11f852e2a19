//! The process itself: how large the binary is, how soon it answers, what it takes when it has nothing to do.

use std::{fs, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{MIB, Subject, Wanted};
use crate::{
    aws::Aws,
    plugin::{Plugin, requests},
    process::BINARY,
    stats::median,
    table::{Budget, Row, Unit},
    tasks::{LONG, execute},
};

/// The size of the binary.
pub fn size() -> Subject {
    const NAME: &str = "binary/size";
    Subject::new(vec![NAME.to_owned()], async {
        let bytes = fs::metadata(BINARY).map(|file| file.len()).unwrap_or_else(|e| panic!("{BINARY}: {e}"));
        vec![Row::new(NAME, bytes as f64, Unit::Bytes, Budget::AtMost(17.0 * MIB))]
    })
}

/// From the process's start to its first answer to a task.
pub fn birth(wanted: Wanted) -> Subject {
    const NAME: &str = "start/first_answer";
    Subject::new(vec![NAME.to_owned()], async move {
        let aws = Aws::start(0, json!({})).await;
        let mut task = execute("birth", 0, LONG);
        // Answered without AWS, whose latency is not the plugin's.
        task["template"]["plugin"]["awf-aws-plugin"]["mock"] = json!(true);
        let request = requests(&[task]);
        let mut took = Vec::new();
        for _ in 0..wanted.of(15, 3) {
            let began = Instant::now();
            let mut plugin = Plugin::launch(&aws, &[]);
            plugin.answers(&request[0], Duration::from_millis(1)).await;
            took.push(began.elapsed().as_secs_f64());
        }
        let longest = took.iter().copied().fold(0.0, f64::max);
        let remark = format!("median of {} starts; the longest {:.0} ms", took.len(), longest * 1e3);
        vec![Row::new(NAME, median(took), Unit::Seconds, Budget::AtMost(0.1)).remark(remark)]
    })
}

/// Resident memory of a process that was asked nothing.
pub fn idle() -> Subject {
    const NAME: &str = "memory/idle";
    Subject::new(vec![NAME.to_owned()], async {
        let aws = Aws::start(0, json!({})).await;
        vec![Row::new(NAME, idle_memory(&aws).await, Unit::Bytes, Budget::AtMost(16.0 * MIB))]
    })
}

/// Resident memory a little after the start, in bytes.
pub async fn idle_memory(aws: &Aws) -> f64 {
    let plugin = Plugin::start(aws, &[]).await;
    // The SDK is connected beside the first requests.
    sleep(Duration::from_secs(2)).await;
    plugin.process.memory("VmRSS")
}
