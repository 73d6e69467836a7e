//! The command line as Go programs read it.

use std::{path::PathBuf, time::Duration};

use tempo::flags::{self, Command, FlagError, ServerFlags};
use tempo_config::{LogFormat, LogLevel};

fn arguments(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn served(line: &str) -> ServerFlags {
    match flags::command(arguments(line)).unwrap() {
        Command::Serve(flags) => *flags,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_spelling_of_a_flag_means_the_same() {
    let expected = ServerFlags { config_file: Some(PathBuf::from("x.yaml")), ..ServerFlags::default() };

    for line in ["-config.file=x.yaml", "--config.file=x.yaml", "-config.file x.yaml", "--config.file x.yaml"]
    {
        assert_eq!(served(line), expected, "{line}");
    }
}

#[test]
fn a_bool_flag_takes_a_value_only_with_an_equals_sign() {
    assert_eq!(served("-multitenancy.enabled").multitenancy, Some(true));
    assert_eq!(served("-multitenancy.enabled=false").multitenancy, Some(false));
    assert_eq!(served("-multitenancy.enabled=T").multitenancy, Some(true));
    assert_eq!(
        flags::command(arguments("-multitenancy.enabled false")),
        Err(FlagError::Unexpected { argument: "false".to_owned() })
    );
}

#[test]
fn the_flags_of_the_charts_are_read() {
    let flags = served(
        "-target=all -config.file=/conf/tempo.yaml -mem-ballast-size-mbs=1024 -config.expand-env=true -log.level=debug \
         -log.format json -server.http-listen-port=3100 -server.grpc-listen-port 9096 -shutdown-delay=1m30s \
         -http-api-prefix=/tempo",
    );

    assert_eq!(flags.target.as_deref(), Some("all"));
    assert!(flags.expand_env);
    assert_eq!((flags.log_level, flags.log_format), (Some(LogLevel::Debug), Some(LogFormat::Json)));
    assert_eq!((flags.http_listen_port, flags.grpc_listen_port), (Some(3100), Some(9096)));
    assert_eq!(flags.shutdown_delay, Some(Duration::from_secs(90)));
    assert_eq!(flags.warnings, ["-mem-ballast-size-mbs has no effect"]);
}

#[test]
fn the_old_name_of_multitenancy_works_with_a_warning() {
    let flags = served("-auth.enabled");

    assert_eq!(flags.multitenancy, Some(true));
    assert_eq!(flags.warnings.len(), 1);
}

#[test]
fn an_unknown_flag_names_the_nearest_one() {
    let error = flags::command(arguments("-config.fiel=x")).unwrap_err();

    assert_eq!(error.to_string(), "flag provided but not defined: -config.fiel (did you mean -config.file?)");
    assert_eq!(
        flags::command(arguments("-zzz")).unwrap_err().to_string(),
        "flag provided but not defined: -zzz"
    );
}

#[test]
fn wrong_values_are_refused_with_the_flags_name() {
    for (line, expected) in [
        (
            "-server.http-listen-port=99999",
            "invalid value \"99999\" for flag -server.http-listen-port: a port is ",
        ),
        ("-config.verify=maybe", "invalid value \"maybe\" for flag -config.verify: not a boolean"),
        ("-log.level=loud", "invalid value \"loud\" for flag -log.level: "),
        ("-config.file", "flag needs a value: -config.file"),
        ("---x", "bad flag syntax: ---x"),
        ("-=x", "bad flag syntax: -=x"),
    ] {
        let error = flags::command(arguments(line)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn help_lists_every_flag() {
    let Command::Help(text) = flags::command(arguments("-target=all -h")).unwrap() else { panic!("no help") };

    for flag in flags::SERVER {
        assert!(text.contains(&format!("  -{}", flag.name)), "{}", flag.name);
    }
}

#[test]
fn demo_has_flags_of_its_own() {
    let Command::Demo(demo) = flags::command(arguments("demo -traces 3 -endpoint=http://x:4317")).unwrap()
    else {
        panic!("no demo")
    };

    assert_eq!((demo.traces, demo.endpoint.as_str()), (3, "http://x:4317"));
    assert_eq!(demo.query_url, "http://localhost:3200");
}
