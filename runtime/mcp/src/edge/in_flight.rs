//! Which requests of the client a server is working on.
//!
//! stdio gives no link from what a server asks or tells to the request that made it do so. What it says
//! beside progress, which has a token, is put on the stream of the only request in its hands; with several
//! in its hands on the stream for what belongs to no request or, where the client has none open, on that
//! of the newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chio_kernel::{Patience, Pause, Pauses};
use chio_spec::ServerId;

use crate::channel::Route;
use crate::jsonrpc::Id;

/// The requests of one client that are with its servers, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    requests: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    server: ServerId,
    request: Id,
    pauses: Pauses,
}

/// A request that is with a server as long as this lives.
#[derive(Debug)]
pub(super) struct Flight {
    table: InFlight,
    number: u64,
    pauses: Pauses,
}

impl InFlight {
    /// Enters a request that is handed to a server.
    pub(super) fn enter(&self, server: &ServerId, request: &Id) -> Flight {
        let mut requests = self.lock();
        let number = requests.last().map_or(0, |entry| entry.number + 1);
        let pauses = Pauses::default();
        let (server, request) = (server.clone(), request.clone());
        requests.push(Entry { number, server, request, pauses: pauses.clone() });
        drop(requests);
        Flight { table: self.clone(), number, pauses }
    }

    /// Pauses the calls that are with a server, one of which it needs the client's answer for.
    pub(super) fn pause(&self, server: &ServerId) -> Vec<Pause> {
        let requests = self.lock();
        let of_server = requests.iter().filter(|entry| entry.server == *server);
        of_server.map(|entry| entry.pauses.begin()).collect()
    }

    /// Where something belongs that the server says without saying why.
    pub(super) fn route(&self, server: &ServerId) -> Route {
        let requests = self.lock();
        let mut of_server = requests.iter().rev().filter(|entry| entry.server == *server);
        match (of_server.next(), of_server.next()) {
            (None, _) => Route::Unrelated,
            (Some(only), None) => Route::Within(only.request.clone()),
            (Some(newest), Some(_)) => Route::UnrelatedOr(newest.request.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Every critical section is one operation of the list.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// As long as calls may take, not counting what the server waits for the client.
    pub(super) fn patience(&self) -> Patience {
        Patience::CallBesides(self.pauses.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.table.lock().retain(|entry| entry.number != self.number);
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
