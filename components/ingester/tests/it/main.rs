//! The ingester against a real disk: what is acknowledged stays, whatever happens to the process or the backend.

mod crash;
mod fixture;
mod http;
mod life;
