//! No secret in anything that is shown.

use super::service::{SECRET_KEY, Service, shown_as};
use super::{command_at, repository, waybill_at};
use crate::program::run;
use crate::search::search;

#[test]
fn neither_token_nor_key_is_shown() {
    let service = Service::start();
    let repo = repository(&["api"]);
    let mut shown = Vec::new();
    let mut ran = |arguments: &[&str]| {
        let ran = waybill_at(&service, &repo, arguments);
        shown.extend([ran.out, ran.err]);
        ran.code
    };
    assert_eq!(ran(&["registry", "init", "-vv"]), 0);
    assert_eq!(ran(&["debug", "record-all", "--images", "-vv"]), 0);
    assert_eq!(ran(&["plan", "-vv"]), 0);
    assert_eq!(ran(&["why", "api", "--json"]), 0);
    // What is said of a token that is refused holds the token.
    service.behave(|ways| {
        ways.token_uses = 0;
        ways.expired_words = "authorization token has expired: {token}, {shown}".into();
    });
    assert_eq!(ran(&["plan", "-vv"]), 3);
    service.behave(|ways| {
        ways.denied.insert("GetAuthorizationToken".into());
    });
    assert_eq!(ran(&["plan", "--json"]), 3);
    let said = shown.join("\n");
    assert!(said.contains("has expired: [secret], [secret]"), "{said}");
    let tokens = service.tokens();
    assert!(tokens.len() >= 5, "{tokens:?}");
    let shown = tokens.iter().map(|token| shown_as(token));
    let secrets = tokens.iter().cloned().chain([SECRET_KEY.to_owned()]);
    let secrets: Vec<String> = secrets.chain(shown.clone()).collect();
    for secret in &secrets {
        assert!(!said.contains(secret), "{said}");
    }
    for kept in [service.registry.data(), repo.home()] {
        let found = search(kept, &secrets);
        assert!(found.is_nothing(), "{found:?}");
    }
    // Each stands in what was sent, in just that form.
    let sent: Vec<String> = service
        .log()
        .into_iter()
        .map(|seen| seen.authorization)
        .collect();
    for shown in shown {
        assert!(sent.contains(&format!("Basic {shown}")), "{sent:?}");
    }
    // The search finds what is there: somebody prints the very environment.
    let mut print = command_at(&service, &repo);
    print.arg("--version");
    let environment: Vec<String> = print
        .get_envs()
        .map(|(name, value)| format!("{name:?}={value:?}"))
        .collect();
    assert!(environment.join("\n").contains(SECRET_KEY));
    assert_eq!(run(&mut print).code, 0);
    // And the tokens are those that were used: each was good for something or was refused.
    let log = service.log();
    assert!(log.iter().any(|seen| seen.status == 403) && log.iter().any(|seen| seen.status == 201));
}
