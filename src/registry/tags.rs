//! Listing the tags of a repository, every page.

use std::collections::{BTreeSet, HashSet};

use reqwest::header::LINK;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::RegistryError;
use super::client::{Access, Client};
use super::request::{Answer, Kind, Request};
use super::transport::resolve;

/// How many tags a page is asked to have; Quay refuses more.
const PAGE: usize = 100;

/// The most pages of one list: more are taken for a registry that goes round in circles.
const MOST_PAGES: usize = 20_000;

/// The largest page: docker-registry 2.8 puts all tags into one.
const LARGEST_PAGE: u64 = 64 << 20;

#[derive(Deserialize)]
struct Page {
    /// Null where there is none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, sorted, each once; none where the registry does not know it.
    ///
    /// The registry's `Link` header leads from page to page; where there is none, a page that may be
    /// a full one is followed by asking for what comes after its last tag, until a page brings
    /// nothing new. A list that breaks off anywhere is an error.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, RegistryError> {
        let all = self.tags_within(repository, usize::MAX).await?;
        Ok(all.unwrap_or_default())
    }

    /// All tags as [`Self::tags`] has them; `None` if they fill more than so many pages.
    pub(super) async fn tags_within(
        &self,
        repository: &str,
        most_pages: usize,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let path = format!("tags/list?n={PAGE}");
        let (first, scope) = self.address(repository, &path, Access::Pull)?;
        let mut tags = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut next = Some(first.clone());
        while let Some(url) = next {
            let is_first = seen.is_empty();
            let request =
                Request::new(Kind::Tags, Method::GET, url.clone(), scope.clone()).cap(LARGEST_PAGE);
            let answer = self.transport.send(&request).await?;
            if answer.status.as_u16() != 200 {
                let unknown = is_first && answer.says_absent();
                return if unknown {
                    Ok(Some(Vec::new()))
                } else {
                    Err(answer.refused())
                };
            }
            if !seen.insert(url.clone()) || seen.len() > MOST_PAGES {
                return Err(answer.corrupt("the list of tags goes round in circles"));
            }
            let page = read_page(&answer)?;
            let last = page.last().cloned();
            let full = is_full(page.len());
            let before = tags.len();
            tags.extend(page);
            let advanced = tags.len() > before;
            next = match (linked(&answer, &url)?, last) {
                (Some(link), _) => Some(link),
                // ECR's `last` is a token of its own making: there only its link leads on.
                (None, Some(last)) if full && advanced && self.transport.ecr.is_none() => {
                    Some(after(&first, &last))
                }
                _ => None,
            };
            if next.is_some() && seen.len() >= most_pages {
                return Ok(None);
            }
        }
        Ok(Some(tags.into_iter().collect()))
    }
}

/// Whether a page of this length may be cut off: it has as many as were asked for, or, of a registry
/// that does not go by that, a number such as limits have.
fn is_full(length: usize) -> bool {
    length >= PAGE && (length.is_multiple_of(50) || length.is_multiple_of(64))
}

fn read_page(answer: &Answer) -> Result<Vec<String>, RegistryError> {
    let page: Page = serde_json::from_slice(&answer.body)
        .map_err(|_| answer.corrupt("it should be a list of tags, and is none"))?;
    Ok(page.tags.unwrap_or_default())
}

/// The page that comes after `tag`.
fn after(first: &Url, tag: &str) -> Url {
    let mut url = first.clone();
    url.query_pairs_mut().append_pair("last", tag);
    url
}

/// Where the `Link` header with `rel="next"` leads (RFC 8288), within the same registry.
fn linked(answer: &Answer, from: &Url) -> Result<Option<Url>, RegistryError> {
    let Some(header) = answer.header(LINK.as_str()) else {
        return Ok(None);
    };
    let Some(target) = next_target(header) else {
        return Ok(None);
    };
    let url = resolve(from, target).map_err(|why| answer.corrupt(why))?;
    if url.origin() == from.origin() {
        Ok(Some(url))
    } else {
        Err(answer.corrupt("its next page lies on another host"))
    }
}

fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            matches!(parameter.as_str(), "rel=next" | "rel=\"next\"")
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_link() {
        for (header, target) in [
            (
                "</v2/a/tags/list?last=x&n=100>; rel=\"next\"",
                Some("/v2/a/tags/list?last=x&n=100"),
            ),
            ("<a>; rel=prev, <b>; title=\"x\"; rel=next", Some("b")),
            ("<a>; rel=\"prev\"", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_target(header), target, "{header}");
        }
    }
}
