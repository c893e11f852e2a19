//! Requests that are made to cost memory: whatever is sent, the process stays within its budget.

use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute, request},
    process::MEMORY_BUDGET,
};

/// The largest body that is read, less what stands around a bomb.
const LARGEST: usize = (2 << 20) - 4_096;

/// What of the budget the pages of a release build take (`RssFile` in `/proc/<pid>/status` of one that has just begun).
const PROGRAM: u64 = 12 << 20;

/// An item again and again, with commas between, up to a size.
fn repeated(item: &str, size: usize) -> String {
    let count = size / (item.len() + 1);
    vec![item; count].join(",")
}

/// Different keys, not in order, each with something at its end.
fn many_keys(end: &str, size: usize) -> String {
    let count = size / (10 + end.len());
    // An odd factor takes every value below 2^20 once.
    let members: Vec<String> = (0..count).map(|i| format!("\"{:05x}{end}\":0", (i * 40_503) % 0x10_0000)).collect();
    members.join(",")
}

/// A request as text with a bomb in place of the text `"BOMB"`.
fn armed(request: &Value, bomb: &str) -> Vec<u8> {
    let body = request.to_string().replacen("\"BOMB\"", bomb, 1).into_bytes();
    assert!(body.len() <= 2 << 20, "{} bytes are refused unread", body.len());
    body
}

#[actix::test]
async fn no_request_drives_the_process_above_its_budget() {
    let plugin = Plugin::start("http://127.0.0.1:1", &[]).await;
    eprintln!("{:6.1} MiB  before", plugin.process.memory("VmRSS") as f64 / f64::from(1 << 20));
    let in_field = |field: &str| {
        let mut fields = json!({"mock": true});
        fields[field] = json!("BOMB");
        execute("node", fields)
    };
    let in_inputs = || {
        let mut body = execute("node", json!({"mock": true}));
        body["template"]["inputs"] = json!("BOMB");
        body
    };
    let mut in_other_field = execute("node", json!({"mock": true}));
    in_other_field["template"]["container"] = json!("BOMB");
    let mut of_other = request(json!({}));
    of_other["template"]["plugin"] = json!({"slack": "BOMB"});
    let mut without_template = request(json!({}));
    without_template["template"] = json!("BOMB");
    let bare = json!("BOMB");

    let list = |item: &str| format!("[{}]", repeated(item, LARGEST));
    let deep = |open: &str, close: &str, bottom: &str| {
        let levels = 60;
        format!("{}{bottom}{}", open.repeat(levels), close.repeat(levels))
    };
    let zeros = list("0");
    let maps = format!("{{{}}}", many_keys("", LARGEST));
    let escaped = serde_json::to_string(&repeated("0", LARGEST)).unwrap();
    let text_of_zeros = serde_json::to_string(&format!("{{\"A\":[{}]}}", repeated("0", LARGEST - 100))).unwrap();
    let kinds: Vec<(&str, String)> = vec![
        ("numbers", zeros.clone()),
        // Nineteen characters once they are texts.
        ("numbers that grow", list("9e15")),
        ("empty texts", list("\"\"")),
        ("empty lists", list("[]")),
        ("empty maps", list("{}")),
        ("small maps", list("{\"a\":0}")),
        ("keys", maps.clone()),
        ("keys with escapes", format!("{{{}}}", many_keys("\\n", LARGEST))),
        ("a long text", escaped.clone()),
        ("many escapes", format!("\"{}\"", "\\n".repeat(LARGEST / 2))),
        ("a long key", format!("{{{escaped}:0}}")),
        ("deep lists", deep("[", "]", &zeros[1..zeros.len() - 1])),
        ("deep maps", deep("{\"b\":", ",\"a\":0}", &format!("[{}]", repeated("9e15", LARGEST - 4_096)))),
        ("too deep", format!("{}{}", "[".repeat(LARGEST / 2), "]".repeat(LARGEST / 2))),
        ("the text of a map", text_of_zeros),
    ];
    let places: Vec<(&str, Value)> = vec![
        ("parameters", in_field("parameters")),
        ("one parameter", execute("node", json!({"mock": true, "parameters": {"A": "BOMB"}}))),
        ("selected_steps", in_field("selected_steps")),
        ("description", in_field("description")),
        ("an unknown field", in_field("bomb")),
        ("inputs", in_inputs()),
        ("another field of the template", in_other_field),
        ("another plugin's input", of_other),
        ("the template", without_template),
        ("the whole body", bare),
    ];

    let mut peaks = Vec::new();
    for (kind, bomb) in &kinds {
        for (place, request) in &places {
            let body = armed(request, bomb);
            plugin.process.forget_the_peak();
            let (status, reply) = plugin.post_bytes(&body).await;
            assert!(status == 200 || status == 400, "{status} for {kind} in {place}: {reply}");
            // Pages of the program itself are the kernel's to take back, and a debug build has many of them.
            let own = plugin.process.memory("VmHWM") - plugin.process.memory("RssFile");
            peaks.push((own, format!("{kind} in {place}")));
        }
    }
    peaks.sort();
    for (peak, name) in peaks.iter().rev().take(5) {
        eprintln!("{:6.1} MiB  {name}", *peak as f64 / f64::from(1 << 20));
    }
    let idle = plugin.process.memory("VmRSS");
    eprintln!("{:6.1} MiB  afterwards", idle as f64 / f64::from(1 << 20));
    assert!(peaks.last().unwrap().0 <= MEMORY_BUDGET - PROGRAM, "{:?}", peaks.last());
}
