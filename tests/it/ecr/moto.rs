//! moto, which plays AWS's APIs: a process of its own on a loopback port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::servers::on_a_free_port;

/// The region that everything here is in.
pub(crate) const REGION: &str = "eu-west-2";

/// The running server. Ends when dropped.
pub(crate) struct Moto {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Moto {
    /// A server that knows nothing yet; it answers when this returns.
    pub(crate) fn start() -> Self {
        let (address, child) = on_a_free_port(|address| {
            Command::new(program())
                .args(["--host", "127.0.0.1", "--port"])
                .arg(address.port().to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("moto_server is installed (scripts/test setup)")
        });
        Self { address, child }
    }

    /// Asks it something, past everything that stands before it.
    pub(crate) fn ask(&self, action: &str, body: &Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let client = client.build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let bytes = runtime.unwrap().block_on(async {
            let request = Self::request(&client, self.address, action);
            let answer = request.body(body.to_string()).send().await.unwrap();
            answer.bytes().await.unwrap()
        });
        serde_json::from_slice(&bytes).unwrap()
    }

    /// A request that lacks its body yet.
    pub(super) fn request(
        client: &reqwest::Client,
        address: SocketAddr,
        action: &str,
    ) -> reqwest::RequestBuilder {
        let scope = format!("AKIA/20260101/{REGION}/ecr/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        client
            .post(format!("http://{address}/"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", authorization)
            .header(
                "x-amz-target",
                format!("AmazonEC2ContainerRegistry_V20150921.{action}"),
            )
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `scripts/test setup` puts it, below the directory that this program was built in; else the
/// one on the PATH.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut above = test.ancestors();
    let placed = above.find_map(|directory| {
        let program = directory.join("tools/moto/bin/moto_server");
        program.exists().then_some(program)
    });
    placed.unwrap_or_else(|| "moto_server".into())
}
