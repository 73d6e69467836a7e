//! Jaeger thrift over UDP, as clients send it to an agent: nobody is answered, what cannot be taken in is counted.
//!
//! A thread of its own reads each socket, because what comes while nobody reads must fit into the socket's buffer, often
//! 208 KiB, and a runtime's worker may be busy for longer. It reads in bursts of non-blocking receives into one buffer and
//! translates each datagram at once behind the bytes of those before it: no datagram is kept, and nothing is allocated for
//! one but the bytes of its spans.
//! (`recvmmsg` would save most of the system calls, but there is no safe way to it in the crates we use; at 100,000
//! spans/s a receive is 3 % of the work.) What waits is bounded in datagrams, in bytes by what the distributor
//! may have in flight; up to `workers` chunks of it are on their way to the ingesters. At the stop, what the
//! kernel has received is read and pushed as well. What the kernel dropped for want of buffer is counted, too.

mod kernel_drops;

use std::{collections::VecDeque, future::Future, io, panic::resume_unwind, time::Duration};

use bytes::Bytes;
use tempo_config::DatagramsConfig;
use tempo_model::TenantId;
use tokio::{
    net::UdpSocket,
    runtime::{Builder, Handle},
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use self::kernel_drops::KernelDrops;
use super::{JaegerFormat, JaegerToOtlp};
use crate::{
    inflight::Reservation,
    metrics::{DatagramDropped, Transport},
    push::Distributor,
    receiver::{TenantRefused, push},
};

/// Datagrams that are read before others have their turn.
const BURST: usize = 128;

/// A chunk of spans that is as large is pushed without more. Small enough to be walked on a runtime worker and never to
/// be more than a tenant's burst.
const CHUNK_BYTES: usize = 256 << 10;

/// Queues full of datagrams that are read after the stop: senders that go on must not keep us.
const MOST_DRAIN_ROUNDS: usize = 16;

/// How often the kernel is asked what it dropped.
const KERNEL_DROPS_PERIOD: Duration = Duration::from_secs(5);

/// Takes datagrams of one encoding.
#[derive(Debug)]
pub struct DatagramReceiver {
    name: &'static str,
    distributor: Distributor,
    transport: Transport,
    format: JaegerFormat,
    endpoint: String,
    socket_buffer_bytes: usize,
    queue_size: usize,
    max_packet_bytes: usize,
    workers: usize,
}

pub(crate) fn receivers(distributor: &Distributor) -> Vec<DatagramReceiver> {
    let Some(jaeger) = distributor.jaeger_config() else { return Vec::new() };
    let new = |name, transport, format, config: DatagramsConfig<'_>| DatagramReceiver {
        name,
        distributor: distributor.clone(),
        transport,
        format,
        endpoint: config.endpoint.to_owned(),
        socket_buffer_bytes: config.socket_buffer().to_usize(),
        queue_size: config.queue_size,
        max_packet_bytes: config.max_packet_size.to_usize(),
        workers: config.workers,
    };
    let compact = jaeger.protocols.thrift_compact.as_ref().map(|compact| {
        let config = compact.datagrams();
        new("jaeger_thrift_compact", Transport::JaegerThriftCompact, JaegerFormat::CompactMessage, config)
    });
    let binary = jaeger.protocols.thrift_binary.as_ref().map(|binary| {
        let config = binary.datagrams();
        new("jaeger_thrift_binary", Transport::JaegerThriftBinary, JaegerFormat::BinaryMessage, config)
    });
    compact.into_iter().chain(binary).collect()
}

impl DatagramReceiver {
    /// Its name in logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its socket is to be bound.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The receive buffer that its socket should have.
    pub fn socket_buffer_bytes(&self) -> usize {
        self.socket_buffer_bytes
    }

    /// Reads the non-blocking `socket` until `stop`, then what it still has, and returns when all of it is pushed or counted.
    pub async fn run(self, socket: std::net::UdpSocket, stop: impl Future<Output = ()>) -> io::Result<()> {
        let (stopped, until) = oneshot::channel::<()>();
        let pushing = Handle::current();
        let mut reading = spawn_blocking(move || {
            let reader = Builder::new_current_thread().enable_io().enable_time().build()?;
            reader.block_on(self.read(socket, until, pushing))
        });
        let read = tokio::select! {
            () = stop => {
                drop(stopped);
                reading.await
            }
            read = &mut reading => read,
        };
        read.unwrap_or_else(|error| if error.is_panic() { resume_unwind(error.into_panic()) } else { Ok(()) })
    }

    /// Reads until the sender of `stop` is gone; pushes go to the runtime of the ingester.
    async fn read(
        self,
        socket: std::net::UdpSocket,
        mut stop: oneshot::Receiver<()>,
        pushing: Handle,
    ) -> io::Result<()> {
        let socket = UdpSocket::from_std(socket)?;
        let mut intake = Intake::new(&self);
        let mut pushes = JoinSet::new();
        let tenant = self.tenant();
        let mut kernel_drops = KernelDrops::of(&socket);
        let mut every = interval(KERNEL_DROPS_PERIOD);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                Some(pushed) = pushes.join_next() => propagate_panic(pushed),
                // An error of the socket shows in the read.
                _ = socket.readable() => {
                    intake.read(BURST, |buffer| socket.try_recv(buffer));
                }
                _ = every.tick() => self.count_kernel_drops(&mut kernel_drops),
            }
            self.start_pushes(&mut intake, &mut pushes, &tenant, &pushing);
        }
        // Without tokio, which would not know of what came since it last looked.
        if let Ok(socket) = socket.into_std() {
            for _ in 0..MOST_DRAIN_ROUNDS {
                let came = intake.read(self.queue_size, |buffer| socket.recv(buffer));
                self.start_pushes(&mut intake, &mut pushes, &tenant, &pushing);
                while let Some(pushed) = pushes.join_next().await {
                    propagate_panic(pushed);
                    self.start_pushes(&mut intake, &mut pushes, &tenant, &pushing);
                }
                if came < self.queue_size {
                    break;
                }
            }
            self.count_kernel_drops(&mut kernel_drops);
        }
        Ok(())
    }

    fn count_kernel_drops(&self, kernel_drops: &mut KernelDrops) {
        let drops = kernel_drops.take();
        self.distributor.metrics().datagrams_dropped(
            self.transport,
            DatagramDropped::SocketBufferFull,
            drops,
        );
    }

    /// Datagrams name no tenant.
    fn tenant(&self) -> Result<TenantId, TenantRefused> {
        if !self.distributor.is_multitenant() {
            return Ok(TenantId::single());
        }
        TenantId::parse(self.distributor.udp_tenant()).map_err(TenantRefused::from)
    }

    fn start_pushes(
        &self,
        intake: &mut Intake<'_>,
        pushes: &mut JoinSet<()>,
        tenant: &Result<TenantId, TenantRefused>,
        pushing: &Handle,
    ) {
        while pushes.len() < self.workers
            && let Some(Chunk { bytes, datagrams: _, reservation }) = intake.next_chunk()
        {
            let (distributor, transport, tenant) = (self.distributor.clone(), self.transport, tenant.clone());
            let push = async move {
                // There is nobody to tell; `push` has counted the spans.
                push(&distributor, transport, tenant, Bytes::from(bytes), reservation).await.ok();
            };
            pushes.spawn_on(push, pushing);
        }
    }
}

fn propagate_panic(pushed: Result<(), tokio::task::JoinError>) {
    if let Err(error) = pushed
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

/// Some datagrams' spans as one export request.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    datagrams: usize,
    reservation: Reservation,
}

/// What was read and waits to be pushed.
#[derive(Debug)]
struct Intake<'r> {
    receiver: &'r DatagramReceiver,
    convert: JaegerToOtlp,
    /// One byte longer than a datagram may be.
    buffer: Vec<u8>,
    chunks: VecDeque<Chunk>,
    /// In all chunks.
    datagrams: usize,
}

impl<'r> Intake<'r> {
    fn new(receiver: &'r DatagramReceiver) -> Intake<'r> {
        Intake {
            receiver,
            convert: JaegerToOtlp::default(),
            buffer: vec![0; receiver.max_packet_bytes.saturating_add(1)],
            chunks: VecDeque::new(),
            datagrams: 0,
        }
    }

    /// Reads what the socket has, up to `most` datagrams, and returns how many there were.
    fn read(&mut self, most: usize, mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> usize {
        let mut came = 0;
        for _ in 0..most {
            match receive(&mut self.buffer) {
                Ok(len) => {
                    came += 1;
                    if let Err(reason) = self.take(len) {
                        self.receiver.distributor.metrics().datagrams_dropped(
                            self.receiver.transport,
                            reason,
                            1,
                        );
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Such as a signal, or what a sender's ICMP brings; it is gone by having been read.
                Err(_) => {}
            }
        }
        self.receiver.distributor.metrics().datagrams_came(self.receiver.transport, came as u64);
        came
    }

    /// Translates the datagram in the buffer.
    fn take(&mut self, len: usize) -> Result<(), DatagramDropped> {
        let receiver = self.receiver;
        if len > receiver.max_packet_bytes {
            return Err(DatagramDropped::TooLarge);
        }
        if self.datagrams >= receiver.queue_size {
            return Err(DatagramDropped::QueueFull);
        }
        if self.chunks.back().is_none_or(|last| last.bytes.len() >= CHUNK_BYTES) {
            let reservation =
                receiver.distributor.inflight().reserve(0).map_err(|_| DatagramDropped::Refused)?;
            self.chunks.push_back(Chunk { bytes: Vec::new(), datagrams: 0, reservation });
        }
        let Some(chunk) = self.chunks.back_mut() else { return Err(DatagramDropped::Refused) };
        let before = chunk.bytes.len();
        chunk.bytes.reserve(len + len / 2);
        let datagram = self.buffer.get(..len).unwrap_or_default();
        self.convert
            .append(receiver.format, datagram, &mut chunk.bytes)
            .map_err(|_| DatagramDropped::Malformed)?;
        if chunk.reservation.grow(chunk.bytes.len() - before).is_err() {
            chunk.bytes.truncate(before);
            return Err(DatagramDropped::Refused);
        }
        chunk.datagrams += 1;
        self.datagrams += 1;
        Ok(())
    }

    fn next_chunk(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.datagrams -= chunk.datagrams;
        (chunk.datagrams > 0).then_some(chunk)
    }
}
