use std::path::PathBuf;

use super::{
    built_in_defaults,
    flags::{Command, FilesCommand, FlagError, LogFormat, command},
};

fn parsed(line: &str) -> Result<Command, FlagError> {
    command(line.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn run_takes_what_the_chart_gives() {
    let line = "run --listen=127.0.0.1:1 --log-level=debug --log-format=json --lease-namespace=ns --lease-name=l \
                --watch-namespaces=b,a,b --default-image=registry:5000/tempo:x";

    let Ok(Command::Run(flags)) = parsed(line) else { panic!("expected run") };

    assert_eq!(flags.listen.to_string(), "127.0.0.1:1");
    assert_eq!(flags.lease, Some(("ns".to_owned(), "l".to_owned())));
    assert_eq!(flags.watch_namespaces, ["a", "b"]);
    assert_eq!(flags.log_format, LogFormat::Json);
    assert_eq!(flags.defaults.image_repository, "registry:5000/tempo");
    assert_eq!(flags.defaults.image_tag.as_deref(), Some("x"));
}

#[test]
fn run_without_flags_watches_everything_without_election() {
    let Ok(Command::Run(flags)) = parsed("run") else { panic!("expected run") };

    assert_eq!(flags.listen.to_string(), "0.0.0.0:8080");
    assert_eq!((flags.lease, flags.watch_namespaces.len(), flags.concurrency), (None, 0, 4));
    assert_eq!(flags.defaults, built_in_defaults());
}

#[test]
fn files_are_given_one_by_one() {
    let defaults = built_in_defaults();
    let files = vec![PathBuf::from("a.yaml"), PathBuf::from("-")];

    assert_eq!(parsed("render -f a.yaml -f -"), Ok(Command::Render(FilesCommand { files, defaults })));
}

#[test]
fn a_port_of_a_registry_is_no_tag() {
    let Ok(Command::Run(flags)) = parsed("run --default-image=registry:5000/tempo") else {
        panic!("expected run")
    };

    assert_eq!(
        (flags.defaults.image_repository.as_str(), flags.defaults.image_tag),
        ("registry:5000/tempo", None)
    );
}

#[test]
fn wrong_arguments_are_named() {
    for (line, text) in [
        ("", "no command given"),
        ("walk", "unknown command \"walk\""),
        ("run --listn=x", "unknown flag --listn of run; flags are --listen,"),
        ("run --listen=x", "--listen: \"x\" is no address"),
        ("run --concurrency=0", "is no number from 1 to 64"),
        ("run --log-level=loud", "is none of debug, info, warn, error"),
        ("run --default-image=a@sha256:0", "has a digest"),
        ("run --lease-name", "--lease-name needs a value"),
        ("run --lease-name=a --lease-name=b", "--lease-name is given twice"),
        ("run now", "unexpected argument \"now\""),
        ("validate", "no file given"),
        ("crd --x", "unknown flag --x of crd; flags are none"),
    ] {
        let error = parsed(line).unwrap_err().to_string();

        assert!(error.contains(text), "{line}: {error}");
    }
}

#[test]
fn help_names_every_command_and_flag() {
    let Ok(Command::Help(help)) = parsed("--help") else { panic!("expected help") };

    for word in ["run", "crd", "render", "validate", "--watch-namespaces", "-f <file>"] {
        assert!(help.contains(word), "{word}");
    }
}
