//! Which requests of the client a server is working on.
//!
//! stdio gives no link from what a server asks or tells to the request that made it do so. What it says
//! beside progress, which has a token, is put on the stream of the only request in its hands; with several
//! in its hands on the stream for what belongs to no request or, where the client has none open, on that
//! of the newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chio_spec::ServerId;

use crate::channel::Route;
use crate::jsonrpc::Id;

/// The requests of one client that are with its servers, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    requests: Arc<Mutex<Vec<(u64, ServerId, Id)>>>,
}

/// A request that is with a server as long as this lives.
#[derive(Debug)]
pub(super) struct Flight {
    table: InFlight,
    number: u64,
}

impl InFlight {
    /// Enters a request that is handed to a server.
    pub(super) fn enter(&self, server: &ServerId, request: &Id) -> Flight {
        let mut requests = self.lock();
        let number = requests.last().map_or(0, |(number, ..)| number + 1);
        requests.push((number, server.clone(), request.clone()));
        Flight { table: self.clone(), number }
    }

    /// Where something belongs that the server says without saying why.
    pub(super) fn route(&self, server: &ServerId) -> Route {
        let requests = self.lock();
        let mut of_server = requests.iter().rev().filter(|(_, with, _)| with == server);
        match (of_server.next(), of_server.next()) {
            (None, _) => Route::Unrelated,
            (Some((.., only)), None) => Route::Within(only.clone()),
            (Some((.., newest)), Some(_)) => Route::UnrelatedOr(newest.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, ServerId, Id)>> {
        // Every critical section is one operation of the list.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.table.lock().retain(|(number, ..)| *number != self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_goes_to_the_only_request_in_its_hands() {
        let table = InFlight::default();
        let [one, other] = ["one", "other"].map(|id| ServerId::new(id).unwrap());
        assert_eq!(table.route(&one), Route::Unrelated);
        let first = table.enter(&one, &Id::number(1));
        let elsewhere = table.enter(&other, &Id::number(2));
        assert_eq!(table.route(&one), Route::Within(Id::number(1)));
        let newer = table.enter(&one, &Id::number(3));
        assert_eq!(table.route(&one), Route::UnrelatedOr(Id::number(3)));
        assert_eq!(table.route(&other), Route::Within(Id::number(2)));
        drop((newer, elsewhere));
        assert_eq!(table.route(&one), Route::Within(Id::number(1)));
        drop(first);
        assert_eq!(table.route(&one), Route::Unrelated);
    }
}
