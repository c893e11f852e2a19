//! The load generator: so many connections, each of which asks again as soon as it is answered.

use std::{rc::Rc, time::Duration};

use tokio::{
    task::spawn_local,
    time::{Instant, sleep},
};

use super::{stats::quantile, wire::Connection};

/// What was asked of a server and how it answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub per_second: f64,
    /// Of single answers, as the other two, in seconds.
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Share of the time that passes before anything is counted: connections are opened, caches filled.
const WARM_UP: f64 = 0.1;

/// The connections of who asks for each thing once.
const AT_ONCE: usize = 64;

/// Asks `address` on so many connections for so long. Each connection goes through all the requests, and each begins at
/// another one, so that no node is asked by all at once.
pub async fn run(address: &str, requests: &Rc<[Vec<u8>]>, connections: usize, lasts: Duration) -> Answered {
    let begins = Instant::now() + lasts.mul_f64(WARM_UP);
    let ends = Instant::now() + lasts;
    let tasks: Vec<_> = (0..connections)
        .map(|number| spawn_local(ask(address.to_owned(), requests.clone(), number, begins, ends)))
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.append(&mut task.await.expect("a connection of the load asks to its end"));
    }
    took.sort_unstable();
    let seconds = |micros: u32| f64::from(micros) / 1e6;
    Answered {
        per_second: took.len() as f64 / (ends - begins).as_secs_f64(),
        p50: seconds(quantile(&took, 0.5)),
        p99: seconds(quantile(&took, 0.99)),
        max: seconds(took.last().copied().unwrap_or_default()),
    }
}

/// One connection's share; how long each of its answers took, in microseconds.
async fn ask(address: String, requests: Rc<[Vec<u8>]>, number: usize, begins: Instant, ends: Instant) -> Vec<u32> {
    let mut connection = Connection::open(&address).await.expect("the server takes the load's connections");
    let mut took = Vec::new();
    let mut at = number * 7;
    loop {
        let asked = Instant::now();
        if asked >= ends {
            return took;
        }
        at += 1;
        let (status, body) =
            connection.exchange(&requests[at % requests.len()]).await.expect("the server answers the load");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        let answered = Instant::now();
        if asked >= begins && answered <= ends {
            took.push(u32::try_from((answered - asked).as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// Asks each of the requests once, and looks at every answer.
pub async fn once(address: &str, requests: &Rc<[Vec<u8>]>, look: fn(&[u8])) {
    let share = |number: usize| {
        let (address, requests) = (address.to_owned(), requests.clone());
        async move {
            let mut connection = Connection::open(&address).await.expect("the server takes the load's connections");
            for request in requests.iter().skip(number).step_by(AT_ONCE) {
                let (status, body) = connection.exchange(request).await.expect("the server answers the load");
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
                look(body);
            }
        }
    };
    for connection in (0..AT_ONCE).map(|number| spawn_local(share(number))).collect::<Vec<_>>() {
        connection.await.expect("a connection of the load asks to its end");
    }
}

/// Waits until `look` says so, and gives how long that took. `what` is for the failure.
pub async fn until(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !look().await {
        assert!(began.elapsed() < patience, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}
