//! ECR's JSON API: what is said of images comes from the registry, all else from moto.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use serde_json::{Value, json};

use super::super::moto::Moto;
use super::{ACCESS_KEY, Answer, Asked, State, TYPES, Token, document, exception, no_repository};

impl State {
    pub(super) async fn call(&self, action: &str, asked: &Asked) -> Answer {
        if !asked
            .header("authorization")
            .contains(&format!("Credential={ACCESS_KEY}/"))
        {
            let words = "The security token included in the request is invalid.";
            return exception("UnrecognizedClientException", words);
        }
        {
            let mut ways = self.ways.lock().unwrap();
            if ways.denied.contains(action) {
                let words = format!("User: test is not authorized to perform: ecr:{action}");
                return exception("AccessDeniedException", &words);
            }
            if let Some(left) = ways.throttled.get_mut(action).filter(|left| **left > 0) {
                *left -= 1;
                return exception("ThrottlingException", "Rate exceeded");
            }
        }
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        match action {
            "BatchGetImage" => self.batch_get_image(&body).await,
            "DescribeImages" => self.describe_images(&body).await,
            "GetAuthorizationToken" => self.token(asked).await,
            _ => self.ask_moto(asked).await,
        }
    }

    /// A token of moto's making, told apart from every other one.
    async fn token(&self, asked: &Asked) -> Answer {
        let answer = self.ask_moto(asked).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let data = &mut body["authorizationData"][0];
        let made = data["authorizationToken"].as_str().unwrap();
        let made = String::from_utf8(STANDARD.decode(made).unwrap()).unwrap();
        let (ways, mut tokens) = (self.ways.lock().unwrap(), self.tokens.lock().unwrap());
        let token = format!("{made}-{}", tokens.len());
        data["authorizationToken"] = STANDARD.encode(&token).into();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        data["expiresAt"] = (now.unwrap() + ways.token_lifetime).as_secs_f64().into();
        let password = token.strip_prefix("AWS:").unwrap().to_owned();
        let until = Instant::now() + ways.token_lifetime;
        let uses = ways.token_uses;
        tokens.insert(password, Token { uses, until });
        document(200, &body)
    }

    async fn batch_get_image(&self, body: &Value) -> Answer {
        let repository = body["repositoryName"].as_str().unwrap();
        let ids = body["imageIds"].as_array().unwrap();
        if ids.len() > 100 || ids.is_empty() {
            let words = "Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member \
                         must have length between 1 and 100'";
            return exception("InvalidParameterException", words);
        }
        if self.repository(repository).await.is_none() {
            return no_repository(repository);
        }
        let ways = self.ways.lock().unwrap().clone();
        let halves = ways.half_batches > 0;
        if halves {
            self.ways.lock().unwrap().half_batches -= 1;
        }
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            let tag = id["imageTag"].as_str().unwrap();
            if halves && at % 2 == 0 {
                continue;
            }
            if let Some(code) = ways.failing.get(tag) {
                failures.push(json!({"imageId": id, "failureCode": code, "failureReason": "so"}));
                continue;
            }
            match self.manifest(repository, tag).await {
                Some((digest, media_type, mut text)) => {
                    if ways.altered.contains(tag) {
                        text.push(' ');
                    }
                    images.push(json!({
                        "registryId": "123456789012",
                        "repositoryName": repository,
                        "imageId": {"imageTag": tag, "imageDigest": digest},
                        "imageManifest": text,
                        "imageManifestMediaType": media_type,
                    }));
                }
                None => failures.push(json!({
                    "imageId": {"imageTag": tag},
                    "failureCode": "ImageNotFound",
                    "failureReason": "Requested image not found",
                })),
            }
        }
        document(200, &json!({"images": images, "failures": failures}))
    }

    /// Digest, media type and text of a manifest that is not archived.
    async fn manifest(&self, repository: &str, tag: &str) -> Option<(String, String, String)> {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.registry);
        let request = self.client.get(url).header("accept", TYPES);
        let answer = request.send().await.unwrap();
        if answer.status() != 200 {
            return None;
        }
        let media_type = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = answer.text().await.unwrap();
        let digest = waybill::model::Digest::of(text.as_bytes()).to_string();
        let archived = self.archived.lock().unwrap().contains(&digest);
        (!archived).then_some((digest, media_type, text))
    }

    async fn describe_images(&self, body: &Value) -> Answer {
        let repository = body["repositoryName"].as_str().unwrap();
        if self.repository(repository).await.is_none() {
            return no_repository(repository);
        }
        let digest = body["imageIds"][0]["imageDigest"].as_str().unwrap();
        let archived = self.archived.lock().unwrap().contains(digest);
        let status = body["filter"]["imageStatus"].as_str().unwrap_or("ACTIVE");
        let url = format!(
            "http://{}/v2/{repository}/manifests/{digest}",
            self.registry
        );
        let request = self.client.head(url).header("accept", TYPES);
        let answer = request.send().await.unwrap();
        let is_there = answer.status() == 200
            && match status {
                "ANY" => true,
                "ARCHIVED" => archived,
                _ => !archived,
            };
        if !is_there {
            return exception("ImageNotFoundException", "The image does not exist");
        }
        let status = if archived { "ARCHIVED" } else { "ACTIVE" };
        let detail = json!({"imageDigest": digest, "imageStatus": status});
        document(200, &json!({"imageDetails": [detail]}))
    }

    async fn ask_moto(&self, asked: &Asked) -> Answer {
        let url = format!("http://{}/", self.moto);
        let mut headers = asked.headers.clone();
        headers.remove("host");
        let request = self
            .client
            .post(url)
            .headers(headers)
            .body(asked.body.clone());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let mut made = Response::builder().status(status);
        made = made.header("content-type", "application/x-amz-json-1.1");
        made.body(Full::from(body)).unwrap()
    }

    /// What moto knows of a repository.
    pub(super) async fn repository(&self, name: &str) -> Option<Value> {
        if self.ways.lock().unwrap().no_repositories {
            return None;
        }
        let request = Moto::request(&self.client, self.moto, "DescribeRepositories");
        let body = json!({"repositoryNames": [name]}).to_string();
        let answer = request.body(body).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        body["repositories"].get(0).cloned()
    }
}
