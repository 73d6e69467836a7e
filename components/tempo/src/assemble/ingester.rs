//! The ingester: `/flush` and `/shutdown`, and its loop, which ends with the WAL synced and closed.

use std::sync::Arc;

use anyhow::Context as _;
use tempo_ingester::{Dependencies, Ingester};
use tempo_wal::LocalFilesystem;

use super::{Module, Shared, Stage};
use crate::server::status::Endpoint;

pub(super) async fn assemble(shared: &Shared) -> anyhow::Result<(Ingester, Module)> {
    let dependencies = Dependencies {
        storage: &shared.config.storage.trace,
        backend: shared.backend.clone(),
        blocklist: shared.blocklist.clone(),
        cache: shared.cache.clone(),
        overrides: shared.overrides.clone(),
        registry: &shared.registry,
        filesystem: Arc::new(LocalFilesystem),
        stop_process: shared.stop_process.clone(),
    };
    let ingester =
        Ingester::open(&shared.config.ingester, dependencies).await.context("open the ingester")?;
    let mut module = Module::new("ingester");
    module.admin = ingester.http_routes();
    module.endpoints = vec![
        Endpoint { name: "flush", path: "/flush".to_owned() },
        Endpoint { name: "shutdown", path: "/shutdown".to_owned() },
    ];
    let running = ingester.clone();
    module.run = Some((
        Stage::Ingester,
        Box::new(move |stop| Box::pin(async move { running.run(stop).await.context("run the ingester") })),
    ));
    Ok((ingester, module))
}
