//! The binary as a library: flags, listeners, pages, and whole apps over real sockets.
//! (`cfg(test)` tells clippy that functions beside the tests may unwrap as well.)

#[cfg(test)]
mod flags;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod http_client;
#[cfg(test)]
mod metrics_names;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod tenancy;
#[cfg(test)]
mod tenant_header;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod workspace;
#[cfg(test)]
mod write_read;
