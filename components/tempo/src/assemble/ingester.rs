//! The ingester: `/flush`, `/shutdown` and the drain, and its loop, which ends with the WAL synced and closed.

use std::{panic::Location, sync::Arc};

use anyhow::Context as _;
use futures::future::BoxFuture;
use tempo_ingester::{Dependencies, Ingester, TrackTasks};
use tempo_wal::LocalFilesystem;

use super::{Module, Shared, Stage};
use crate::{server::status::Endpoint, tasks::Tasks};

pub(super) async fn assemble(shared: &Shared) -> anyhow::Result<(Ingester, Module)> {
    let dependencies = Dependencies {
        storage: &shared.config.storage.trace,
        backend: shared.backend.clone(),
        blocklist: shared.blocklist.clone(),
        cache: shared.cache.clone(),
        overrides: shared.overrides.clone(),
        registry: &shared.registry,
        filesystem: Arc::new(LocalFilesystem),
        waits: shared.waits.clone(),
        tasks: Arc::new(shared.tasks.clone()),
        stop_process: shared.stop_process.clone(),
    };
    let ingester =
        Ingester::open(&shared.config.ingester, dependencies).await.context("open the ingester")?;
    let mut module = Module::new("ingester");
    module.admin = ingester.http_routes();
    module.endpoints = vec![
        Endpoint { name: "flush", path: "/flush".to_owned() },
        Endpoint { name: "shutdown", path: "/shutdown".to_owned() },
        Endpoint { name: "drain", path: "/ingester/v1/drain".to_owned() },
    ];
    module.draining = Some(ingester.watch_drain());
    let running = ingester.clone();
    module.run = Some((
        Stage::Ingester,
        Box::new(move |stop| Box::pin(async move { running.run(stop).await.context("run the ingester") })),
    ));
    Ok((ingester, module))
}

impl TrackTasks for Tasks {
    fn track(
        &self,
        name: &'static str,
        site: &'static Location<'static>,
        task: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(self.track_at(name, site, task))
    }
}
