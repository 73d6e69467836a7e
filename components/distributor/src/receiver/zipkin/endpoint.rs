//! The network context of one side of a call: addresses as text, in their canonical form.

use std::{fmt::Write as _, net::IpAddr};

/// One side of a call. Reused from span to span.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) service: String,
    pub(super) v4: String,
    pub(super) v6: String,
    /// 0 if unknown.
    pub(super) port: u16,
}

impl Endpoint {
    pub(super) fn clear(&mut self) {
        let Endpoint { service, v4, v6, port } = self;
        for text in [service, v4, v6] {
            text.clear();
        }
        *port = 0;
    }

    pub(super) fn set_service(&mut self, service: &str) {
        service.clone_into(&mut self.service);
    }

    pub(super) fn set_v4(&mut self, address: IpAddr) {
        put_address(&mut self.v4, address);
    }

    pub(super) fn set_v6(&mut self, address: IpAddr) {
        put_address(&mut self.v6, address);
    }

    pub(super) fn set_v4_text(&mut self, text: &str) {
        put_address_text(&mut self.v4, text);
    }

    pub(super) fn set_v6_text(&mut self, text: &str) {
        put_address_text(&mut self.v6, text);
    }

    /// IPv6 if there are both.
    pub(super) fn address(&self) -> &str {
        if self.v6.is_empty() { &self.v4 } else { &self.v6 }
    }

    pub(super) fn is_empty(&self) -> bool {
        let Endpoint { service, v4, v6, port } = self;
        service.is_empty() && v4.is_empty() && v6.is_empty() && *port == 0
    }
}

/// An IPv4 address that was mapped into IPv6 is written as the former.
fn put_address(out: &mut String, address: IpAddr) {
    out.clear();
    // Writing to a String cannot fail.
    write!(out, "{}", address.to_canonical()).unwrap_or_default();
}

/// What is no address is kept as it is.
fn put_address_text(out: &mut String, text: &str) {
    match text.parse() {
        Ok(address) => put_address(out, address),
        Err(_) => text.clone_into(out),
    }
}
