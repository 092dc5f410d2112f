//! What the repository's configuration says of its remotes.

use gix::bstr::ByteSlice as _;
use gix::url::Scheme;

use super::Repository;

impl Repository {
    /// The address of the remote `origin`, for people: without user name, password and query.
    /// `None` where there is none, or where it is a path on one machine.
    #[must_use]
    pub fn remote_url(&self) -> Option<String> {
        let url = self
            .with_objects(|objects| objects.handle.config_snapshot().string("remote.origin.url"))?;
        public_url(url.to_str().ok()?)
    }
}

/// The remotes that promise to have what a partial clone lacks: `remote.<name>.promisor`, and
/// git's older `extensions.partialClone`.
pub(super) fn promisors(config: &gix::config::File) -> Vec<String> {
    let promising = config
        .sections_by_name("remote")
        .into_iter()
        .flatten()
        .filter_map(|section| section.header().subsection_name())
        .filter(|name| {
            let key = format!("remote.{name}.promisor");
            config.boolean(key.as_str()).ok().flatten() == Some(true)
        })
        .map(ToString::to_string);
    let older = config
        .string("extensions.partialClone")
        .map(|name| name.to_string());
    let mut names = Vec::new();
    for name in older.into_iter().chain(promising) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The address without what is private or means nothing elsewhere.
fn public_url(text: &str) -> Option<String> {
    let mut url = gix::url::parse(text.as_bytes().as_bstr()).ok()?;
    match url.scheme {
        Scheme::File => return None,
        Scheme::Http | Scheme::Https => {
            let end = url.path.find_byteset(b"?#").unwrap_or(url.path.len());
            url.path.truncate(end);
            url.user = None;
        }
        _ => {}
    }
    url.password = None;
    Some(url.to_bstring().to_string())
}

/// Text of the `git` program without user names and passwords in addresses.
pub(super) fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let end = after
            .find(|character: char| character.is_whitespace() || "/'\"".contains(character))
            .unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |at| at + 1);
        rest = &after[host..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_show() {
        assert_eq!(
            without_credentials("fatal: 'https://me:s3cr3t@host/x.git/' at ssh://git@b/c: no"),
            "fatal: 'https://host/x.git/' at ssh://b/c: no"
        );
        assert_eq!(without_credentials("a@b c://d e@f"), "a@b c://d e@f");
    }

    #[test]
    fn public_urls_hold_no_secret_and_no_local_path() {
        let public = |text| public_url(text).unwrap_or_default();
        assert_eq!(
            public("https://u:p@host/a/b.git?token=x"),
            "https://host/a/b.git"
        );
        assert_eq!(public("git@host:a/b.git"), "git@host:a/b.git");
        assert_eq!(public("ssh://git:pw@host/a/b"), "ssh://git@host/a/b");
        assert_eq!(public_url("/srv/git/a"), None);
        assert_eq!(public_url("file:///srv/git/a"), None);
    }
}
