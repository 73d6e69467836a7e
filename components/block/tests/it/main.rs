//! Blocks as a whole: written, read back, and read as Tempo wrote them.
//! (`cfg(test)` tells clippy that functions beside the tests may unwrap as well.)

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod leaves;
#[cfg(test)]
mod read;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod write;
