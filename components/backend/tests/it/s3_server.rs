//! S3 servers for tests: s3s on a folder in this process, behind a layer that counts requests and spoils answers; and
//! versitygw, a gateway that is used in production, as a process of its own.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prometheus::Registry;
use s3s::{auth::SimpleAuth, service::S3Service, service::S3ServiceBuilder};
use tempo_backend::{Metrics, S3Store};
use tempo_config::{GoDuration, S3Config, S3Extras, Secret};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};
use tokio_rustls::TlsAcceptor;

pub(crate) const BUCKET: &str = "traces";
const ACCESS_KEY: &str = "tempo";
const SECRET_KEY: &str = "correct-horse";

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How an answer is spoiled.
#[derive(Debug, Clone)]
pub(crate) enum Spoil {
    /// This status and S3 error code instead; the request is not carried out.
    Refuse(u16, &'static str),
    /// The request is carried out, then this is answered.
    RefuseAfter(u16, &'static str),
    /// The request is carried out, then the connection is cut.
    LoseAnswer,
    /// The request is carried out this much later.
    Delay(Duration),
    /// The body breaks off after so many bytes, and the connection with it.
    CutBody(usize),
    /// The body stops after so many bytes, and the connection stays.
    StallBody(usize),
    /// The range that was asked for is ignored.
    IgnoreRange,
    /// Another body under the same head.
    Html,
}

struct Rule {
    /// Part of `<METHOD> <path>?<query>`.
    matches: &'static str,
    times: usize,
    spoil: Spoil,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<String>,
    root: PathBuf,
    /// s3s-fs looks and then writes, so conditional puts take turns.
    conditional: Arc<tokio::sync::Mutex<()>>,
}

/// A server in this process; gone with the test's runtime.
#[derive(Clone)]
pub(crate) struct S3Server {
    address: SocketAddr,
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

impl S3Server {
    /// Serves `root`, in which the bucket exists.
    pub(crate) async fn start(root: &Path) -> S3Server {
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        S3Server::start_without_bucket(root, None).await
    }

    pub(crate) async fn start_without_bucket(root: &Path, tls: Option<TlsAcceptor>) -> S3Server {
        std::fs::create_dir_all(root).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(Mutex::new(State { root: root.to_owned(), ..State::default() }));
        let server = S3Server {
            address: listener.local_addr().unwrap(),
            root: root.to_owned(),
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let (service, state, tls) = (service.clone(), Arc::clone(&state), tls.clone());
                tokio::spawn(async move {
                    let answer = hyper::service::service_fn(move |request| {
                        answer(service.clone(), Arc::clone(&state), request)
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // Cut connections are what some tests are about.
                    match tls {
                        None => drop(builder.serve_connection(TokioIo::new(socket), answer).await),
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                drop(builder.serve_connection(TokioIo::new(socket), answer).await);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn make_bucket(&self) {
        std::fs::create_dir(self.root.join(BUCKET)).unwrap();
    }

    pub(crate) fn remove_bucket(&self) {
        std::fs::remove_dir_all(self.root.join(BUCKET)).unwrap();
    }

    pub(crate) fn config(&self) -> S3Config {
        config(&self.address.to_string())
    }

    pub(crate) async fn store(&self) -> S3Store {
        open(&self.config()).await
    }

    /// Spoils the next `times` answers to requests whose line contains `matches`.
    pub(crate) fn spoil(&self, matches: &'static str, times: usize, spoil: Spoil) {
        self.state.lock().rules.push(Rule { matches, times, spoil });
    }

    pub(crate) fn heal(&self) {
        self.state.lock().rules.clear();
    }

    /// The lines of all requests since the last time, `<METHOD> <path>?<query>`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().requests)
    }

    /// Waits until a request whose line contains `matches` has come.
    pub(crate) async fn saw(&self, matches: &str) {
        let seen = async {
            while !self.state.lock().requests.iter().any(|line| line.contains(matches)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect(matches);
    }
}

pub(crate) fn config(endpoint: &str) -> S3Config {
    S3Config {
        bucket: BUCKET.to_owned(),
        endpoint: endpoint.to_owned(),
        region: "us-east-1".to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY),
        insecure: true,
        tempo_rs: S3Extras { request_timeout: GoDuration::from_secs(10), ..S3Extras::default() },
        ..S3Config::default()
    }
}

pub(crate) async fn open(config: &S3Config) -> S3Store {
    S3Store::open(config, Metrics::register(&Registry::new()).unwrap()).await.unwrap()
}

async fn answer(
    service: S3Service,
    state: Arc<Mutex<State>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    let spoil = {
        let mut state = state.lock();
        state.requests.push(line.clone());
        let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && line.contains(rule.matches));
        rule.map(|rule| {
            rule.times -= 1;
            rule.spoil.clone()
        })
    };
    match spoil {
        Some(Spoil::Refuse(status, code)) => {
            // The body is taken first: a client that still sends would see a cut connection.
            http_body_util::BodyExt::collect(request.body_mut()).await.ok();
            return Ok(refusal(status, code));
        }
        Some(Spoil::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Spoil::IgnoreRange) => {
            let path = state.lock().root.join(request.uri().path().trim_start_matches('/'));
            return Ok(Response::new(whole(std::fs::read(path).unwrap().into())));
        }
        Some(
            Spoil::RefuseAfter(..)
            | Spoil::LoseAnswer
            | Spoil::CutBody(_)
            | Spoil::StallBody(_)
            | Spoil::Html,
        )
        | None => {}
    }
    if let Some(answer) = answer_for_s3s(&state.lock().root, &request) {
        return Ok(answer);
    }
    let conditional = Arc::clone(&state.lock().conditional);
    let _turn =
        if request.headers().contains_key("if-none-match") { Some(conditional.lock().await) } else { None };
    let is_completion = request.method() == http::Method::POST && line.contains("uploadId");
    let answer = service
        .call(request.map(s3s::Body::from))
        .await
        .map_err(|e| std::io::Error::other(format!("{e:?}")))?;
    if is_completion && answer.status() == StatusCode::FORBIDDEN {
        // Of an upload that is complete s3s-fs forgets whose it was.
        return Ok(refusal(404, "NoSuchUpload"));
    }
    let (head, body) = answer.into_parts();
    let body =
        http_body_util::BodyExt::collect(body).await.map_err(|e| std::io::Error::other(e.to_string()))?;
    let body = body.to_bytes();
    Ok(match spoil {
        Some(Spoil::RefuseAfter(status, code)) => refusal(status, code),
        Some(Spoil::LoseAnswer) => return Err(std::io::Error::other("answer lost")),
        Some(Spoil::CutBody(bytes)) => Response::from_parts(head, broken(body.slice(..bytes), false)),
        Some(Spoil::StallBody(bytes)) => Response::from_parts(head, broken(body.slice(..bytes), true)),
        Some(Spoil::Html) => Response::from_parts(head, whole(Bytes::from_static(b"<html>Hello</html>"))),
        Some(Spoil::Refuse(..) | Spoil::Delay(_) | Spoil::IgnoreRange) | None => {
            Response::from_parts(head, whole(body))
        }
    })
}

/// What s3s-fs gets wrong because it stores in folders: a folder is no object, and a bucket is not made by a put.
fn answer_for_s3s(root: &Path, request: &Request<Incoming>) -> Option<Response<Body>> {
    let path = request.uri().path().trim_matches('/');
    let is_head = request.method() == http::Method::HEAD;
    let answer = |status, code| Some(if is_head { empty(status) } else { refusal(status, code) });
    if !root.join(BUCKET).is_dir() {
        return answer(404, "NoSuchBucket");
    }
    if path != BUCKET && root.join(path).is_dir() {
        return if request.method() == http::Method::DELETE {
            Some(empty(204))
        } else {
            answer(404, "NoSuchKey")
        };
    }
    None
}

fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn whole(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body that ends in an error, or never.
fn broken(bytes: Bytes, stalls: bool) -> Body {
    let begin = futures::stream::iter([Ok(Frame::data(bytes))]);
    let end = futures::stream::once(async move {
        if stalls {
            std::future::pending::<()>().await;
        }
        // What was sent before must be out, or the head would be lost with it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    });
    StreamBody::new(begin.chain(end)).boxed_unsync()
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>");
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/xml".parse().unwrap());
    response
}

/// A process of versitygw on a folder; killed when dropped.
pub(crate) struct Versitygw {
    _child: Child,
    pub(crate) port: u16,
}

impl Versitygw {
    /// `None`, with a message, where the program is not installed.
    #[expect(clippy::print_stderr, reason = "a test that skips says so")]
    pub(crate) async fn start(root: &Path) -> Option<Versitygw> {
        #[expect(clippy::disallowed_methods, reason = "tests take their tools from the runner's environment")]
        let Ok(program) = std::env::var("E2E_VERSITYGW") else {
            eprintln!("skipped: E2E_VERSITYGW is not set, run e2e/run to install what this test needs");
            return None;
        };
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"])
            .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut every = tokio::time::interval(Duration::from_millis(10));
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                every.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), listening).await.expect("versitygw listens");
        Some(Versitygw { _child: child, port })
    }
}
