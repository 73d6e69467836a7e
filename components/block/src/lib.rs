//! Blocks: the head's columns, the vParquet4 file written from them, and reading blocks of Tempo and of ours.
//!
//! Writing: [`SpanColumns`] takes pushed spans and holds them as dictionary columns; [`write_block`] turns a sealed
//! one into `data.parquet`, blooms, `index` and our sidecar [`trace_index`]. Nothing outside this crate knows the
//! nested schema. The facts about the format are Tempo's (`writer.rs` and `schema.rs` repeat those that bind us).

#[warn(clippy::indexing_slicing)]
mod bloom;
#[warn(clippy::indexing_slicing)]
mod cache;
#[warn(clippy::indexing_slicing)]
mod columns;
#[warn(clippy::indexing_slicing)]
mod decode;
mod encode;
#[warn(clippy::indexing_slicing)]
mod find;
mod nested_set;
#[warn(clippy::indexing_slicing)]
mod reader;
mod schema;
#[warn(clippy::indexing_slicing)]
pub mod trace_index;
mod writer;

pub use cache::BlockCache;
pub use columns::{AppendError, SpanColumns};
pub use reader::{BlockReader, Found, ReadError};
pub use writer::{WriteError, WriteOptions, write_block};
