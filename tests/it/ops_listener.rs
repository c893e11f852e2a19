//! The operators' listener is open to the cluster: whoever comes in and says nothing must neither cost memory nor keep
//! Prometheus and the kubelet out.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::support::{
    argo::Plugin,
    process::{LOOK, MEMORY_BUDGET, PATIENCE, client},
};

/// How many may be inside at once.
const PLACES: usize = 64;
/// Connections that have given up their place may still be open for a moment, the longer the busier the machine.
const ON_THEIR_WAY_OUT: usize = 16;

/// How many connections to a local port have been accepted: those that still wait belong to no process and have no inode.
fn accepted(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|line| line[1] == local && line[3] == ESTABLISHED && line[9] != "0").count()
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

#[actix::test]
async fn five_hundred_unfinished_heads_cost_little_and_keep_nobody_out_for_long() {
    let plugin = Plugin::start("http://127.0.0.1:1", &[]).await;
    let port = plugin.ops_port();
    plugin.process.forget_the_peak();
    let half = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(32 << 10));
    let mut silent = Vec::new();
    for _ in 0..500 {
        let mut stream = connect(port);
        stream.write_all(half.as_bytes()).unwrap();
        silent.push(stream);
    }
    // Those inside change when their time is up; there are never more of them.
    let until = Instant::now() + Duration::from_secs(1);
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(accepted(port));
        sleep(LOOK).await;
    }
    assert!(most <= PLACES + ON_THEIR_WAY_OUT, "{most} accepted");
    assert!(most > PLACES / 2, "{most} accepted: nothing is measured");

    // Well-behaved clients get their answer in their turn.
    for path in ["/healthz", "/metrics", "/readyz"] {
        let began = Instant::now();
        let answer = client(PATIENCE).get(format!("http://127.0.0.1:{port}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path} after {:?}", began.elapsed());
        assert!(accepted(port) <= PLACES + ON_THEIR_WAY_OUT);
    }
    let peak = plugin.process.memory("VmHWM");
    assert!(peak <= MEMORY_BUDGET, "{} MiB", peak >> 20);
    // The agent's listener was never concerned.
    assert_eq!(client(PATIENCE).get(format!("{}/healthz", plugin.api())).send().await.unwrap().status(), 200);
    drop(silent);
}

#[actix::test]
async fn an_unfinished_head_is_closed_after_its_time_also_behind_a_finished_one() {
    let plugin = Plugin::start("http://127.0.0.1:1", &[]).await;
    for (sent, status) in [
        ("GET /healthz HTTP/1.1\r\n", "408"),
        // No second head, for which actix keeps no time.
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT", "200"),
        // Nor a body that nobody reads.
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", "200"),
    ] {
        let mut stream = connect(plugin.ops_port());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let answer = actix_web::rt::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            // Closed or reset, but not left open.
            match stream.read_to_end(&mut answer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("still open"),
                _ => String::from_utf8(answer).unwrap(),
            }
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{sent:?}: {answer}");
    }
}

#[actix::test]
async fn the_agents_listener_keeps_its_connections() {
    let plugin = Plugin::start("http://127.0.0.1:1", &[]).await;
    let port = plugin.api().rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = connect(port);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A head in two halves, further apart than the other listener would wait; and a second request behind it.
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost").unwrap();
    sleep(Duration::from_secs(4)).await;
    let mut answer = [0; 12];
    for rest in ["", "GET /healthz HTTP/1.1\r\nHost"] {
        stream.write_all(rest.as_bytes()).unwrap();
        stream.write_all(b": x\r\n\r\n").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut more = [0; 1024];
        let length = stream.read(&mut more).unwrap();
        let text = String::from_utf8_lossy(&more[..length]);
        assert!(text.ends_with("ok\n"), "{text}");
    }
}
