//! Which server a URI belongs to, as far as the lists of resources and templates say it.

use std::sync::Arc;

use crate::edge::catalogue::Listing;

/// The position of the server that lists a URI, else of the one whose template says most about it.
pub(super) fn owner_among(
    uri: &str,
    resources: &[(Arc<Listing>, bool)],
    templates: &[(Arc<Listing>, bool)],
) -> Option<usize> {
    let lists = |(list, _): &(Arc<Listing>, bool)| list.entries.iter().any(|(own, ..)| **own == *uri);
    resources.iter().position(lists).or_else(|| {
        let said = templates.iter().enumerate().flat_map(|(position, (list, _))| {
            list.entries.iter().filter_map(move |(template, ..)| Some((fit(template, uri)?, position)))
        });
        // Of equal ones the first server's.
        said.max_by_key(|(fit, position)| (*fit, usize::MAX - position)).map(|(_, position)| position)
    })
}

/// How many bytes of a URI a template (RFC 6570) stands for literally; none when it cannot become the URI. What its
/// expressions may become is not looked at.
fn fit(template: &str, uri: &str) -> Option<usize> {
    if template == uri {
        return Some(uri.len());
    }
    let mut literals = template.split('{').enumerate().map(|(index, part)| match index {
        0 => Some(part),
        _ => part.split_once('}').map(|(_, literal)| literal),
    });
    let first = literals.next()??;
    let mut rest = uri.strip_prefix(first)?;
    let mut fit = first.len();
    let literals: Vec<&str> = literals.collect::<Option<_>>()?;
    let (last, middle) = literals.split_last()?;
    for literal in middle {
        let at = rest.find(literal)?;
        rest = rest.get(at + literal.len()..)?;
        fit += literal.len();
    }
    rest.ends_with(last).then_some(fit + last.len())
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn a_template_fits_the_uris_it_can_become() {
        for (template, uri, fits) in [
            ("test://one", "test://one", Some(10)),
            ("test://one", "test://two", None),
            ("test://{id}", "test://one", Some(7)),
            ("test://{id}/data", "test://1/data", Some(12)),
            ("test://{id}/data", "test://1/date", None),
            ("test://{a}/x/{b}", "test://1/x/2", Some(10)),
            ("test://{id", "test://1", None),
            ("{+path}", "anything", Some(0)),
        ] {
            assert_eq!(fit(template, uri), fits, "{template} {uri}");
        }
    }
}
