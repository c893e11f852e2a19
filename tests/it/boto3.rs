//! boto3, a client that nobody here wrote, keeps the simulator honest: it drives every operation.

use std::fs;

use serde_json::json;

use crate::support::{
    python::{python, run_script},
    simulator::Simulator,
};

#[actix_rt::test]
async fn boto3_drives_every_operation_of_the_simulator() {
    let Some(python) = python() else { return };
    let simulator = Simulator::start(json!({})).await;
    // Another thread, so that nothing here stands still while Python runs.
    let endpoint = simulator.endpoint.clone();
    let said = actix_rt::task::spawn_blocking(move || run_script(python, "drive_simulator.py", &[&endpoint])).await;
    let said = said.expect("the script's thread");
    let written = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/drive_simulator.py"))
        .expect("the script is there");
    let cases = written.matches("\n    def test_").count();
    assert!(said.contains(&format!("Ran {cases} tests")) && cases > 0, "{said}");
}
