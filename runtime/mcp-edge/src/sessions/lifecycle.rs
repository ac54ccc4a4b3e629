//! The states of a session (seed, "Hosted Session Lifecycle").

use chio_spec::McpSessionState;

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// The client has not said `notifications/initialized` yet.
    Initializing,
    /// In use.
    Ready,
    /// Calls in flight may finish; nothing new is taken.
    Draining,
    /// The client ended it.
    Deleted,
    /// Nobody used it for too long.
    Expired,
    /// It ended on our side: drained, shut down, or the server behind it is gone.
    Closed,
}

impl State {
    pub(crate) const ALL: [Self; 6] =
        [Self::Initializing, Self::Ready, Self::Draining, Self::Deleted, Self::Expired, Self::Closed];

    /// The seed's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        McpSessionState::from(self).as_str()
    }

    /// Whether requests are served.
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::Initializing | Self::Ready)
    }

    /// Whether the session is over.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Deleted | Self::Expired | Self::Closed)
    }

    /// Whether a session may go from here to there. Nothing leads back.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Initializing, Self::Ready) => true,
            (Self::Initializing | Self::Ready, Self::Draining) => true,
            (from, to) => !from.is_terminal() && to.is_terminal(),
        }
    }
}

impl From<State> for McpSessionState {
    fn from(state: State) -> Self {
        match state {
            State::Initializing => Self::Initializing,
            State::Ready => Self::Ready,
            State::Draining => Self::Draining,
            State::Deleted => Self::Deleted,
            State::Expired => Self::Expired,
            State::Closed => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn nothing_leads_back() {
        for (at, from) in State::ALL.into_iter().enumerate() {
            for (to_at, to) in State::ALL.into_iter().enumerate() {
                if from.may_become(to) {
                    assert!(to_at > at && !from.is_terminal(), "{from:?} to {to:?}");
                }
                assert!(!(from.is_terminal() && from.may_become(to)));
            }
            assert!(from.is_terminal() || from.may_become(State::Closed));
        }
    }
}
