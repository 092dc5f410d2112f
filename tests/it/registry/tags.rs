//! Lists of tags, page by page.

use crate::front::{self, Fault, Front, Rule};

use super::contents::many_tags;
use super::{Embedded, client};

#[tokio::test]
async fn lists_of_tags_are_whole_or_an_error() {
    let registry = Embedded::start().await;
    many_tags(&client(&registry.base("acme"))).await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    let circle = "</v2/acme/many/tags/list?n=100&last=t-99>; rel=\"next\"";
    let far = "<http://elsewhere.example/v2/acme/many/tags/list>; rel=\"next\"";
    for (fault, code) in [
        (Fault::status(404), "registry-refused"),
        (
            Fault::error(404, "NAME_UNKNOWN", "gone"),
            "registry-refused",
        ),
        (
            Fault::answer(200, "application/json", "[]"),
            "registry-corrupt",
        ),
        (Fault::Truncate(20), "registry-corrupt"),
        (Fault::status(500), "registry-refused"),
        (
            Fault::answer(200, "", "{\"tags\":[\"a\"]}").header("link", circle),
            "registry-corrupt",
        ),
        (
            Fault::answer(200, "", "{\"tags\":[\"a\"]}").header("link", far),
            "registry-corrupt",
        ),
    ] {
        front.reset();
        front.add(Rule::on("GET", "last=").does(fault.clone()));
        let error = client.tags("many").await.unwrap_err();
        assert_eq!(error.code(), code, "{fault:?}");
    }
    front.reset();
    front.add(Rule::on("GET", "/tags/").does(Fault::answer(200, "", "{\"tags\":null}")));
    assert_eq!(client.tags("many").await.unwrap(), Vec::<String>::new());
    // A registry that does not go by the number asked for gives all at once, unless the number is
    // one that looks like a limit.
    for (count, requests) in [
        (99, 1),
        (100, 2),
        (101, 1),
        (128, 2),
        (250, 2),
        (1000, 2),
        (1001, 1),
    ] {
        front.reset();
        let tags: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
        let page = serde_json::json!({"tags": tags}).to_string();
        front.add(Rule::on("GET", "/tags/").does(Fault::answer(200, "", page)));
        assert_eq!(client.tags("many").await.unwrap().len(), count);
        assert_eq!(front.count("GET", front::Kind::Tags), requests, "{count}");
    }
    // Where a list is longer than asking for what is wanted takes, that is asked for by name.
    front.reset();
    let wanted: Vec<String> = (0..70).map(|number| format!("t-{number}")).collect();
    for page in 1..9 {
        let link = format!("</v2/acme/many/tags/list?page={page}>; rel=\"next\"");
        let other = Fault::answer(200, "", format!("{{\"tags\":[\"o{page}\"]}}"));
        let before = if page == 1 {
            "list.n=".to_owned()
        } else {
            format!("page={}$", page - 1)
        };
        let list = Rule::on("GET", &before);
        front.add(list.does(other.header("link", &link)));
    }
    let found = client.manifests("many", &wanted).await.unwrap();
    assert!(
        found
            .keys()
            .eq(wanted.iter().collect::<std::collections::BTreeSet<_>>())
    );
    let pages = front.count("GET", front::Kind::Tags);
    assert_eq!(pages, wanted.len().div_ceil(32));
    // A list serves twice, and what it lacks is not asked for.
    front.reset();
    let none: Vec<String> = (0..70).map(|number| format!("u-{number}")).collect();
    for _ in 0..2 {
        let found = client.manifests("many", &none).await.unwrap();
        assert!(found.is_empty());
        assert_eq!(front.count("GET", front::Kind::Tags), 3);
        assert_eq!(front.count("GET", front::Kind::Manifest), 0);
    }
    // Without Link, what comes after the last tag is asked for.
    front.reset();
    front.add(Rule::on("GET", "/tags/").does(Fault::Without("link")));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    assert_eq!(front.count("GET", front::Kind::Tags), 3);
}
