//! What is rendered for each case of `golden/`, object by object. After a change that is meant:
//! `cargo run -p tempo-operator -- render -f operator/tests/it/golden/CASE/cluster.yaml > operator/tests/it/golden/CASE/expected.yaml`

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn operator(arguments: &[&str], file: &Path) -> (String, String, bool) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tempo-operator")).args(arguments).arg(file).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

#[test]
fn every_case_renders_as_written_down() {
    let mut differences = Vec::new();
    for case in cases() {
        let (rendered, errors, has_succeeded) = operator(&["render", "-f"], &case.join("cluster.yaml"));
        assert!(has_succeeded, "{}: {errors}", case.display());
        let expected = fs::read_to_string(case.join("expected.yaml")).unwrap_or_default();
        let first = rendered.lines().zip(expected.lines()).enumerate().find(|(_, (now, then))| now != then);
        if rendered != expected {
            differences.push(format!("{}: first difference: {first:?}", case.display()));
        }
    }

    assert!(differences.is_empty(), "see the head of golden.rs\n{}", differences.join("\n"));
}

#[test]
fn every_case_is_valid() {
    for case in cases() {
        let (_, errors, has_succeeded) = operator(&["validate", "-f"], &case.join("cluster.yaml"));

        assert!(has_succeeded, "{}: {errors}", case.display());
    }
}

#[test]
fn no_secret_is_in_what_is_rendered() {
    for case in cases() {
        let (rendered, ..) = operator(&["render", "-f"], &case.join("cluster.yaml"));

        for secret in ["someone", "something", "supersecret", "short-lived"] {
            assert!(!rendered.contains(secret), "{}: {secret}", case.display());
        }
    }
}

#[test]
fn secrets_that_are_not_in_the_files_are_assumed_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    let cluster = "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {name: a}\n\
                   spec: {mode: Monolithic, storage: {s3: {bucket: b}, credentials: {secretRef: {name: elsewhere}}}}\n";
    fs::write(&file, cluster).unwrap();

    let (rendered, errors, has_succeeded) = operator(&["render", "-f"], &file);

    assert!(has_succeeded, "{errors}");
    assert!(errors.contains("Secret elsewhere is not in the files"), "{errors}");
    assert!(rendered.contains("key: access_key_id"), "{rendered}");
}

#[test]
fn a_wrong_file_is_named_with_document_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clusters.yaml");
    let head = "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {name: a}\n";
    let good = "spec: {mode: Monolithic, storage: {filesystem: {}}}\n";
    let cases = [
        (
            "spec: {mode: Monolithic, storage: {filesystem: {}}, retain: 3}",
            "spec.retain: there is no such field",
        ),
        ("spec: {mode: Monolithic}", "spec.storage: must be set"),
        ("spec: {mode: Micro, storage: {filesystem: {}}}", "spec.mode: is \"Micro\", must be one of"),
        (
            "spec: {mode: Monolithic, storage: {filesystem: {}, s3: {}}}",
            "set exactly one of s3 and filesystem",
        ),
        (
            "spec: {mode: Monolithic, storage: {filesystem: {}}, config: {extra: {querier: {max_concurrent: 1}}}}",
            "config.extra: querier.max_concurrent: ",
        ),
        ("spec: {mode: Monolithic, mode: Monolithic, storage: {filesystem: {}}}", "duplicate entry"),
        ("spec: {mode: [", "clusters.yaml: document 2"),
    ];
    for (bad, problem) in cases {
        fs::write(&file, format!("{head}{good}---\n{head}{bad}\n")).unwrap();

        let (_, errors, has_succeeded) = operator(&["validate", "-f"], &file);

        assert!(!has_succeeded, "{bad}");
        assert!(errors.contains(problem) && errors.contains("clusters.yaml: document 2"), "{bad}: {errors}");
        assert!(!errors.contains("document 1"), "{bad}: {errors}");
    }
}
