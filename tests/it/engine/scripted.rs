//! Answers that a real engine gives seldom, from a scripted one.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use waybill::build::engine::{Endpoint, Engine};
use waybill::problem::{Class, Diagnose};

use super::{Tag, build, context, nothing_more};

/// Answers as an engine would, with a script: for a part of method and path, what goes back, raw.
async fn scripted(directory: &Path, answers: &'static [(&'static str, &'static str)]) -> Engine {
    let socket = directory.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 65_536];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let target = head.split(['?', '\r']).next().unwrap().to_owned();
                let answer = answers.iter().find(|(part, _)| target.contains(part));
                let answer = answer.unwrap_or_else(|| panic!("not expected: {target}")).1;
                stream.write_all(answer.as_bytes()).await.unwrap();
                if !answer.contains("101") {
                    stream.shutdown().await.unwrap();
                }
                // The rest of the request; a socket closed before would break the answer off.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    let endpoint = Endpoint::parse(&format!("unix://{}", socket.display()), None).unwrap();
    Engine::connect_to(endpoint).await.unwrap()
}

const VERSION: (&str, &str) = (
    "/version",
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
     {\"Version\":\"1\",\"ApiVersion\":\"1.41\",\"Os\":\"linux\",\"Arch\":\"amd64\"}",
);

const SESSION: (&str, &str) = (
    "/session",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
);

#[tokio::test]
async fn an_engine_without_sessions_is_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let none = (
        "/session",
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n{\"message\":\"page not found\"}",
    );
    let answers = Box::leak(Box::new([VERSION, none]));
    let engine = scripted(directory.path(), answers).await;
    let result = build(&engine, &Tag::new().build(), context("", nothing_more))
        .await
        .0;
    let problem = result.unwrap_err().problems().remove(0);
    assert_eq!(problem.code, "engine-refused");
    assert!(
        problem.message.contains("page not found"),
        "{}",
        problem.message
    );
    assert!(problem.hint.unwrap().contains("BuildKit"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_image() {
    const BODIES: [&str; 3] = [
        // In the middle of the chunks; at their end, without an image; with what is no JSON.
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n",
        "Content-Length: 9\r\n\r\n<html>!!\n",
    ];
    for body in BODIES {
        let directory = tempfile::tempdir().unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\n{body}").leak();
        let answers = Box::leak(Box::new([VERSION, SESSION, ("/build", &*answer)]));
        let engine = scripted(directory.path(), answers).await;
        let result = build(&engine, &Tag::new().build(), context("", nothing_more))
            .await
            .0;
        let error = result.unwrap_err();
        assert_eq!(error.class(), Class::Unreachable, "{body}");
        assert_eq!(error.problems()[0].code, "engine-interrupted", "{body}");
    }
}

#[tokio::test]
async fn an_image_that_states_another_platform_is_an_error() {
    const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let directory = tempfile::tempdir().unwrap();
    let answer = |body: &str| &*format!("{OK}{body}").leak();
    let id = "{\"id\":\"moby.image.id\",\"aux\":{\"ID\":\"sha256:0\"}}\r\n";
    let answers = Box::leak(Box::new([
        VERSION,
        SESSION,
        ("/build", answer(id)),
        (
            "GET /images/",
            answer("{\"Os\":\"linux\",\"Architecture\":\"arm64\"}"),
        ),
        ("DELETE /images/waybill-test:", answer("[]")),
    ]));
    let engine = scripted(directory.path(), answers).await;
    let result = build(&engine, &Tag::new().build(), context("", nothing_more))
        .await
        .0;
    let error = result.unwrap_err();
    assert_eq!(error.problems()[0].code, "platform-mismatch", "{error}");
    assert!(error.to_string().contains("linux/arm64"), "{error}");
}
