//! A stand-in for AWS on a loopback socket: answers by a script, misbehaves on demand, remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One request as the stub saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Operation name of SageMaker's or CloudWatch Logs', or the `Action` of STS's.
    pub operation: String,
    pub head: String,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("SageMaker requests are JSON")
    }
}

/// What the stub does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        body: String,
    },
    /// Any bytes, then the end of the connection.
    Bytes(&'static str),
    CloseSilently,
    NeverAnswer,
}

pub fn answer(status: u16, body: impl Into<String>) -> Reply {
    Reply::Answer { status, body: body.into() }
}

/// An error in AWS JSON's shape.
pub fn refusal(code: &str, message: &str) -> Reply {
    answer(400, serde_json::json!({ "__type": code, "message": message }).to_string())
}

/// An error in STS's shape.
pub fn sts_refusal(status: u16, code: &str, message: &str) -> Reply {
    answer(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>request-1</RequestId></ErrorResponse>"
        ),
    )
}

/// Credentials as AssumeRole and AssumeRoleWithWebIdentity give them.
pub fn sts_credentials(action: &str, account: &str) -> Reply {
    answer(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>ASIAAAAAAAAAAAAAAAAA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
             <SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><AssumedRoleId>AROA:awf-aws</AssumedRoleId>\
             <Arn>arn:aws:sts::{account}:assumed-role/runner/awf-aws</Arn></AssumedRoleUser></{action}Result>\
             </{action}Response>"
        ),
    )
}

pub fn caller_identity(account: &str) -> Reply {
    answer(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/u</Arn><UserId>U</UserId><Account>{account}</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        ),
    )
}

/// The date that every answer carries, and the same in milliseconds.
pub const DATE: (&str, i64) = ("Tue, 03 Nov 2026 10:00:00 GMT", 1_793_700_000_000);

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

#[derive(Clone)]
pub struct Stub {
    pub url: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Starts a stub; the script gets each request with the number of requests before it.
    pub async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let stub = Self { url, log: Arc::default() };
        let log = stub.log.clone();
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, script.clone(), log.clone()));
            }
        });
        stub
    }

    /// A stub that gives everybody the same.
    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone()).await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().expect("no test panics while it holds this").clone()
    }

    pub fn operations(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.operation).collect()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Asked>>>) {
    let Some(asked) = read(&mut socket).await else { return };
    let before = {
        let mut log = log.lock().expect("no test panics while it holds this");
        log.push(asked.clone());
        log.len() - 1
    };
    let bytes = match script(&asked, before) {
        Reply::Answer { status, body } => format!(
            "HTTP/1.1 {status} X\r\ndate: {}\r\nx-amzn-requestid: request-1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            DATE.0,
            body.len()
        ),
        Reply::Bytes(bytes) => bytes.to_owned(),
        Reply::CloseSilently => String::new(),
        Reply::NeverAnswer => std::future::pending().await,
    };
    socket.write_all(bytes.as_bytes()).await.ok();
    socket.shutdown().await.ok();
}

async fn read(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines()
                    .filter_map(|line| line.split_once(": "))
                    .find(|(n, _)| n.eq_ignore_ascii_case(name))
                    .map(|(_, v)| v)
            };
            let length: usize = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
                let target = header("x-amz-target").and_then(|target| target.split_once('.'));
                let operation = target.map(|(_, name)| name).or(action).unwrap_or_default().to_owned();
                return Some(Asked { operation, head: head.to_owned(), body: body.to_owned() });
            }
        }
        let mut more = [0; 4096];
        match socket.read(&mut more).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&more[..n]),
            _ => return None,
        }
    }
}
