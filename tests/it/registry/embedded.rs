//! The embedded registry: its protocol, its directory, several processes over one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::{Client, embedded};

use crate::front::Front;

use crate::program::output;

use super::{Embedded, OCI_MANIFEST, client, manifest_of, put, serve};

fn http() -> reqwest::Client {
    waybill::registry::install_tls();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.build().unwrap()
}

/// A page of another site whose name leads to this machine still sends that name.
#[tokio::test]
async fn requests_that_name_another_host_are_refused() {
    let registry = Embedded::start().await;
    let root = format!("http://{}", registry.address());
    let ask = async |method: reqwest::Method, path: &str, host: &str| {
        let request = http().request(method, format!("{root}{path}"));
        request.header("host", host).send().await.unwrap()
    };
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    for (method, path) in [
        (&get, "/v2/"),
        (&get, "/v2/_catalog"),
        (&get, "/v2/a/tags/list"),
        (&post, "/v2/a/blobs/uploads/"),
        (&get, "/"),
    ] {
        let answer = ask(method.clone(), path, "evil.example:5000").await;
        assert_eq!(answer.status(), 421, "{method} {path}");
        let told = answer.text().await.unwrap();
        assert!(
            told.contains("DENIED") && told.contains("machine"),
            "{told}"
        );
    }
    for host in ["localhost:5000", "127.0.0.1", "[::1]:1"] {
        assert_eq!(ask(get.clone(), "/v2/", host).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn uploads_follow_the_protocol() {
    let registry = Embedded::start().await;
    let http = http();
    let root = format!("http://{}", registry.address());
    let start = async || {
        let opened = http
            .post(format!("{root}/v2/a/blobs/uploads/"))
            .send()
            .await
            .unwrap();
        assert_eq!(opened.status(), 202);
        format!("{root}{}", opened.headers()["location"].to_str().unwrap())
    };
    let digest = Digest::of(b"hello world");
    // In parts.
    let place = start().await;
    let part = |range: &'static str, content: &'static str| {
        http.patch(&place)
            .header("content-range", range)
            .body(content)
            .send()
    };
    let answer = part("0-5", "hello ").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["range"]),
        (202, &"0-5".parse().unwrap())
    );
    assert_eq!(part("7-9", "wor").await.unwrap().status(), 416);
    let state = http.get(&place).send().await.unwrap();
    assert_eq!(
        (state.status().as_u16(), &state.headers()["range"]),
        (204, &"0-5".parse().unwrap())
    );
    let done = http
        .put(format!("{place}?digest={digest}"))
        .body("world")
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), 201);
    assert_eq!(
        done.headers()["docker-content-digest"],
        digest.to_string().as_str()
    );
    assert_eq!(http.get(&place).send().await.unwrap().status(), 404);
    // Parts of it can be read.
    let blob = format!("{root}/v2/a/blobs/{digest}");
    let part = http
        .get(&blob)
        .header("range", "bytes=6-8")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 6-8/11");
    assert_eq!(part.text().await.unwrap(), "wor");
    // A wrong digest, and then nothing is left of it.
    let place = start().await;
    let wrong = http
        .put(format!("{place}?digest={}", Digest::of(b"x")))
        .body("y")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 400);
    assert_eq!(http.get(&place).send().await.unwrap().status(), 404);
    // Given up; of another repository; mounted; in one request.
    let place = start().await;
    assert_eq!(
        http.get(place.replace("/v2/a/", "/v2/b/"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(http.delete(&place).send().await.unwrap().status(), 204);
    assert_eq!(http.delete(&place).send().await.unwrap().status(), 404);
    let post = |query: String| http.post(format!("{root}/v2/b/blobs/uploads/?{query}"));
    let mount = |digest: &Digest| post(format!("mount={digest}&from=a")).send();
    assert_eq!(mount(&digest).await.unwrap().status(), 201);
    assert_eq!(mount(&Digest::of(b"none")).await.unwrap().status(), 202);
    let whole = post(format!("digest={}", Digest::of(b"whole")))
        .body("whole")
        .send()
        .await;
    assert_eq!(whole.unwrap().status(), 201);
    let wrong = post(format!("digest={}", Digest::of(b"whole")))
        .body("half")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 400);
    // Nothing is left behind.
    registry.server.stop().await;
    let left = std::fs::read_dir(registry.directory.path().join("uploads"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_embedded_registry_that_vanished_or_is_damaged_does_not_look_empty() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    let digest = put(&client, "api", "t", b"x").await;
    let manifests = registry
        .directory
        .path()
        .join("repositories/acme+api/manifests");
    std::fs::write(manifests.join(digest.hex()), "type\n{}").unwrap();
    assert_eq!(
        client.manifest("api", "t").await.unwrap_err().code(),
        "registry-refused"
    );
    assert_eq!(
        client.digest_of("api", "t").await.unwrap_err().code(),
        "registry-refused"
    );
    std::fs::remove_dir_all(registry.directory.path()).unwrap();
    for error in [
        client.manifest("api", "t").await.unwrap_err(),
        client.tags("api").await.unwrap_err(),
        client.blob("api", &digest, 9).await.unwrap_err(),
        client
            .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"x"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), "registry-refused", "{error}");
    }
}

#[tokio::test]
async fn a_directory_of_another_kind_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    let error = embedded::serve(directory.path(), "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.problems()[0].code, "embedded-store");
    assert_eq!(error.class(), Class::Unreachable);
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.len() <= 2, "nothing was laid out: {files:?}");
}

#[test]
#[ignore = "run by other tests, with an environment"]
fn child_that_serves() {
    let directory = std::env::var("TEST_DIRECTORY").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = serve(Path::new(&directory)).await;
        let file = std::env::var("TEST_ADDRESS_FILE").unwrap();
        std::fs::write(format!("{file}.new"), server.address().to_string()).unwrap();
        std::fs::rename(format!("{file}.new"), file).unwrap();
        std::future::pending::<()>().await;
    });
}

/// Another process that serves a directory. Killed when dropped.
struct Process {
    child: std::process::Child,
    address: SocketAddr,
}

impl Process {
    fn serve(directory: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("address");
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "registry::embedded::child_that_serves",
                "--ignored",
            ])
            .env("TEST_DIRECTORY", directory)
            .env("TEST_ADDRESS_FILE", &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let address = loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                break text.parse().unwrap();
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the child does not serve"
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_serve_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    // Made by whichever comes first.
    let path = directory.path().join("new");
    let processes: Vec<Process> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| Process::serve(&path)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let clients: Vec<Client> = processes
        .iter()
        .map(|process| client(&format!("{}/acme", process.address)))
        .collect();
    let writers = clients.iter().enumerate().map(|(own, client)| async move {
        for number in 0..20 {
            put(client, "api", &format!("t-{own}-{number}"), b"same").await;
            put(
                client,
                "api",
                "contended",
                if own == 0 { b"one" } else { b"two" },
            )
            .await;
            assert!(client.manifest("api", "contended").await.unwrap().is_some());
        }
    });
    futures_util::future::join_all(writers).await;
    let tags = clients[0].tags("api").await.unwrap();
    assert_eq!(tags.len(), 61);
    for client in &clients {
        assert_eq!(
            client.tags("api").await.unwrap(),
            tags,
            "nobody sees anything old"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    for last_request in [3, 6, 7, 8, 9, 30] {
        let process = Process::serve(directory.path());
        let front = Front::start(process.address);
        let process = Arc::new(Mutex::new(process));
        front.on_request(Arc::new(move |number, _| {
            if number == last_request {
                // While the request is on its way, so that either may come first.
                let process = Arc::clone(&process);
                std::thread::spawn(move || process.lock().unwrap().child.kill());
            }
        }));
        let acknowledged = write_until_it_fails(&client(&front.base("acme"))).await;
        let server = serve(directory.path()).await;
        let client = super::client(&format!("{}/acme", server.address()));
        let tags = client.tags("api").await.unwrap();
        assert!(
            acknowledged.iter().all(|tag| tags.contains(tag)),
            "{acknowledged:?} {tags:?}"
        );
        for tag in tags {
            let manifest = client.manifest("api", &tag).await.unwrap().unwrap();
            assert_eq!(manifest.bytes, manifest_of(tag.as_bytes()));
            let blob = client
                .blob("api", &Digest::of(tag.as_bytes()), 100)
                .await
                .unwrap();
            assert_eq!(blob.unwrap(), tag.as_bytes());
        }
    }
}

/// Puts manifests under ever new tags; returns those that were acknowledged.
async fn write_until_it_fails(client: &Client) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let tag = format!(
            "t-{}-{}",
            client.base().host().replace(':', "-"),
            acknowledged.len()
        );
        let blob = Bytes::from(tag.clone().into_bytes());
        let manifest = manifest_of(&blob);
        if client.put_blob("api", blob).await.is_err()
            || client
                .put_manifest("api", &tag, OCI_MANIFEST, manifest)
                .await
                .is_err()
        {
            return acknowledged;
        }
        acknowledged.push(tag);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_and_skopeo_push_and_pull() {
    let registry = Embedded::start().await;
    let base = registry.base("acme");
    let image = format!("{base}/team/web:t");
    let place = tempfile::tempdir().unwrap();
    // Content that compresses badly, and that no other run has.
    let noise: Vec<u8> = (0..200_000_u64)
        .flat_map(|number| {
            (number ^ u64::from(registry.address().port()))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .to_le_bytes()
        })
        .collect();
    std::fs::write(place.path().join("noise"), noise).unwrap();
    let archive = place.path().join("image.tar");
    let archive = archive.to_str().unwrap();
    output(
        "tar",
        &[
            "-C",
            place.path().to_str().unwrap(),
            "-cf",
            archive,
            "noise",
        ],
    );
    let id = output("docker", &["import", archive, &image]);
    output("docker", &["push", &image]);
    output("docker", &["image", "rm", &image]);
    output("docker", &["pull", &image]);
    let pulled = output("docker", &["image", "inspect", "-f", "{{.Id}}", &image]);
    output("docker", &["image", "rm", &image]);
    assert_eq!(pulled, id);

    let there = format!("docker://{image}");
    let copy = format!("docker://{base}/copy/web:t");
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    output("skopeo", &["copy", insecure[0], insecure[1], &there, &copy]);
    let client = client(&base);
    let digests = (
        client.digest_of("team/web", "t").await,
        client.digest_of("copy/web", "t").await,
    );
    assert_eq!(digests.0.unwrap().unwrap(), digests.1.unwrap().unwrap());
    let layout = format!("dir:{}", place.path().join("copy").display());
    output("skopeo", &["copy", insecure[0], &copy, &layout]);
}
