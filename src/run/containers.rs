//! What tasks need of the engine before their containers run: the engine itself, once a run, and
//! the images.

use std::collections::BTreeSet;

use tokio::sync::{Mutex, OnceCell};

use crate::build::engine::Engine;
use crate::build::{host_of, login};
use crate::problem::Failure;
use crate::registry::Client;

/// The engine, and the images that were pulled into it.
#[derive(Default)]
pub struct Containers {
    engine: OnceCell<Engine>,
    /// The bases.
    clients: Vec<Client>,
    /// The host of a registry that is gone after the run: names of images from there go with it.
    passing: Option<String>,
    /// Held while an image is pulled: who comes second has it then.
    pulled: Mutex<BTreeSet<String>>,
}

impl Containers {
    /// With credentials for these bases, and for other registries as Docker's configuration has
    /// them. The first base may be one that is served for as long as the run takes.
    #[must_use]
    pub fn new(clients: Vec<Client>, first_is_passing: bool) -> Self {
        let first = clients.first().filter(|_| first_is_passing);
        Self {
            passing: first.map(|client| client.base().host().to_owned()),
            clients,
            ..Self::default()
        }
    }

    /// The engine, which is asked who it is when the first task needs it.
    pub(super) async fn engine(&self) -> Result<&Engine, Failure> {
        Ok(self.engine.get_or_try_init(Engine::connect).await?)
    }

    /// Sees to it that the engine has an image; one that is not there is pulled.
    pub(super) async fn provide(&self, reference: &str) -> Result<(), Failure> {
        let engine = self.engine().await?;
        let mut pulled = self.pulled.lock().await;
        if engine.inspect(reference).await?.is_some() {
            return Ok(());
        }
        let host = host_of(reference);
        let clients: Vec<&Client> = self.clients.iter().collect();
        let login = match &host {
            Some(host) => login(&clients, host).await?,
            None => None,
        };
        engine.pull(reference, login.as_ref()).await?;
        if host.is_some() && host == self.passing {
            pulled.insert(reference.to_owned());
        }
        Ok(())
    }

    /// Takes the names away that mean nothing after the run; the images stay where they have
    /// others.
    pub(super) async fn close(&self) {
        let Some(engine) = self.engine.get() else {
            return;
        };
        for reference in std::mem::take(&mut *self.pulled.lock().await) {
            let _ = engine.remove(&reference).await;
        }
    }
}
