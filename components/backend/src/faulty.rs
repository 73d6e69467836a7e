//! A store that misbehaves on demand, for tests: it wraps another one, counts calls, and injects faults by call
//! number, by key, or at random with a seed.

use std::{collections::BTreeMap, future::Future, ops::Range, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::store::{ObjectEntry, Store, StoreError};

/// A kind of call; `get` and `get_range` are told apart, so that tests can bound the ranged reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Get,
    GetRange,
    Size,
    Put,
    PutIfAbsent,
    PutFile,
    List,
    ListFolders,
    Delete,
}

impl Operation {
    fn returns_body(self) -> bool {
        matches!(self, Operation::Get | Operation::GetRange)
    }

    fn writes(self) -> bool {
        matches!(self, Operation::Put | Operation::PutIfAbsent | Operation::PutFile | Operation::Delete)
    }
}

/// What goes wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the call fails as retryable.
    Unavailable,
    /// Nothing happens, and the call fails as denied.
    Denied,
    /// The call happens, but its answer is lost: it fails as retryable.
    AnswerLost,
    /// A write says that it happened, but it did not. (Reads are not affected.)
    Pretended,
    /// A body that is read has at most this many bytes, without an error. (Other calls are not affected.)
    BodyCut(usize),
    /// The call happens this much later.
    Delayed(Duration),
}

/// Which calls a fault meets. Calls are counted from 0, over all kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    Call(u64),
    /// This call and all after it: the process died, or the store is down.
    From(u64),
    /// Calls of one kind whose key ends like this.
    Key {
        operation: Operation,
        suffix: String,
    },
    /// Each call with this probability.
    Probability(f64),
}

/// A [`Store`] with faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<(When, Fault)>,
    random: SmallRng,
    total_calls: u64,
    calls: BTreeMap<Operation, u64>,
}

impl FaultyStore {
    /// Without faults so far. The seed decides on [`When::Probability`].
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> FaultyStore {
        let state = State {
            rules: Vec::new(),
            random: SmallRng::seed_from_u64(seed),
            total_calls: 0,
            calls: BTreeMap::new(),
        };
        FaultyStore { inner, state: Mutex::new(state) }
    }

    /// Adds a fault. The first one that meets a call is taken.
    pub fn inject(&self, when: When, fault: Fault) {
        self.state.lock().rules.push((when, fault));
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state.lock().rules.clear();
    }

    pub fn total_calls(&self) -> u64 {
        self.state.lock().total_calls
    }

    pub fn calls(&self, operation: Operation) -> u64 {
        self.state.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Counts from 0 again, for [`When`] too.
    pub fn reset_calls(&self) {
        let mut state = self.state.lock();
        state.total_calls = 0;
        state.calls.clear();
    }

    async fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.state.lock().next_fault(operation, key);
        self.perform(fault, key, answer).await
    }

    async fn perform<T>(
        &self,
        fault: Option<Fault>,
        key: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let unavailable = || StoreError::Unavailable { key: key.to_owned(), source: "injected fault".into() };
        match fault {
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::Denied) => {
                Err(StoreError::Denied { key: key.to_owned(), source: "injected fault".into() })
            }
            Some(Fault::AnswerLost) => {
                answer.await?;
                Err(unavailable())
            }
            Some(Fault::Delayed(delay)) => {
                tokio::time::sleep(delay).await;
                answer.await
            }
            Some(Fault::Pretended | Fault::BodyCut(_)) | None => answer.await,
        }
    }

    async fn read(
        &self,
        operation: Operation,
        key: &str,
        answer: impl Future<Output = Result<Bytes, StoreError>>,
    ) -> Result<Bytes, StoreError> {
        let fault = self.state.lock().next_fault(operation, key);
        let body = self.perform(fault, key, answer).await?;
        if let Some(Fault::BodyCut(bytes)) = fault {
            return Ok(body.slice(..bytes.min(body.len())));
        }
        Ok(body)
    }

    async fn write(
        &self,
        operation: Operation,
        key: &str,
        answer: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let fault = self.state.lock().next_fault(operation, key);
        if fault == Some(Fault::Pretended) { Ok(()) } else { self.perform(fault, key, answer).await }
    }
}

impl State {
    fn next_fault(&mut self, operation: Operation, key: &str) -> Option<Fault> {
        let call = self.total_calls;
        self.total_calls += 1;
        *self.calls.entry(operation).or_default() += 1;
        let State { rules, random, .. } = self;
        let met = rules.iter().find(|(when, fault)| {
            let applies = match fault {
                Fault::BodyCut(_) => operation.returns_body(),
                Fault::Pretended => operation.writes(),
                Fault::Unavailable | Fault::Denied | Fault::AnswerLost | Fault::Delayed(_) => true,
            };
            applies
                && match when {
                    When::Call(number) => call == *number,
                    When::From(number) => call >= *number,
                    When::Key { operation: wanted, suffix } => operation == *wanted && key.ends_with(suffix),
                    When::Probability(probability) => random.random_bool(*probability),
                }
        });
        met.map(|(_, fault)| *fault)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.read(Operation::Get, key, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read(Operation::GetRange, key, self.inner.get_range(key, range)).await
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        self.call(Operation::Size, key, self.inner.size(key)).await
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.write(Operation::Put, key, self.inner.put(key, data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.write(Operation::PutIfAbsent, key, self.inner.put_if_absent(key, data)).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.write(Operation::PutFile, key, self.inner.put_file(key, file)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        self.call(Operation::List, folder, self.inner.list(folder)).await
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.call(Operation::ListFolders, folder, self.inner.list_folders(folder)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.write(Operation::Delete, key, self.inner.delete(key)).await
    }
}
