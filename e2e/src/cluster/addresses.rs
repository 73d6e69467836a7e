//! Names and addresses of one cluster. Everything follows from its name and its slot, so that several clusters run side by
//! side and the leavings of a dead one can be found and removed without asking it.
//!
//! A slot is one /16: `10.(64 + slot).0.0`. Its first /24 is the network between machines, the second quarter are the nodes'
//! pod ranges, the upper half are Service addresses. The host is outside of the pods' quarter: kube-proxy must take it for a
//! stranger, whose requests come back the way they went.

use std::net::Ipv4Addr;

use anyhow::ensure;

pub(super) const SLOTS: u8 = 32;
const FIRST_SLOT: u8 = 64;
const FIRST_POD_RANGE: u8 = 64;
pub(super) const MOST_NODES: u8 = 60;

#[derive(Debug, Clone)]
pub(super) struct Addresses {
    name: String,
    slot: u8,
}

impl Addresses {
    pub(super) fn new(name: &str, slot: u8) -> anyhow::Result<Addresses> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty() && name.len() <= 32 && name.chars().all(is_plain),
            "a cluster's name is 1 to 32 of a-z, 0-9 and '-', not {name:?}"
        );
        ensure!(slot < SLOTS, "no slot {slot}");
        Ok(Addresses { name: name.to_owned(), slot })
    }

    pub(super) fn slot(&self) -> u8 {
        self.slot
    }

    /// The network namespace of the control plane, which also holds the bridge.
    pub(super) fn control_plane_name(&self) -> String {
        format!("tempo-{}", self.name)
    }

    /// The network namespace and the cgroup folder of a node.
    pub(super) fn machine_name(&self, node: u8) -> String {
        format!("tempo-{}-node{node}", self.name)
    }

    /// The host's end of its link into the cluster.
    pub(super) fn host_interface(&self) -> String {
        format!("tempo-{}", self.slot)
    }

    fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, FIRST_SLOT + self.slot, third, fourth)
    }

    /// What every address of the cluster begins with.
    pub(super) fn prefix(&self) -> String {
        format!("10.{}.", FIRST_SLOT + self.slot)
    }

    pub(super) fn api(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    pub(super) fn host(&self) -> Ipv4Addr {
        self.address(0, 254)
    }

    pub(super) fn node(&self, node: u8) -> Ipv4Addr {
        self.address(0, 10 + node)
    }

    pub(super) fn pods(&self, node: u8) -> String {
        format!("{}/24", self.address(FIRST_POD_RANGE + node, 0))
    }

    pub(super) fn all_pods(&self) -> String {
        format!("{}/18", self.address(FIRST_POD_RANGE, 0))
    }

    pub(super) fn services(&self) -> String {
        format!("{}/17", self.address(128, 0))
    }

    /// The Service `kubernetes`: always the first of the range.
    pub(super) fn api_service(&self) -> Ipv4Addr {
        self.address(128, 1)
    }

    pub(super) fn dns_service(&self) -> Ipv4Addr {
        self.address(128, 10)
    }

    /// A bridge without an address of its own takes the lowest of its ports', which changes when a node is added; the others
    /// then hang on a stale ARP entry for half a minute.
    pub(super) fn bridge_mac(&self) -> String {
        format!("02:00:0a:{:02x}:00:01", FIRST_SLOT + self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_one_slot_do_not_overlap() -> anyhow::Result<()> {
        let addresses = Addresses::new("a", 3)?;

        assert_eq!(addresses.node(1).to_string(), "10.67.0.11");
        assert_eq!(addresses.node(MOST_NODES).to_string(), "10.67.0.70");
        assert_eq!(addresses.pods(MOST_NODES), "10.67.124.0/24");
        assert_eq!(addresses.all_pods(), "10.67.64.0/18");
        assert_eq!(addresses.services(), "10.67.128.0/17");
        assert_eq!(addresses.bridge_mac(), "02:00:0a:43:00:01");
        Ok(())
    }

    #[test]
    fn names_that_would_not_do_as_a_folder_are_refused() {
        for name in ["", "../x", "A", "a b", "a.b"] {
            assert!(Addresses::new(name, 0).is_err(), "{name}");
        }
    }
}
