//! The log from outside: against a disk that loses, tears and fails, and against real files.
//! (`cfg(test)` tells clippy that functions beside the tests may unwrap as well.)

#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fake_disk;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod retention;
