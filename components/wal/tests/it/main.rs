//! The log from outside: against a disk that loses, tears and fails, and against real files.

mod concurrency;
mod corruption;
mod failures;
mod fake_disk;
mod fixture;
mod golden;
mod model;
mod opening;
mod retention;
