//! The structural rules of the workspace: who may use whom, how large files may be, which names are banned, that every file
//! is compiled, and that paths named in README tables exist.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// What each crate may use of ours. The operator gets `config` and nothing else; components never use each other.
const ARROWS: &[(&str, &[&str])] = &[
    ("tempo-config", &[]),
    ("tempo-proto", &[]),
    ("tempo-model", &["tempo-proto"]),
    ("tempo-traceql", &["tempo-model"]),
    ("tempo-ring", &["tempo-config", "tempo-proto", "tempo-model"]),
    ("tempo-wal", &["tempo-model"]),
    ("tempo-backend", &["tempo-config", "tempo-model"]),
    ("tempo-block", &["tempo-config", "tempo-proto", "tempo-model", "tempo-traceql", "tempo-backend"]),
    ("tempo-distributor", &["tempo-config", "tempo-proto", "tempo-model", "tempo-ring"]),
    (
        "tempo-ingester",
        &[
            "tempo-config",
            "tempo-proto",
            "tempo-model",
            "tempo-ring",
            "tempo-wal",
            "tempo-block",
            "tempo-backend",
            "tempo-traceql",
        ],
    ),
    (
        "tempo-querier",
        &[
            "tempo-config",
            "tempo-proto",
            "tempo-model",
            "tempo-ring",
            "tempo-traceql",
            "tempo-backend",
            "tempo-block",
        ],
    ),
    (
        "tempo-query-frontend",
        &["tempo-config", "tempo-proto", "tempo-model", "tempo-traceql", "tempo-backend"],
    ),
    ("tempo-compactor", &["tempo-config", "tempo-model", "tempo-ring", "tempo-backend", "tempo-block"]),
    ("tempo-metrics-generator", &["tempo-config", "tempo-proto", "tempo-model", "tempo-ring"]),
    ("tempo-operator", &["tempo-config"]),
    ("tempo-e2e", &["tempo-proto"]),
];

/// Packages that `config` may use: the operator builds them all.
const CONFIG_DEPENDENCIES: &[&str] = &["schemars", "serde", "serde_json", "serde_yaml", "thiserror", "url"];

const MOST_LINES: usize = 800;

const BANNED_STEMS: &[&str] =
    &["common", "util", "utils", "helper", "helpers", "misc", "types", "base", "manager", "handler", "mod"];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// Package name → (folder, what it uses outside of tests).
fn packages() -> BTreeMap<String, (PathBuf, Vec<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |package: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        let uses = package["dependencies"].as_array().unwrap().iter();
        let uses = uses.filter(|d| d["kind"] != "dev").map(|d| text(&d["name"])).collect();
        (text(&package["name"]), (folder, uses))
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

/// Every file of ours that ends in `.rs`, without generated ones.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (_, (folder, _)) in packages() {
        for part in ["src", "tests", "benches", "examples"] {
            walk(&folder.join(part), &mut found);
        }
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "generated" {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let packages = packages();
    let is_ours = |name: &str| packages.contains_key(name) && name != "tempo";
    let mut problems = Vec::new();
    for (name, (_, uses)) in packages.iter().filter(|(name, _)| *name != "tempo") {
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| crate_name == name) else {
            problems.push(format!("{name} is not in the table of arrows"));
            continue;
        };
        for used in uses.iter().filter(|used| is_ours(used) || *used == "tempo") {
            if !allowed.contains(&used.as_str()) {
                problems.push(format!("{name} must not use {used}"));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn config_stays_light() {
    let packages = packages();
    let (_, uses) = packages.get("tempo-config").unwrap();

    let heavy = uses.iter().filter(|used| !CONFIG_DEPENDENCIES.contains(&used.as_str()));

    assert_none(heavy.map(|used| format!("tempo-config uses {used}")).collect());
}

#[test]
fn files_are_short_enough_to_proofread() {
    let mut problems = Vec::new();
    for path in sources() {
        if path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs") {
            continue;
        }
        let text = read(&path);
        let production = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if production > MOST_LINES {
            problems.push(format!("{}: {production} lines, the most is {MOST_LINES}", shown(&path)));
        }
    }
    assert_none(problems);
}

#[test]
fn every_file_says_first_what_it_owns() {
    // A `tests.rs` belongs to the file beside it and says nothing of its own.
    let documented = sources().into_iter().filter(|path| !path.ends_with("tests.rs"));
    let undocumented = documented.filter(|path| !read(path).starts_with("//!"));

    assert_none(undocumented.map(|path| format!("{} does not begin with //!", shown(&path))).collect());
}

#[test]
fn no_file_has_a_banned_name() {
    let is_banned = |path: &PathBuf| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        BANNED_STEMS.contains(&stem) || stem.ends_with("_impl")
    };

    assert_none(sources().iter().filter(|path| is_banned(path)).map(|path| shown(path)).collect());
}

#[test]
fn every_file_is_reached_by_a_mod_line() {
    let orphans = sources().into_iter().filter(|path| !is_reached(path));

    assert_none(orphans.map(|path| format!("{} is in no module", shown(&path))).collect());
}

/// Whether `path` is a root of a crate or its parent module declares it.
fn is_reached(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    let folder_name = folder.file_name().unwrap().to_str().unwrap();
    let is_root = match folder_name {
        "src" => matches!(stem, "lib" | "main"),
        "bin" | "tests" | "benches" | "examples" => {
            !folder.ends_with("src/tests") && has_manifest_above(folder)
        }
        _ => stem == "main" && folder.parent().is_some_and(|f| f.ends_with("tests")),
    };
    if is_root {
        return true;
    }
    if is_named_by_path(path) {
        return true;
    }
    let parents = [folder.with_extension("rs"), folder.join("lib.rs"), folder.join("main.rs")];
    parents.iter().filter(|parent| parent.is_file()).any(|parent| declares(&read(parent), stem))
}

/// Whether a root beside it says `#[path = "folder/file.rs"]`: what several benches share.
fn is_named_by_path(path: &Path) -> bool {
    let folder = path.parent().unwrap();
    let relative = path.strip_prefix(folder.parent().unwrap()).unwrap();
    let attribute = format!("#[path = \"{}\"]", relative.display());
    let mut roots = Vec::new();
    walk(folder.parent().unwrap(), &mut roots);
    roots.iter().any(|root| read(root).contains(&attribute))
}

/// `tests/x.rs` directly in a package is a root; `src/foo/tests/x.rs` is not.
fn has_manifest_above(folder: &Path) -> bool {
    let package = if folder.ends_with("src/bin") { folder.parent() } else { Some(folder) };
    package.and_then(Path::parent).is_some_and(|package| package.join("Cargo.toml").is_file())
}

fn declares(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        let line =
            line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ").is_some_and(|rest| rest.strip_suffix(';') == Some(module))
    })
}

#[test]
fn paths_named_in_readme_tables_exist() {
    let root = root();
    let mut problems = Vec::new();
    for readme in ["README.md", "components/README.md", "operator/README.md", "e2e/README.md"] {
        let readme = root.join(readme);
        let Ok(text) = std::fs::read_to_string(&readme) else { continue };
        for line in text.lines().filter(|line| line.trim_start().starts_with('|')) {
            for named in line.split('`').skip(1).step_by(2).filter(|named| is_path(named)) {
                let folder = readme.parent().unwrap();
                let bases = [folder.to_owned(), root.clone(), root.join("components")];
                if !bases.iter().any(|base| base.join(named).exists()) {
                    problems.push(format!("{} names {named}", shown(&readme)));
                }
            }
        }
    }
    assert_none(problems);
}

/// Something with a folder and an extension that we keep.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
    is_plain
        && text.contains('/')
        && !text.starts_with('/')
        && matches!(extension, Some("rs" | "md" | "yaml" | "toml" | "proto" | "sh"))
}
