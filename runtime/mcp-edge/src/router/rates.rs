//! How often one address may do something in a minute.
//!
//! Addresses are counted in fixed minutes, IPv6 by the network of 64 bits that one customer has. The table is bounded:
//! when it is full of addresses that are being counted, newcomers share one row.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

const MINUTE: Duration = Duration::from_secs(60);
const MOST_ADDRESSES: usize = 65_536;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request with wrong credentials.
    Failure,
    /// A new session.
    Session,
    /// Any request.
    Request,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    since: Instant,
    counts: [u32; 3],
}

/// The counts of all addresses.
pub(super) struct Rates {
    limits: [u32; 3],
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rows: HashMap<IpAddr, Row>,
    newcomers: Option<Row>,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        let limits = [limits.failures_per_minute, limits.sessions_per_minute, limits.requests_per_minute];
        Self { limits, table: Mutex::default() }
    }

    /// Counts one, unless that would be too many; then answers the seconds to wait.
    pub(super) fn count(&self, kind: Kind, address: IpAddr) -> Result<(), u64> {
        self.with(kind, address, |count, limit| {
            let possible = *count < limit;
            *count = count.saturating_add(u32::from(possible));
            possible
        })
    }

    fn with(&self, kind: Kind, address: IpAddr, pass: impl FnOnce(&mut u32, u32) -> bool) -> Result<(), u64> {
        let at = match kind {
            Kind::Failure => 0,
            Kind::Session => 1,
            Kind::Request => 2,
        };
        let limit = self.limits.get(at).copied().unwrap_or_default();
        if limit == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let row = table.row(network(address), now);
        let passed = row.counts.get_mut(at).is_some_and(|count| pass(count, limit));
        let left = MINUTE.saturating_sub(now.duration_since(row.since));
        if passed { Ok(()) } else { Err(left.as_secs().saturating_add(1)) }
    }
}

impl Table {
    fn row(&mut self, address: IpAddr, now: Instant) -> &mut Row {
        let fresh = Row { since: now, counts: [0; 3] };
        let is_over = |row: &Row| now.duration_since(row.since) >= MINUTE;
        if self.rows.len() >= MOST_ADDRESSES && !self.rows.contains_key(&address) {
            self.rows.retain(|_, row| !is_over(row));
        }
        let row = if self.rows.len() >= MOST_ADDRESSES && !self.rows.contains_key(&address) {
            self.newcomers.get_or_insert(fresh)
        } else {
            self.rows.entry(address).or_insert(fresh)
        };
        if is_over(row) {
            *row = fresh;
        }
        row
    }
}

pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn rates(requests: u32) -> Rates {
        Rates::new(&Limits { requests_per_minute: requests, ..Limits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_limited_for_the_rest_of_its_minute() {
        let rates = rates(2);
        let one = IpAddr::from(Ipv4Addr::LOCALHOST);
        let other = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        rates.count(Kind::Request, one).unwrap();
        tokio::time::advance(Duration::from_secs(30)).await;
        rates.count(Kind::Request, one).unwrap();
        assert_eq!(rates.count(Kind::Request, one), Err(31));
        rates.count(Kind::Request, other).unwrap();
        // Other kinds have their own counts.
        rates.count(Kind::Session, one).unwrap();
        tokio::time::advance(Duration::from_secs(31)).await;
        rates.count(Kind::Request, one).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let one = IpAddr::from(Ipv4Addr::LOCALHOST);
        let unlimited = Rates::new(&Limits { requests_per_minute: 0, ..Limits::default() });
        for _ in 0..10 {
            unlimited.count(Kind::Request, one).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_newcomers_share_a_row() {
        let rates = rates(1);
        for bits in 0..u32::try_from(MOST_ADDRESSES).unwrap() {
            rates.count(Kind::Request, IpAddr::from(Ipv4Addr::from_bits(bits))).unwrap();
        }
        let newcomer = |bits| IpAddr::from(Ipv4Addr::from_bits(0xff00_0000_u32 + bits));
        rates.count(Kind::Request, newcomer(1)).unwrap();
        assert!(rates.count(Kind::Request, newcomer(2)).is_err());
        assert_eq!(rates.table.lock().unwrap().rows.len(), MOST_ADDRESSES);
        tokio::time::advance(MINUTE).await;
        rates.count(Kind::Request, newcomer(2)).unwrap();
        assert_eq!(rates.table.lock().unwrap().rows.len(), 1);
    }

    #[test]
    fn one_customers_ipv6_network_is_one_address() {
        let address = |text: &str| network(IpAddr::V6(text.parse::<Ipv6Addr>().unwrap()));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)));
    }
}
