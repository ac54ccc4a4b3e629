//! The keys of an external issuer, fetched when needed and kept for a while.
//!
//! A key that is not known makes the edge look again, but at most twice a minute, so that tokens with invented key
//! ids cannot make it a hammer. When the issuer does not answer, keys are used for an hour after they were last
//! confirmed and then no longer: a key that the issuer withdrew must not live for ever because somebody keeps the two
//! apart.

use std::io::Read;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chio_kernel::Clock;
use jsonwebtoken::Algorithm;

use super::config::JwksSource;
use super::failure::{AuthError, Fault};
use super::keys::{Found, Key, KeySet};
use super::url;

/// Keys younger than this are used without asking again, in seconds.
const FRESH: u64 = 600;
/// Keys that were not confirmed for this long are not used any more, in seconds.
const STALE: u64 = 3600;
/// Time between two attempts to fetch, in seconds.
const BETWEEN_ATTEMPTS: u64 = 30;
/// Time for one fetch.
const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of a key set.
const LARGEST_SET: usize = 256 * 1024;

/// The keys of one issuer.
pub(super) struct Jwks {
    source: Source,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    /// One fetch at a time; the others wait for its result.
    fetching: tokio::sync::Mutex<()>,
}

enum Source {
    Url { client: reqwest::Client, url: String },
    File(std::path::PathBuf),
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// How often they were read; what was verified with others is not believed any more.
    generation: u64,
    /// When `keys` were last confirmed, in Unix seconds.
    confirmed: u64,
    /// When the last attempt began, in Unix seconds.
    tried: Option<u64>,
    /// Whether the last attempt failed, so that the issuer may have keys by now that are not known here.
    outdated: bool,
}

impl Jwks {
    /// Prepares to read keys. A file is read at once, so that a wrong path shows at the start; a URL is not, because
    /// the issuer may start after us.
    pub(super) fn new(source: JwksSource, clock: Arc<dyn Clock>) -> Result<Arc<Jwks>, AuthError> {
        let mut state = State::default();
        let source = match source {
            JwksSource::Url(text) => {
                let url = url::trusted(&text).map_err(|why| AuthError::BadUrl {
                    role: "the URL of the key set",
                    text: text.clone(),
                    why,
                })?;
                let client = client(url::is_loopback(&url))
                    .map_err(|error| AuthError::Keys { from: text.clone(), why: error.to_string() })?;
                Source::Url { client, url: text }
            }
            JwksSource::File(path) => {
                let keys = read_file(&path)
                    .map_err(|why| AuthError::Keys { from: path.display().to_string(), why })?;
                let now = clock.now();
                state = State {
                    keys: Some(Arc::new(keys)),
                    generation: 1,
                    confirmed: now,
                    tried: None,
                    outdated: false,
                };
                Source::File(path)
            }
        };
        Ok(Arc::new(Jwks { source, clock, state: RwLock::new(state), fetching: tokio::sync::Mutex::new(()) }))
    }

    /// The generation of the keys in use, while they may be used.
    pub(super) fn generation(self: &Arc<Self>) -> Option<u64> {
        let (_, generation) = self.usable()?;
        self.refresh_when_old();
        Some(generation)
    }

    /// The key that decides about a token with this header, and the generation that it belongs to.
    pub(super) async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<(Key, u64), Fault> {
        if let Some((keys, generation)) = self.usable() {
            match keys.find(id, algorithm) {
                Found::Key(key) => {
                    self.refresh_when_old();
                    return Ok((key.clone(), generation));
                }
                Found::OtherAlgorithm => {
                    return Err(Fault::Invalid("the token's algorithm is not that of the key it names"));
                }
                Found::Unknown => {}
            }
        }
        self.refresh().await;
        let (keys, generation) = self.usable().ok_or(Fault::KeysUnavailable)?;
        match keys.find(id, algorithm) {
            Found::Key(key) => Ok((key.clone(), generation)),
            Found::OtherAlgorithm => {
                Err(Fault::Invalid("the token's algorithm is not that of the key it names"))
            }
            Found::Unknown if self.is_outdated() => Err(Fault::KeysUnavailable),
            Found::Unknown => Err(Fault::Invalid("the token names no key that its issuer publishes")),
        }
    }

    fn usable(&self) -> Option<(Arc<KeySet>, u64)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let keys =
            state.keys.clone().filter(|_| self.clock.now().saturating_sub(state.confirmed) <= STALE)?;
        Some((keys, state.generation))
    }

    fn is_outdated(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).outdated
    }

    /// Confirms keys that are getting old, without letting the request wait for it.
    fn refresh_when_old(self: &Arc<Self>) {
        let old = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            self.clock.now().saturating_sub(state.confirmed) > FRESH && self.due(&state)
        };
        if old && self.fetching.try_lock().is_ok() {
            let jwks = Arc::clone(self);
            tokio::spawn(async move { jwks.refresh().await });
        }
    }

    fn due(&self, state: &State) -> bool {
        let now = self.clock.now();
        // A clock that was set back must not end all attempts until it has caught up.
        state.tried.is_none_or(|tried| now < tried || now - tried >= BETWEEN_ATTEMPTS)
    }

    async fn refresh(&self) {
        let _one = self.fetching.lock().await;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            // Also answers those who waited while another fetched.
            if !self.due(&state) {
                return;
            }
            state.tried = Some(self.clock.now());
        }
        let fetched = self.fetch().await;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.outdated = fetched.is_err();
        match fetched {
            Ok(keys) => {
                state.keys = Some(Arc::new(keys));
                state.generation += 1;
                state.confirmed = self.clock.now();
            }
            Err(why) => tracing::warn!(from = %self.name(), why, "the issuer's keys could not be read"),
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        match &self.source {
            Source::Url { client, url } => KeySet::parse(&download(client, url).await?),
            Source::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path))
                    .await
                    .map_err(|error| error.to_string())?
            }
        }
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Url { url, .. } => url.clone(),
            Source::File(path) => path.display().to_string(),
        }
    }
}

fn client(loopback: bool) -> Result<reqwest::Client, reqwest::Error> {
    // Fails only when a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCH_DEADLINE)
        .connect_timeout(FETCH_DEADLINE);
    // A proxy has no business with a request to this machine.
    if loopback { builder.no_proxy().build() } else { builder.https_only(true).build() }
}

async fn download(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let request =
        client.get(url).header(reqwest::header::ACCEPT, "application/jwk-set+json, application/json");
    let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("the answer has status {}, and redirects are not followed", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + chunk.len() > LARGEST_SET {
            return Err(format!("the answer is longer than {LARGEST_SET} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())
}

fn read_file(path: &std::path::Path) -> Result<KeySet, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let limit = u64::try_from(LARGEST_SET).unwrap_or(u64::MAX);
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read > LARGEST_SET {
        return Err(format!("the file is longer than {LARGEST_SET} bytes"));
    }
    KeySet::parse(&text)
}
