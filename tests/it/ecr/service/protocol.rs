//! The OCI protocol, as ECR speaks it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

use super::{
    Answer, Asked, MOST_TAGS, PAGE, State, header, is_immutable, not_let_in, page_token,
    read_page_token, said, shown_as, unknown_repository,
};

impl State {
    pub(super) async fn protocol(&self, asked: &Asked) -> Answer {
        if let Some(refusal) = self.refuse(asked) {
            return refusal;
        }
        let path = asked.path.trim_start_matches("/v2/").to_owned();
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return self.list(repository, &asked.query).await;
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return match asked.method.as_str() {
                "PUT" => self.put(asked, repository, reference).await,
                _ => self.get(asked, repository).await,
            };
        }
        match path.split_once("/blobs/") {
            Some((repository, "uploads/")) if self.repository(repository).await.is_none() => {
                unknown_repository(repository)
            }
            _ => self.forward(asked).await,
        }
    }

    /// Who comes without a token, or with one that is not good any more, is not let in.
    fn refuse(&self, asked: &Asked) -> Option<Answer> {
        let shown = asked.header("authorization").strip_prefix("Basic ");
        let shown = shown.and_then(|text| STANDARD.decode(text).ok());
        let shown = shown.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(token) = shown.as_deref().and_then(|text| text.strip_prefix("AWS:")) else {
            return Some(not_let_in());
        };
        let mut tokens = self.tokens.lock().unwrap();
        match tokens.get_mut(token) {
            None => Some(not_let_in()),
            Some(known) if known.uses == 0 || known.until < Instant::now() => {
                let ways = self.ways.lock().unwrap();
                let words = ways.expired_words.replace("{token}", token);
                let words = words.replace("{shown}", &shown_as(token));
                Some(said(ways.expired_status, "DENIED", &words))
            }
            Some(known) => {
                known.uses -= 1;
                None
            }
        }
    }

    async fn get(&self, asked: &Asked, repository: &str) -> Answer {
        if self.repository(repository).await.is_none() {
            return unknown_repository(repository);
        }
        let answer = self.forward(asked).await;
        let digest = header(&answer, "docker-content-digest");
        if answer.status() == 404 || self.archived.lock().unwrap().contains(&digest) {
            return said(404, "MANIFEST_UNKNOWN", "Requested image not found");
        }
        answer
    }

    async fn put(&self, asked: &Asked, repository: &str, reference: &str) -> Answer {
        {
            let ways = self.ways.lock().unwrap();
            if ways.denied.contains("PutImage") {
                let words = format!(
                    "User: arn:aws:iam::123456789012:user/test is not authorized to perform: \
                     ecr:PutImage on resource: {repository}"
                );
                return said(403, "DENIED", &words);
            }
            if ways.full {
                let words = format!(
                    "LimitExceededException: The repository with name '{repository}' already has \
                     the maximum allowed number of images which is '100000'"
                );
                return said(400, "DENIED", &words);
            }
        }
        if self.is_too_fast() {
            return said(429, "TOOMANYREQUESTS", "Rate exceeded");
        }
        let Some(settings) = self.repository(repository).await else {
            return unknown_repository(repository);
        };
        let digest = waybill::model::Digest::of(&asked.body).to_string();
        if !reference.starts_with("sha256:") {
            let mut tags = self.tags.lock().unwrap();
            let tags = tags.entry(repository.to_owned()).or_default();
            let stands = tags.contains_key(reference);
            if stands && is_immutable(&settings, reference) {
                // The same image again is refused in the same words.
                let name = settings["repositoryName"].as_str().unwrap();
                let words = format!(
                    "The image tag '{reference}' already exists in the '{name}' repository and \
                     cannot be overwritten because the tag is immutable."
                );
                return said(400, "TAG_INVALID", &words);
            }
            let count = tags.values().filter(|known| **known == digest).count();
            if count >= MOST_TAGS && tags.get(reference) != Some(&digest) {
                let words = format!(
                    "LimitExceededException: the maximum number of tags per image, {MOST_TAGS}, \
                     has been reached"
                );
                return said(403, "DENIED", &words);
            }
        }
        let mut answer = self.forward(asked).await;
        if answer.status().is_success() {
            answer.headers_mut().remove("location");
            let mut tags = self.tags.lock().unwrap();
            let tags = tags.entry(repository.to_owned()).or_default();
            tags.insert(reference.to_owned(), digest);
        }
        answer
    }

    fn is_too_fast(&self) -> bool {
        let most = self.ways.lock().unwrap().puts as usize;
        let mut puts = self.puts.lock().unwrap();
        puts.retain(|at| at.elapsed() < Duration::from_secs(1));
        if puts.len() >= most {
            return true;
        }
        puts.push(Instant::now());
        false
    }

    /// Pages of a list in no order; `last` is a token.
    async fn list(&self, repository: &str, query: &str) -> Answer {
        if self.repository(repository).await.is_none() {
            return unknown_repository(repository);
        }
        let mut tags = self.all_tags(repository).await;
        tags.sort_by_key(|tag| waybill::model::Digest::of(tag.as_bytes()));
        let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
        let from = match last {
            None => 0,
            Some(last) => match read_page_token(last) {
                Some(from) => from,
                None => return said(400, "UNSUPPORTED", "Invalid parameter at 'last'"),
            },
        };
        let page: Vec<&String> = tags.iter().skip(from).take(PAGE).collect();
        let to = from + page.len();
        let body = json!({"name": repository, "tags": page}).to_string();
        let mut builder = Response::builder().header("content-type", "application/json");
        if to < tags.len() {
            let token = page_token(to);
            let link = format!("</v2/{repository}/tags/list?last={token}&n={PAGE}>; rel=\"next\"");
            builder = builder.header("link", link);
        }
        builder.body(Full::from(body)).unwrap()
    }

    async fn all_tags(&self, repository: &str) -> Vec<String> {
        let url = format!("http://{}/v2/{repository}/tags/list", self.registry);
        let answer = self.client.get(url).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        tags.iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// Sends a request on to the real registry, with the host that the client named.
    async fn forward(&self, asked: &Asked) -> Answer {
        // A mount is opt-in with ECR: the upload begins.
        let is_mount = asked.path.ends_with("/blobs/uploads/");
        let query = if is_mount { "" } else { asked.query.as_str() };
        let url = format!("http://{}{}?{query}", self.registry, asked.path);
        let mut headers = asked.headers.clone();
        headers.remove("authorization");
        headers.remove("transfer-encoding");
        headers.insert("content-length", asked.body.len().into());
        let method = asked.method.parse().unwrap();
        let request = self.client.request(method, url).headers(headers);
        let answer = request.body(asked.body.clone()).send().await.unwrap();
        let mut builder = Response::builder().status(answer.status());
        let headers = builder.headers_mut().unwrap();
        *headers = answer.headers().clone();
        headers.remove("transfer-encoding");
        let body = answer.bytes().await.unwrap();
        builder.body(Full::from(body)).unwrap()
    }
}
