//! A plugin that answers by a script and keeps what it was sent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use awf_aws::demo::agent::{Agent, AgentSettings};
use serde_json::Value;

/// What a scripted plugin answers: status and body; and how long it takes.
type Script = dyn Fn(&Value) -> (u16, String) + Send + Sync;

/// A plugin that answers by a script and keeps what it was sent.
pub struct Plugin {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub most_at_once: Arc<AtomicUsize>,
    pub server: actix_web::dev::ServerHandle,
}

#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Plugin {
    pub fn start(script: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::slow(Duration::ZERO, script)
    }

    pub fn slow(takes: Duration, script: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (now, most_at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let state = (Arc::clone(&seen), now, Arc::clone(&most_at_once));
        let server = HttpServer::new(move || {
            let (script, state) = (Arc::clone(&script), state.clone());
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let (script, (seen, now, most)) = (Arc::clone(&script), state.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                    seen.lock().unwrap().push(Seen {
                        method: request.method().to_string(),
                        path: request.path().to_owned(),
                        headers: request
                            .headers()
                            .iter()
                            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                            .collect(),
                        body: body.clone(),
                    });
                    actix_rt::time::sleep(takes).await;
                    let (status, text) = script(&body);
                    now.fetch_sub(1, Ordering::SeqCst);
                    HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text)
                }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Self { url, seen, most_at_once, server: handle }
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|s| s.body.clone()).collect()
    }

    /// An agent of this plugin that does not take Argo's seconds between two tries.
    pub fn agent(&self) -> Agent {
        let settings = AgentSettings { first_wait: Duration::from_millis(5), ..AgentSettings::new(&self.url, "token") };
        Agent::new(settings)
    }
}
