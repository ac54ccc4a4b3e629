//! How many connections come from where, so that no address holds all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::router::network;

/// The fewest connections that one address may have, however few there may be in all.
const FEWEST: usize = 64;

/// Counts the connections of each address, IPv6 by network. This machine is not counted: a proxy in front of the edge
/// brings all its clients from here.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A counted connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    addresses: Arc<Addresses>,
    /// None for this machine.
    address: Option<IpAddr>,
}

impl Addresses {
    /// Lets each address have a quarter of all connections.
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: (connections / 4).max(FEWEST), counts: Mutex::default() })
    }

    /// Counts one more connection, unless its address has too many.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let address = (!address.to_canonical().is_loopback()).then(|| network(address));
        if let Some(address) = address {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(Counted { addresses: Arc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_address_has_a_quarter_of_the_connections_and_this_machine_all() {
        for (connections, most) in [(10_000, 2500), (100, 64)] {
            let addresses = Addresses::new(connections);
            let of = |text: &str| addresses.count(text.parse().unwrap());
            let mut held: Vec<_> = (0..most).map(|_| of("192.0.2.1").unwrap()).collect();
            assert!(of("192.0.2.1").is_none());
            assert!(of("192.0.2.2").is_some());
            held.pop();
            assert!(of("192.0.2.1").is_some());
            let local: Vec<_> =
                (0..=most).flat_map(|_| [of("127.0.0.1").unwrap(), of("::1").unwrap()]).collect();
            drop((held, local));
            assert!(addresses.counts.lock().unwrap().is_empty());
        }
    }
}
