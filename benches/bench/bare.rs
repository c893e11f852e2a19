//! The bare handler: what an actix-web server of the same settings can do at most, as another process beside the plugin.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, http::KeepAlive, web};

use super::{process::clean, protocol::ExecuteTemplateArgs};

/// The argument by which this program becomes the bare handler; the next one is its answer.
pub const ARGUMENT: &str = "--bare-handler";

/// Reads the body as the plugin does, and answers always the same.
async fn handle(body: web::Bytes, answer: &'static str) -> HttpResponse {
    match serde_json::from_slice::<ExecuteTemplateArgs<'_>>(&body) {
        Ok(args) if args.template.input.is_some() => HttpResponse::Ok().content_type("application/json").body(answer),
        _ => HttpResponse::BadRequest().finish(),
    }
}

/// Serves on a free port until the process is killed; the first line printed is the address.
pub async fn serve(answer: &'static str) -> std::io::Result<()> {
    // Workers, time-outs and the limit of a body are the plugin's (`app.rs`, `http/execute.rs`).
    let app = move || {
        App::new()
            .app_data(web::PayloadConfig::new(2 << 20))
            .route("/api/v1/template.execute", web::post().to(move |body| handle(body, answer)))
    };
    let server = HttpServer::new(app)
        .workers(2)
        .client_request_timeout(Duration::from_secs(60))
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(120)))
        .disable_signals()
        .bind("127.0.0.1:0")?;
    println!("{}", server.addrs()[0]);
    server.run().await
}

/// The bare handler as a child process.
pub struct Bare {
    child: Child,
    pub address: String,
}

impl Bare {
    /// Starts it with its answer; it listens when this returns.
    pub fn start(answer: &str) -> Self {
        let own = env::current_exe().expect("this program has a path");
        let mut command: Command = clean(own, &env::temp_dir());
        let mut child = command
            .args([ARGUMENT, answer])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("the bare handler does not start: {e}"));
        let mut address = String::new();
        let printed = child.stdout.take().expect("its output is piped");
        BufReader::new(printed).read_line(&mut address).expect("the bare handler tells its address");
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait().map(drop)).is_err() {
            eprintln!("the bare handler was gone already");
        }
    }
}
