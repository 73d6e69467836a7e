//! Holds recent traces per tenant, makes them durable, cuts blocks, flushes them, answers for recent data.
//!
//! A push is acknowledged when the WAL has synced it. Behind that, spans live in a *head* (columns in memory, readable at
//! once), then in a sealed head, then in a block on local disk, then in the backend; a trace is found in every one of these
//! places at every moment. The order is the durability argument and never changes: WAL synced → acknowledged → block
//! uploaded and verified (`flush.rs`) → WAL released.
//!
//! | file | what it owns |
//! |---|---|
//! | `push.rs` | the way in: limits, order of WAL and head, back-pressure |
//! | `limits.rs` | live traces and trace sizes of one tenant |
//! | `instance.rs`, `head.rs` | one tenant's heads and blocks, and who may change them |
//! | `cut.rs` | when a head is sealed |
//! | `complete.rs`, `flush.rs` | sealed head → local block → backend → WAL released |
//! | `replay.rs` | what happens at start with what a crash left behind |
//! | `drain.rs` | emptying this ingester for good, and the proof that it is empty |
//! | `query.rs` | a trace by id from everything above |
//! | `http.rs` | `/flush`, `/shutdown` and `/ingester/v1/drain` |

mod complete;
mod cut;
mod drain;
mod flush;
mod head;
mod http;
mod instance;
mod limits;
mod metrics;
mod open;
mod push;
mod query;
mod replay;

pub use drain::{DrainPhase, DrainState};
pub use flush::{FlushError, FlushReport};
pub use open::{Dependencies, Ingester, OpenError, TrackTasks};
pub use push::{DiscardReason, Discarded, PushError, PushOutcome};
pub use query::FindError;
