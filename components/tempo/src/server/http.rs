//! One TCP listener: accepts, speaks TLS if asked to, serves HTTP/1.1 and HTTP/2 (gRPC included) from one router, and stops
//! gracefully.
//!
//! Bounds: connections at once (a full server stops accepting, the kernel's backlog holds the rest), time for the TLS
//! handshake and for a request's headers, streams per HTTP/2 connection. `TCP_NODELAY` is on: without it a small answer waits 40 ms for the client's ACK.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tempo_model::{WaitKind, Waits};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt as _, service_fn};
use tracing::{debug, warn};

use super::{ipv4_first, metrics::Metrics, tls::TlsStore};
use crate::tasks::Tasks;

/// Connections at once where the configuration sets no limit.
const DEFAULT_MOST_CONNECTIONS: usize = 10_000;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after `accept` failed (usually: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one listener does differently from another.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Name in logs and metrics: `http`, `grpc`, `otlp_grpc`, ...
    pub name: &'static str,
    /// `host:port`; an empty host means all interfaces.
    pub address: String,
    pub tls: Option<Arc<TlsStore>>,
    /// 0 takes the default.
    pub most_connections: usize,
    pub header_timeout: Duration,
    /// HTTP/2: ping an idle client this often, close if it does not answer.
    pub keepalive: Duration,
    pub keepalive_timeout: Duration,
    pub most_streams: u32,
}

impl ListenerOptions {
    pub fn new(name: &'static str, address: String) -> ListenerOptions {
        ListenerOptions {
            name,
            address,
            tls: None,
            most_connections: 0,
            header_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            most_streams: 250,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("listen on {address} ({listener})")]
pub struct BindError {
    listener: &'static str,
    address: String,
    source: io::Error,
}

/// What every listener of the process shares.
#[derive(Debug, Clone)]
pub struct ServeContext {
    pub tasks: Tasks,
    pub waits: Waits,
    pub metrics: Metrics,
    /// How long running requests may take to end once a listener stops.
    pub grace: Duration,
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    options: ListenerOptions,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub async fn bind(options: ListenerOptions) -> Result<Listener, BindError> {
        let failed = |source| BindError { listener: options.name, address: options.address.clone(), source };
        let socket = match options.address.strip_prefix(':') {
            // Both families where there are two, as Go does.
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                Ok(socket) => Ok(socket),
                Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            },
            None => match tokio::net::lookup_host(&options.address).await {
                Ok(found) => TcpListener::bind(ipv4_first(found).as_slice()).await,
                Err(error) => Err(error),
            },
        };
        let socket = socket.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { options, socket, address })
    }

    /// The address with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificates, if it speaks TLS.
    pub fn tls(&self) -> Option<Arc<TlsStore>> {
        self.options.tls.clone()
    }

    pub fn name(&self) -> &'static str {
        self.options.name
    }

    /// Serves until `stop`, then lets running requests end within the grace. Returns how many connections were cut off.
    pub async fn serve(self, router: Router, context: ServeContext, stop: CancellationToken) -> usize {
        let grace = context.grace;
        let server = Arc::new(Server::new(&self.options, router, context));
        let graceful = GracefulShutdown::new();
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        while let Some((stream, peer, permit)) = server.accept(&self.socket, &stop).await {
            let connection = Connection {
                server: Arc::clone(&server),
                peer,
                watcher: graceful.watcher(),
                cut: cut.clone(),
            };
            let task = async move {
                connection.serve(stream).await;
                drop(permit);
            };
            connections.spawn(server.context.tasks.track("connection", task));
        }
        drop(self.socket);

        connections.close();
        let drained = async {
            graceful.shutdown().await;
            connections.wait().await;
        };
        if tokio::time::timeout(grace, drained).await.is_ok() {
            return 0;
        }
        let left = connections.len();
        cut.cancel();
        connections.wait().await;
        left
    }
}

struct Server {
    options: ListenerOptions,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    context: ServeContext,
    slots: Arc<Semaphore>,
}

impl Server {
    fn new(options: &ListenerOptions, router: Router, context: ServeContext) -> Server {
        let most = match options.most_connections {
            0 => DEFAULT_MOST_CONNECTIONS,
            most => most.min(Semaphore::MAX_PERMITS),
        };
        context.metrics.connection_limit(options.name, most);
        Server {
            builder: connection_builder(options),
            options: options.clone(),
            router,
            context,
            slots: Arc::new(Semaphore::new(most)),
        }
    }

    /// The next connection; `None` once `stop` is cancelled.
    async fn accept(
        &self,
        socket: &TcpListener,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        loop {
            let asked = Instant::now();
            let slot = Arc::clone(&self.slots).acquire_owned();
            let slot = tokio::select! {
                () = stop.cancelled() => return None,
                slot = slot => slot.expect("the semaphore is never closed"),
            };
            self.context.waits.observe(WaitKind::Queue, "server: place of a connection", asked.elapsed());
            let accepted = tokio::select! {
                () = stop.cancelled() => return None,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%peer, %error, "failed to set TCP_NODELAY");
                    }
                    return Some((stream, peer, slot));
                }
                Err(error) => {
                    warn!(listener = self.options.name, %error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn connection_builder(options: &ListenerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .max_concurrent_streams(options.most_streams)
        .max_header_list_size(64 << 10)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(options.keepalive)
        .keep_alive_timeout(options.keepalive_timeout);
    builder
}

struct Connection {
    server: Arc<Server>,
    peer: SocketAddr,
    watcher: hyper_util::server::graceful::Watcher,
    cut: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let _counted = self.server.context.metrics.connected(self.server.options.name);
        let Some(tls) = self.server.options.tls.as_ref().map(|store| store.current()) else {
            return self.serve_stream(stream).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream));
        let accepted = tokio::select! {
            () = self.cut.cancelled() => return,
            accepted = handshake => accepted,
        };
        match accepted {
            Ok(Ok(stream)) => self.serve_stream(stream).await,
            Ok(Err(error)) => debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => debug!(peer = %self.peer, "TLS handshake took too long"),
        }
    }

    async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Connection { server, peer, watcher, cut } = self;
        let router = server.router.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let router = router.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let connection = server
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        tokio::select! {
            outcome = watcher.watch(connection) => {
                if let Err(error) = outcome {
                    debug!(%peer, %error, "connection ended");
                }
            }
            () = cut.cancelled() => debug!(%peer, "connection cut off at the stop"),
        }
    }
}
