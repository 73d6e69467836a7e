//! Sockets of receivers that take datagrams: bound as the TCP listeners are, with as large a receive buffer as granted.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};
use tempo_distributor::DatagramReceiver;
use tracing::info;

use super::ipv4_first;

#[derive(Debug, thiserror::Error)]
#[error("listen on {endpoint} for datagrams ({receiver})")]
pub(crate) struct BindError {
    receiver: &'static str,
    endpoint: String,
    source: io::Error,
}

/// A receiver and its socket, which does not read yet but has a buffer.
#[derive(Debug)]
pub(crate) struct BoundReceiver {
    pub(crate) receiver: DatagramReceiver,
    pub(crate) socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

/// Binds the socket of a receiver.
pub(crate) fn bind(receiver: DatagramReceiver) -> Result<BoundReceiver, BindError> {
    let bound = bind_socket(receiver.endpoint(), receiver.socket_buffer_bytes());
    let bound = bound.and_then(|(socket, granted)| Ok((socket.local_addr()?, socket, granted)));
    match bound {
        Ok((address, socket, granted)) => {
            info!(
                receiver = receiver.name(),
                %address,
                wanted_buffer_bytes = receiver.socket_buffer_bytes(),
                // Linux counts its own overhead: twice of what was asked for.
                buffer_bytes = granted / 2,
                "bound a socket for datagrams"
            );
            Ok(BoundReceiver { receiver, socket, address })
        }
        Err(source) => {
            Err(BindError { receiver: receiver.name(), endpoint: receiver.endpoint().to_owned(), source })
        }
    }
}

fn bind_socket(endpoint: &str, buffer_bytes: usize) -> io::Result<(UdpSocket, usize)> {
    let addresses = match endpoint.strip_prefix(':') {
        // Both families where there are two, as Go does.
        Some(port) => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
        None => vec![endpoint.to_owned()],
    };
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "no address of this name"));
    for address in addresses {
        for address in ipv4_first(address.to_socket_addrs()?) {
            outcome = open(address, buffer_bytes);
            if outcome.is_ok() {
                return outcome;
            }
        }
    }
    outcome
}

fn open(address: SocketAddr, buffer_bytes: usize) -> io::Result<(UdpSocket, usize)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let granted = socket.recv_buffer_size()?;
    Ok((socket.into(), granted))
}
