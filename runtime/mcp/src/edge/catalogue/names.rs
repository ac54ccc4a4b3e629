//! The names under which the tools and prompts of several servers are offered.
//!
//! A name that only one server uses is offered as it is. A name of two or more is offered once for each
//! of them as `{server}__{name}`, and never bare, so that nothing decides for the client whom it
//! meant. Neither is a name offered bare that looks like a prefixed one of another server. That is decided over everything the servers offer, whatever the caller may use, so that the
//! names of one caller do not depend on its capability. Only the client sees these names: the kernel,
//! the receipts and the servers know their own.

use std::collections::{HashMap, HashSet};

use chio_core::hash::sha256;

/// What stands between the server and the name.
const SEPARATOR: &str = "__";

/// Longest name that all clients accept.
const LONGEST: usize = 64;

/// Hexadecimal digits that tell two shortened names apart.
const DIGITS: usize = 8;

/// What the client calls by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Meant {
    /// This name of the server at this position.
    One(usize, String),
    /// The same name of the servers at these positions; beside each the name that tells it apart.
    Several(Vec<(usize, String)>),
    /// Nothing.
    Nothing,
}

/// The offered names of one kind, both ways.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Names {
    owners: HashMap<String, (usize, String)>,
    shown: HashMap<(usize, String), String>,
    collided: HashMap<String, Vec<usize>>,
    /// What the prefixed form of a server's names starts with, by position.
    prefixes: Vec<String>,
}

impl Names {
    /// Decides the names of everything the servers offer; servers and names in their order.
    pub(in crate::edge) fn decide(servers: &[(&str, Vec<&str>)]) -> Self {
        let prefixes = servers.iter().map(|(id, _)| format!("{}{SEPARATOR}", portable(id))).collect();
        let mut names = Self { prefixes, ..Self::default() };
        let mut users: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, (_, offered)) in servers.iter().enumerate() {
            let distinct: HashSet<&str> = offered.iter().copied().collect();
            distinct.into_iter().for_each(|name| users.entry(name).or_default().push(position));
        }
        let is_shared = |name: &str| users.get(name).is_some_and(|users| users.len() > 1);
        // A name in the form of another server's prefixed ones would pass for that server's, also to a client that
        // learnt it when it was.
        let poses = |position: usize, name: &str| {
            names.prefixes.iter().enumerate().any(|(of, prefix)| of != position && name.starts_with(prefix))
        };
        let is_bare = |position: usize, name: &str| !is_shared(name) && !poses(position, name);
        let mut claims: Vec<(usize, &str, &str)> = Vec::new();
        let mut bare: Vec<(usize, &str)> = Vec::new();
        for (position, (id, offered)) in servers.iter().enumerate() {
            for name in offered {
                if is_bare(position, name) {
                    bare.push((position, name));
                } else {
                    claims.push((position, id, name));
                }
            }
        }
        // Bare names first: a prefixed one must never take the place of a name that a server chose.
        for (position, name) in bare {
            names.claim(name.to_owned(), position, name);
        }
        for (position, id, name) in claims {
            let shown = names.prefixed(position, id, name);
            names.claim(shown, position, name);
        }
        names.collided = users
            .into_iter()
            .filter(|(_, users)| users.len() > 1)
            .map(|(name, users)| (name.to_owned(), users))
            .collect();
        names
    }

    /// The name under which a server's own is offered.
    pub(in crate::edge) fn shown(&self, position: usize, own: &str) -> Option<&str> {
        self.shown.get(&(position, own.to_owned())).map(String::as_str)
    }

    /// What the client means by a name. The prefixed form of a name that needs none is understood too: a
    /// client may have learnt it while another server offered the same name.
    pub(in crate::edge) fn meant(&self, name: &str) -> Meant {
        if let Some((position, own)) = self.owners.get(name) {
            return Meant::One(*position, own.clone());
        }
        if let Some(positions) = self.collided.get(name) {
            let shown = positions.iter().filter_map(|at| Some((*at, self.shown(*at, name)?.to_owned())));
            return Meant::Several(shown.collect());
        }
        let of_server = |(position, prefix): (usize, &String)| {
            let own = name.strip_prefix(prefix.as_str())?;
            self.shown(position, own).map(|_| Meant::One(position, own.to_owned()))
        };
        self.prefixes.iter().enumerate().find_map(of_server).unwrap_or(Meant::Nothing)
    }

    /// A name that is taken stays with whoever has it.
    fn claim(&mut self, shown: String, position: usize, own: &str) {
        let owner = self.owners.get(&shown);
        if owner.is_some_and(|(of, name)| *of != position || name != own) {
            tracing::warn!(name = %shown, "hid a name of one server that would pass for another's");
            return;
        }
        self.owners.insert(shown.clone(), (position, own.to_owned()));
        self.shown.insert((position, own.to_owned()), shown);
    }

    fn prefixed(&self, position: usize, id: &str, own: &str) -> String {
        let prefix = self.prefixes.get(position).map_or("", String::as_str);
        let plain = format!("{prefix}{own}");
        if plain.chars().count() <= LONGEST && !self.owners.contains_key(&plain) {
            return plain;
        }
        // NUL stands in no two pairs at the same place, so that different pairs have different digests.
        let digest = sha256(format!("{id}\0{own}").as_bytes()).to_string();
        let digits: String = digest.chars().take(DIGITS).collect();
        let start: String = plain.chars().take(LONGEST - DIGITS - 1).collect();
        format!("{start}_{digits}")
    }
}

/// The id in characters that every client takes in a name.
fn portable(id: &str) -> String {
    id.chars()
        .map(|char| if char.is_ascii_alphanumeric() || "_.-/".contains(char) { char } else { '_' })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(position: usize, own: &str) -> Meant {
        Meant::One(position, own.to_owned())
    }

    #[test]
    fn names_are_prefixed_only_on_collision() {
        let names = Names::decide(&[("git", vec!["log", "read"]), ("files", vec!["read", "list"])]);
        assert_eq!(names.shown(0, "log"), Some("log"));
        assert_eq!(names.shown(1, "list"), Some("list"));
        assert_eq!(names.shown(0, "read"), Some("git__read"));
        assert_eq!(names.shown(1, "read"), Some("files__read"));
        assert_eq!(names.meant("log"), one(0, "log"));
        assert_eq!(names.meant("files__read"), one(1, "read"));
        // Understood although it is not needed.
        assert_eq!(names.meant("git__log"), one(0, "log"));
        assert_eq!(names.meant("files__log"), Meant::Nothing);
        assert_eq!(
            names.meant("read"),
            Meant::Several(vec![(0, "git__read".to_owned()), (1, "files__read".to_owned())])
        );
    }

    #[test]
    fn a_prefixed_name_never_takes_the_place_of_a_servers_own() {
        let names = Names::decide(&[("a", vec!["x", "b__y"]), ("b", vec!["x"])]);
        assert_eq!(names.meant("a__x"), one(0, "x"));
        assert_eq!(names.meant("a__b__y"), one(0, "b__y"));
        // Neither do two prefixed ones.
        let names = Names::decide(&[
            ("a", vec!["b__c"]),
            ("a__b", vec!["c", "b__c"]),
            ("z", vec!["c"]),
            ("a b", vec!["q"]),
            ("a_b", vec!["q"]),
        ]);
        for (position, own) in [(0, "b__c"), (1, "b__c"), (1, "c"), (2, "c"), (3, "q"), (4, "q")] {
            assert_eq!(names.meant(names.shown(position, own).unwrap()), one(position, own));
        }
    }

    #[test]
    fn a_server_cannot_take_the_prefixed_name_of_anothers() {
        let names = Names::decide(&[("a", vec!["x"]), ("b", vec!["x", "a__x", "a__x_00000000"])]);
        assert_eq!(names.meant("a__x"), one(0, "x"));
        assert_eq!(names.shown(1, "a__x"), Some("b__a__x"));
        assert_eq!(names.meant("b__a__x"), one(1, "a__x"));
        // Also when the other does not need its prefix.
        let names = Names::decide(&[("a", vec!["x"]), ("b", vec!["a__x"])]);
        assert_eq!((names.meant("a__x"), names.meant("x")), (one(0, "x"), one(0, "x")));
        // What is taken stays with whoever has it.
        let mut names = Names::default();
        names.claim("n".to_owned(), 0, "n");
        names.claim("n".to_owned(), 1, "m");
        assert_eq!((names.meant("n"), names.shown(1, "m")), (one(0, "n"), None));
    }

    #[test]
    fn prefixed_names_stay_within_what_clients_accept() {
        let long = "n".repeat(60);
        let other = format!("{}m", "n".repeat(59));
        let names =
            Names::decide(&[("server with spaces", vec![&long, &other]), ("two", vec![&long, &other])]);
        for (position, own) in [(0, &long), (1, &long), (0, &other), (1, &other)] {
            let shown = names.shown(position, own).unwrap();
            assert!(shown.len() <= 64 && !shown.contains(' '), "{shown}");
            assert_eq!(names.meant(shown), one(position, own));
        }
    }
}
