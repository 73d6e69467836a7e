//! The chart: what helm makes of it, whether an API server takes that, and Argo CD's health check in it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use tempo_e2e::{cluster::Cluster, operator, run_tool};
use tokio::process::Command;

/// Sets of values whose output differs in kind, each as `helm --set` arguments.
const VALUES: &[&[&str]] = &[
    &[],
    &["watchNamespaces={default,kube-system}", "replicas=2"],
    &["argocd.healthCheck.enabled=true", "crds.keep=false", "defaultImage=registry.example/tempo:1"],
    &[
        "rbac.create=false",
        "serviceAccount.create=false",
        "serviceAccount.name=x",
        "metrics.service.enabled=false",
    ],
    &[
        "image.digest=sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
        "fullnameOverride=op",
    ],
];

#[test]
fn the_chart_has_the_generated_custom_resource_definition() -> anyhow::Result<()> {
    let generated = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/tempoclusters.yaml");
    let copy = operator::chart().join("files/tempoclusters.yaml");

    let is_equal = std::fs::read(&generated)? == std::fs::read(&copy)?;

    ensure!(is_equal, "cp crds/tempoclusters.yaml charts/tempo-operator/files/");
    Ok(())
}

#[tokio::test]
async fn helm_lint_finds_nothing() -> anyhow::Result<()> {
    let Some(helm) = operator::helm() else { return Ok(()) };
    for values in VALUES {
        let mut command = Command::new(&helm);
        command.args(["lint", "--strict", "--quiet"]).arg(operator::chart()).args(set(values));
        run_tool(&mut command).await?;
    }
    Ok(())
}

#[tokio::test]
async fn misspelt_values_are_refused() -> anyhow::Result<()> {
    let Some(helm) = operator::helm() else { return Ok(()) };
    for (values, complaint) in [
        (&["image.tagg=1"][..], "tagg"),
        (&["replicas=many"], "replicas"),
        (&["watchNamespaces={Not_A_Name}"], "watchNamespaces"),
        (&["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"], "needs metrics.service"),
        (&["serviceAccount.create=false"], "serviceAccount.name"),
    ] {
        let refused = template(&helm, values).await.err().with_context(|| format!("{values:?} was taken"))?;
        ensure!(format!("{refused:#}").contains(complaint), "{values:?}: {refused:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_api_server_takes_the_chart() -> anyhow::Result<()> {
    let Some(helm) = operator::helm() else { return Ok(()) };
    let Some(cluster) = Cluster::start("chart", 0).await? else { return Ok(()) };
    for values in VALUES {
        let manifests = template(&helm, values).await?;
        let arguments = ["apply", "--dry-run=server", "-f", "-"];
        let answer = cluster.kubectl().run_with_input(&arguments, &manifests).await;
        answer.with_context(|| format!("{values:?}"))?;
    }
    cluster.stop().await
}

#[tokio::test]
async fn the_health_check_follows_the_conditions() -> anyhow::Result<()> {
    for (case, object, expected) in [
        ("no status", object("", "nil"), "Progressing waiting for tempo-operator"),
        (
            "no conditions yet",
            object("", "{observedGeneration = 7}"),
            "Progressing waiting for tempo-operator",
        ),
        (
            "stale status",
            object("", &status(6, &[("Ready", "True", 6, "all ready")])),
            "Progressing generation not observed yet",
        ),
        (
            "stale condition",
            object("", &status(7, &[("Ready", "True", 6, "all ready")])),
            "Progressing waiting for tempo-operator",
        ),
        ("ready", object("", &status(7, &[("Ready", "True", 7, "all ready")])), "Healthy all ready"),
        (
            "rolling",
            object(
                "",
                &status(7, &[("Ready", "False", 7, ""), ("Progressing", "True", 7, "traces-0 is flushed")]),
            ),
            "Progressing R: traces-0 is flushed",
        ),
        (
            "refused",
            object(
                "",
                &status(7, &[("Ready", "True", 7, ""), ("Stalled", "True", 7, "ingester.x: unknown key")]),
            ),
            "Degraded Stalled: ingester.x: unknown key",
        ),
        (
            "data at risk comes before degraded",
            object("", &status(7, &[("Degraded", "True", 7, "d"), ("DataAtRisk", "True", 7, "r")])),
            "Degraded DataAtRisk: r",
        ),
        (
            "paused",
            object("", &status(7, &[("ReconciliationPaused", "True", 7, "by spec")])),
            "Suspended by spec",
        ),
        (
            "deleting",
            object("deletionTimestamp = 'now',", &status(7, &[("Ready", "True", 7, "all ready")])),
            "Progressing draining before deletion",
        ),
    ] {
        let check = operator::chart().join("files/health.lua");
        let program = format!(
            "obj = {object}\nlocal hs = dofile('{}')\nprint(hs.status .. ' ' .. hs.message)",
            check.display()
        );
        let printed = run_tool(Command::new("lua5.4").args(["-e", &program])).await?;
        ensure!(printed.trim_end() == expected, "{case}: {printed}");
    }
    Ok(())
}

fn object(metadata: &str, status: &str) -> String {
    format!("{{metadata = {{generation = 7, {metadata}}}, status = {status}}}")
}

/// (type, status, observedGeneration, message)
fn status(observed_generation: u64, conditions: &[(&str, &str, u64, &str)]) -> String {
    let conditions: Vec<String> = conditions
        .iter()
        .map(|(kind, status, generation, message)| {
            format!(
                "{{type = '{kind}', status = '{status}', observedGeneration = {generation}, reason = 'R', message = '{message}'}}"
            )
        })
        .collect();
    format!("{{observedGeneration = {observed_generation}, conditions = {{{}}}}}", conditions.join(", "))
}

async fn template(helm: &Path, values: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(helm);
    command.args(["template", "tempo-operator"]).arg(operator::chart());
    command.args(["--namespace", "default"]).args(set(values));
    run_tool(&mut command).await
}

fn set<'a>(values: &[&'a str]) -> Vec<&'a str> {
    values.iter().flat_map(|value| ["--set", value]).collect()
}
