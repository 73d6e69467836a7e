//! The network context of one side of a call, in the words of the collector: addresses as text, IPv6 before IPv4.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// One side of a call. Reused from span to span.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) service: String,
    address: String,
    is_v6: bool,
    /// 0 if unknown.
    pub(super) port: u16,
}

impl Endpoint {
    pub(super) fn clear(&mut self) {
        let Endpoint { service, address, is_v6, port } = self;
        service.clear();
        address.clear();
        *is_v6 = false;
        *port = 0;
    }

    pub(super) fn set_service(&mut self, service: &str) {
        self.service.clear();
        self.service.push_str(service);
    }

    pub(super) fn set_v4(&mut self, address: Ipv4Addr) {
        self.set_address(IpAddr::V4(address), false);
    }

    pub(super) fn set_v6(&mut self, address: Ipv6Addr) {
        self.set_address(address.to_canonical(), true);
    }

    /// Takes an address as it was written; what is none is kept as it is.
    pub(super) fn set_address_text(&mut self, text: &str, is_v6: bool) {
        if text.is_empty() {
            return;
        }
        match text.parse::<IpAddr>() {
            Ok(address) => self.set_address(address.to_canonical(), is_v6),
            Err(_) if is_v6 || !self.is_v6 => {
                self.address.clear();
                self.address.push_str(text);
                self.is_v6 = is_v6;
            }
            Err(_) => {}
        }
    }

    /// IPv6 wins, whichever comes first.
    fn set_address(&mut self, address: IpAddr, is_v6: bool) {
        if self.is_v6 && !is_v6 {
            return;
        }
        self.is_v6 = is_v6;
        self.address.clear();
        // Writing to a String cannot fail.
        write!(self.address, "{address}").unwrap_or_default();
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn is_v6(&self) -> bool {
        self.is_v6
    }

    pub(super) fn is_empty(&self) -> bool {
        self.service.is_empty() && self.address.is_empty() && self.port == 0
    }
}
