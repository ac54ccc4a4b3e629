//! The code by which the operator, and nobody else, approves.
//!
//! It is shown on the operator's terminal and typed into the consent page. A code approves once, and for ten minutes at
//! most; the next one is shown when a code was used, and when a page is opened or answered after a code has ended. So a
//! code that stands in a scroll-back or a log is soon worth nothing, and a page that somebody else opened cannot be
//! approved by them. Fifty random bits and a bound on wrong guesses make guessing hopeless. Wrong guesses are bounded for
//! each address, so that nobody keeps the operator out, and more widely for all of them together.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use chio_core::hash::sha256;
use chio_json::Sha256Hex;

use super::pace::Pace;
use super::secret::{self, NoRandomness};

/// Digits that cannot be mistaken for one another (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Wrong guesses of one address in a minute.
const MOST_GUESSES: u32 = 20;
/// Wrong guesses of all addresses within one window.
const MOST_GUESSES_OF_ALL: u32 = 1000;
/// Length of a window, in seconds.
const WINDOW: u64 = 60;
/// How long a code is good, in seconds.
const CODE_LIFE: u64 = 600;

/// The code that is good at present.
pub(super) struct OneTimeCode {
    announce: Arc<dyn Fn(&str) + Send + Sync>,
    state: Mutex<State>,
    pace: Pace,
}

struct State {
    digest: Sha256Hex,
    made: u64,
    window_start: u64,
    wrong: u32,
}

/// What became of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// It was the code, which is spent now.
    Right,
    /// It was not.
    Wrong,
    /// Too many were wrong just now, so this one was not looked at.
    TooMany,
}

impl OneTimeCode {
    /// Makes the first code and shows it.
    pub(super) fn new(announce: Arc<dyn Fn(&str) + Send + Sync>, now: u64) -> Result<Self, NoRandomness> {
        let code = fresh()?;
        announce(&code);
        let state = State { digest: digest(&code), made: now, window_start: 0, wrong: 0 };
        Ok(Self { announce, state: Mutex::new(state), pace: Pace::new(MOST_GUESSES) })
    }

    /// Shows a new code if the last one has ended. To be asked when a page is opened.
    pub(super) fn renew(&self, now: u64) -> Result<(), NoRandomness> {
        let next = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.has_ended(now) {
                return Ok(());
            }
            state.replace(now)?
        };
        (self.announce)(&next);
        Ok(())
    }

    /// Compares the guess of a peer with the code; the right one is spent, and the next one shown.
    pub(super) fn guess(&self, guess: &str, peer: Option<IpAddr>, now: u64) -> Result<Guess, NoRandomness> {
        if self.pace.wait(peer, now).is_some() {
            return Ok(Guess::TooMany);
        }
        self.renew(now)?;
        let next = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if now < state.window_start || now - state.window_start >= WINDOW {
                (state.window_start, state.wrong) = (now, 0);
            }
            if state.wrong >= MOST_GUESSES_OF_ALL {
                return Ok(Guess::TooMany);
            }
            if digest(guess) != state.digest {
                state.wrong += 1;
                drop(state);
                self.pace.failed(peer, now);
                return Ok(Guess::Wrong);
            }
            state.replace(now)?
        };
        (self.announce)(&next);
        Ok(Guess::Right)
    }
}

impl State {
    fn has_ended(&self, now: u64) -> bool {
        now < self.made || now - self.made >= CODE_LIFE
    }

    /// Puts a new code in the place of the last one.
    fn replace(&mut self, now: u64) -> Result<String, NoRandomness> {
        let next = fresh()?;
        (self.digest, self.made) = (digest(&next), now);
        Ok(next)
    }
}

fn fresh() -> Result<String, NoRandomness> {
    let mut code = String::with_capacity(11);
    for (position, byte) in secret::bytes::<10>()?.into_iter().enumerate() {
        if position == 5 {
            code.push('-');
        }
        code.extend(DIGITS.get(usize::from(byte & 31)).copied().map(char::from));
    }
    Ok(code)
}

/// The digest of what was typed, however it was typed.
fn digest(typed: &str) -> Sha256Hex {
    let plain: String = typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .map(|digit| digit.to_ascii_uppercase())
        .collect();
    sha256(plain.as_bytes())
}
