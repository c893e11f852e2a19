//! What actix really does. The supervision rests on these facts; a new version of actix has to prove them again.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, AsyncContext as _, Context, Handler, MailboxError, Message, ResponseFuture};
use tokio::{sync::oneshot, time::Instant};

/// An actor whose death is counted.
struct Probe {
    handled: Arc<AtomicUsize>,
    _guard: Guard,
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Probe {
    fn new() -> (Self, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (handled, deaths) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        (Self { handled: handled.clone(), _guard: Guard(deaths.clone()) }, handled, deaths)
    }
}

impl Actor for Probe {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Count;

#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

#[derive(Message)]
#[rtype(result = "()")]
struct PanicInFuture;

#[derive(Message)]
#[rtype(result = "()")]
struct NotifyAfter(Duration, oneshot::Sender<Instant>);

#[derive(Message)]
#[rtype(result = "()")]
struct Ring(oneshot::Sender<Instant>);

impl Handler<Count> for Probe {
    type Result = ();

    fn handle(&mut self, _: Count, _: &mut Self::Context) {
        self.handled.fetch_add(1, Ordering::SeqCst);
    }
}

impl Handler<Panic> for Probe {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

impl Handler<PanicInFuture> for Probe {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PanicInFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("on purpose") })
    }
}

impl Handler<NotifyAfter> for Probe {
    type Result = ();

    fn handle(&mut self, NotifyAfter(wait, rung): NotifyAfter, ctx: &mut Self::Context) {
        ctx.notify_later(Ring(rung), wait);
    }
}

impl Handler<Ring> for Probe {
    type Result = ();

    fn handle(&mut self, Ring(rung): Ring, _: &mut Self::Context) {
        rung.send(Instant::now()).unwrap();
    }
}

#[actix::test]
async fn a_panic_in_a_handler_kills_the_actor_only_and_drops_its_guard_once() {
    let (probe, handled, deaths) = Probe::new();
    let addr = probe.start();
    let in_flight = addr.send(Panic);
    let queued = addr.send(Count);

    assert!(matches!(in_flight.await, Err(MailboxError::Closed)));
    assert!(matches!(queued.await, Err(MailboxError::Closed)));
    assert!(!addr.connected());
    assert_eq!(deaths.load(Ordering::SeqCst), 1);
    assert_eq!(handled.load(Ordering::SeqCst), 0);

    // Everything else on the arbiter goes on.
    let (other, handled, _) = Probe::new();
    other.start().send(Count).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_panic_in_a_response_future_leaves_the_actor_alive() {
    let (probe, handled, deaths) = Probe::new();
    let addr = probe.start();

    assert!(matches!(addr.send(PanicInFuture).await, Err(MailboxError::Closed)));
    addr.send(Count).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 1);
    assert_eq!(deaths.load(Ordering::SeqCst), 0);
}

#[actix::test]
async fn a_send_that_is_dropped_before_its_turn_is_never_handled() {
    let (probe, handled, _) = Probe::new();
    let addr = probe.start();
    drop(addr.send(Count));
    addr.send(Count).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_paused_clock_moves_the_timers_of_actors() {
    tokio::time::pause();
    let (probe, ..) = Probe::new();
    let began = Instant::now();
    let (rung, ring) = oneshot::channel();
    probe.start().send(NotifyAfter(Duration::from_secs(3600), rung)).await.unwrap();
    assert!(ring.await.unwrap() - began >= Duration::from_secs(3600));
}

#[actix::test]
async fn clones_of_an_address_push_past_the_capacity_of_the_mailbox() {
    let (probe, handled, _) = Probe::new();
    let addr = probe.start();
    for _ in 0..100 {
        // A clone for each message, as every request has its own.
        assert!(addr.clone().try_send(Count).is_ok());
    }
    assert!(addr.try_send(Count).is_ok());
    assert!(addr.try_send(Count).is_err(), "only an address that sent before can be full");
    addr.send(Count).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 102);
}

#[test]
fn a_sigterm_with_disabled_signals_runs_our_drain_to_its_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_awf-aws"))
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--no-auth"])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("listening")));
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(log.any(|line| line.contains("drained")));
    drop(log);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
