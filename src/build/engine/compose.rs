//! What a compose project has in the engine, found by the label that compose gives it all.

use std::collections::HashMap;

use bollard::errors::Error as BollardError;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};
use futures_util::future::try_join_all;

use super::{Engine, EngineError};

/// The label that names the project.
const PROJECT: &str = "com.docker.compose.project";

/// The label that names the service.
const SERVICE: &str = "com.docker.compose.service";

/// How often what is left of a project is looked for: a request that was under way may still make
/// something.
const ROUNDS: u32 = 20;

/// How a service's container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEnd {
    /// The service.
    pub service: String,
    /// Its exit code; `None` for one that was never started or still runs.
    pub code: Option<i64>,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
}

impl Engine {
    /// How every container of a project stands.
    pub async fn service_ends(&self, project: &str) -> Result<Vec<ServiceEnd>, EngineError> {
        let mut ends = Vec::new();
        for container in self.containers_of(project).await? {
            let Some(id) = &container.id else { continue };
            let state = self.docker.inspect_container(id, None).await;
            let state = state.map_err(|error| self.error("inspect a container", error))?;
            let state = state.state.unwrap_or_default();
            let has_ended = state.status.map(|status| status.to_string()) == Some("exited".into());
            let labels = container.labels.unwrap_or_default();
            ends.push(ServiceEnd {
                service: labels.get(SERVICE).cloned().unwrap_or_default(),
                code: state.exit_code.filter(|_| has_ended),
                ended: state.finished_at.filter(|_| has_ended),
            });
        }
        Ok(ends)
    }

    /// Ends and removes everything of a project: containers at once, then networks and volumes.
    pub async fn remove_compose_project(&self, project: &str) -> Result<(), EngineError> {
        for round in 0..ROUNDS {
            let containers = self.containers_of(project).await?;
            if containers.is_empty() && round > 0 {
                break;
            }
            let ids = containers
                .iter()
                .filter_map(|container| container.id.as_deref());
            try_join_all(ids.map(|id| self.remove_container(id))).await?;
        }
        self.remove_networks(project).await?;
        self.remove_volumes(project).await
    }

    async fn containers_of(&self, project: &str) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&of(project))
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        listed.map_err(|error| self.error("list containers", error))
    }

    async fn remove_networks(&self, project: &str) -> Result<(), EngineError> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&of(project))
            .build();
        let listed = self.docker.list_networks(Some(options)).await;
        let listed = listed.map_err(|error| self.error("list networks", error))?;
        for network in listed.into_iter().filter_map(|network| network.id) {
            let removed = self.docker.remove_network(&network).await;
            self.gone(removed, "remove a network")?;
        }
        Ok(())
    }

    async fn remove_volumes(&self, project: &str) -> Result<(), EngineError> {
        let options = ListVolumesOptionsBuilder::default()
            .filters(&of(project))
            .build();
        let listed = self.docker.list_volumes(Some(options)).await;
        let listed = listed.map_err(|error| self.error("list volumes", error))?;
        for volume in listed.volumes.unwrap_or_default() {
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            let removed = self.docker.remove_volume(&volume.name, Some(options)).await;
            self.gone(removed, "remove a volume")?;
        }
        Ok(())
    }

    /// What was to be removed is gone, whoever removed it.
    fn gone(&self, removed: Result<(), BollardError>, action: &str) -> Result<(), EngineError> {
        match removed {
            Ok(())
            | Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(self.error(action, error)),
        }
    }
}

fn of(project: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])])
}
