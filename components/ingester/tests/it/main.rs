//! The ingester against a real disk: what is acknowledged stays, whatever happens to the process or the backend.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod http;
#[cfg(test)]
mod life;
#[cfg(test)]
mod pressure;
