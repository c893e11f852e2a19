//! A door on a port of its own to a server whose port may change: open, or shut so that connections are refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};

pub struct Gate {
    pub url: String,
    address: SocketAddr,
    target: Arc<Mutex<String>>,
    state: State,
}

enum State {
    Open(JoinHandle<()>),
    /// Bound and not listening: the port stays ours, and whoever connects is refused.
    Shut(Option<TcpSocket>),
}

impl Gate {
    /// An open gate to a server such as `http://127.0.0.1:4599`.
    pub fn open_to(url: &str) -> Self {
        let socket = bound("127.0.0.1:0".parse().expect("an address"));
        let address = socket.local_addr().expect("a bound socket has an address");
        let target = Arc::new(Mutex::new(host(url)));
        let state = State::Open(tokio::spawn(serve(listening(socket), target.clone())));
        Self { url: format!("http://{address}"), address, target, state }
    }

    /// Connections from now on go to this server.
    pub fn aim(&self, url: &str) {
        *self.target.lock().unwrap() = host(url);
    }

    /// Cuts all connections and refuses new ones.
    pub async fn shut(&mut self) {
        if let State::Open(task) = &mut self.state {
            task.abort();
            assert!(task.await.is_err(), "the gate's task ends only when it is aborted");
            self.state = State::Shut(Some(bound(self.address)));
        }
    }

    /// Lets connections through again.
    pub fn open(&mut self) {
        if let State::Shut(socket) = &mut self.state
            && let Some(socket) = socket.take()
        {
            self.state = State::Open(tokio::spawn(serve(listening(socket), self.target.clone())));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let State::Open(task) = &self.state {
            task.abort();
        }
    }
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a port is taken again at once");
    socket.bind(address).unwrap_or_else(|e| panic!("{address} cannot be bound: {e}"));
    socket
}

fn listening(socket: TcpSocket) -> TcpListener {
    socket.listen(1024).expect("the gate listens")
}

/// The connections live in this future: they end with it.
async fn serve(listener: TcpListener, target: Arc<Mutex<String>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let target = target.lock().unwrap().clone();
        connections.spawn(async move {
            // Nobody behind the gate: the connection is closed, as by a server that was just killed.
            if let Ok(mut far) = TcpStream::connect(target).await
                && let Err(error) = copy_bidirectional(&mut near, &mut far).await
            {
                eprintln!("a connection through the gate broke: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
