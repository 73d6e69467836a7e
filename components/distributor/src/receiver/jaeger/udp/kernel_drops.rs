//! How many datagrams the kernel dropped at a socket because its buffer was full, from Linux's tables in `/proc`.
//!
//! Elsewhere, or where `/proc` is not readable, nothing is counted.

use std::{fs, os::fd::AsRawFd as _};

use tokio::net::UdpSocket;

const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];

/// Columns of the tables: `sl local rem st queues timer retransmits uid timeout inode ref pointer drops`.
const INODE: usize = 9;
const DROPS: usize = 12;

#[derive(Debug)]
pub(super) struct KernelDrops {
    inode: Option<String>,
    seen: u64,
}

impl KernelDrops {
    pub(super) fn of(socket: &UdpSocket) -> KernelDrops {
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok();
        let inode = link.as_ref().and_then(|link| inode_of(link.to_str()?));
        KernelDrops { inode: inode.map(str::to_owned), seen: 0 }
    }

    /// Drops since the last call.
    pub(super) fn take(&mut self) -> u64 {
        let Some(inode) = &self.inode else { return 0 };
        let in_table = |path| fs::read_to_string(path).ok().and_then(|table| drops_of(&table, inode));
        let now = TABLES.into_iter().find_map(in_table).unwrap_or(self.seen);
        let new = now.saturating_sub(self.seen);
        self.seen = now;
        new
    }
}

fn inode_of(link: &str) -> Option<&str> {
    link.strip_prefix("socket:[")?.strip_suffix(']')
}

fn drops_of(table: &str, inode: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.split_whitespace().nth(INODE) == Some(inode))?;
    line.split_whitespace().nth(DROPS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_the_sockets_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  112: 0100007F:1AAF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41234 2 0000000000000000 17
  113: 0100007F:1AB0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41235 2 0000000000000000 0
";

        assert_eq!(inode_of("socket:[41234]"), Some("41234"));
        assert_eq!(drops_of(table, "41234"), Some(17));
        assert_eq!(drops_of(table, "1"), None);
    }
}
