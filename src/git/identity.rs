//! Who the user is, as git has it.

use super::Repository;

impl Repository {
    /// `name <address>` of whoever would commit here; `unknown` where git does not know.
    #[must_use]
    pub fn identity(&self) -> String {
        let output = self.run_git("git var", &["var", "GIT_COMMITTER_IDENT"], b"");
        let text = output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // The time and its zone stand behind the address.
        match text.as_deref().map(|text| text.split_once('>')) {
            Ok(Some((identity, _))) => format!("{identity}>"),
            _ => "unknown".to_owned(),
        }
    }
}
