//! What the operator under test asks of the API server: a log of its calls, and the faults that are put between.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body as AnyBody;
use http::{Request, Response};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;
use tempo_operator::api_calls::ApiCall;
use tower::{BoxError, Layer, Service};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The API server never sees it.
    Refuse(u16),
    /// It is done, but the answer is this.
    DoneBut(u16),
    /// It is done, but the connection breaks before the answer.
    DoneThenLost,
}

/// One call that was made, with the answer's code.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) call: ApiCall,
    pub(crate) path: String,
}

type Decide = Box<dyn FnMut(&ApiCall, usize) -> Fault + Send>;

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct Calls {
    state: Arc<Mutex<State>>,
}

struct State {
    made: Vec<Made>,
    decide: Decide,
    /// Calls left to live; at 0 everything fails, as if the process were gone.
    left: Option<usize>,
}

impl Calls {
    pub(crate) fn new() -> Calls {
        Calls::with_faults(|_, _| Fault::None)
    }

    /// `decide` gets each call (watches too) and how many were made before it.
    pub(crate) fn with_faults(decide: impl FnMut(&ApiCall, usize) -> Fault + Send + 'static) -> Calls {
        Calls {
            state: Arc::new(Mutex::new(State { made: Vec::new(), decide: Box::new(decide), left: None })),
        }
    }

    /// The operator dies after `most` calls that are not watches.
    pub(crate) fn dying_after(most: usize) -> Calls {
        let calls = Calls::new();
        calls.state.lock().left = Some(most);
        calls
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().left == Some(0)
    }

    pub(crate) fn set_faults(&self, decide: impl FnMut(&ApiCall, usize) -> Fault + Send + 'static) {
        self.state.lock().decide = Box::new(decide);
    }

    /// Calls but watches.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().made.iter().filter(|made| made.call.verb != "watch").count()
    }

    pub(crate) fn writes(&self) -> Vec<Made> {
        self.state.lock().made.iter().filter(|made| made.call.is_write()).cloned().collect()
    }

    pub(crate) fn kinds(&self) -> BTreeSet<ApiCall> {
        self.state.lock().made.iter().map(|made| made.call.clone()).collect()
    }

    pub(crate) fn clear(&self) {
        self.state.lock().made.clear();
    }

    fn begin<B>(&self, request: &Request<B>) -> Result<Fault, BoxError> {
        let Some(call) = ApiCall::of(request) else {
            return Ok(Fault::None);
        };
        let mut state = self.state.lock();
        if call.verb != "watch" {
            match state.left.as_mut() {
                Some(0) => return Err("the operator is dead".into()),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        let before = state.made.len();
        let fault = (state.decide)(&call, before);
        state.made.push(Made { call, path: request.uri().to_string() });
        Ok(fault)
    }
}

impl<S> Layer<S> for Calls {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> CallsService<S> {
        CallsService { inner, calls: self.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct CallsService<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<Body>> for CallsService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.calls.begin(&request) {
            Err(dead) => Box::pin(async move { Err(dead) }),
            Ok(Fault::Refuse(code)) => Box::pin(async move { Ok(refusal(code)) }),
            Ok(fault) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let answer = answer.await.map_err(Into::into)?;
                    match fault {
                        Fault::DoneBut(code) => Ok(refusal(code)),
                        Fault::DoneThenLost => Err("the connection broke".into()),
                        Fault::None | Fault::Refuse(_) => Ok(answer.map(AnyBody::new)),
                    }
                })
            }
        }
    }
}

fn refusal(code: u16) -> Response<AnyBody> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": "Injected", "message": "injected by the test",
    });
    let body = AnyBody::from(status.to_string());
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body)
        .expect("a response")
}
