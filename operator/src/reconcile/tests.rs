use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: Some(1),
    }
}

fn status(conditions: Vec<Condition>) -> TempoClusterStatus {
    TempoClusterStatus { conditions, ..TempoClusterStatus::default() }
}

#[test]
fn one_refusal_is_told_once_although_several_conditions_show_it() {
    let refused = status(vec![
        condition("Ready", "False", "InvalidConfig", "config.extra.x: unknown key"),
        condition("ConfigValid", "False", "InvalidConfig", "config.extra.x: unknown key"),
        condition("Stalled", "True", "InvalidConfig", "config.extra.x: unknown key"),
    ]);

    let notices = changes(None, &refused);

    assert_eq!(notices.len(), 1);
    assert!(notices[0].is_warning);
    assert_eq!(notices[0].reason, "InvalidConfig");
    assert!(changes(Some(&refused), &refused).is_empty());
}

#[test]
fn becoming_ready_is_told_and_staying_ready_is_not() {
    let ready = status(vec![condition("Ready", "True", "Serving", "serving")]);

    assert_eq!(changes(None, &ready).len(), 1);
    assert!(changes(Some(&ready), &ready).is_empty());
}

#[test]
fn only_errors_that_last_are_shown() {
    let answer = |code: u16| {
        let status = kube::core::Status::failure("no", "Reason").with_code(code);
        ReconcileError::Finalizer(kube::Error::Api(status.boxed()))
    };

    assert_eq!(lasting_trouble(&answer(403)).map(|trouble| trouble.reason), Some("Forbidden"));
    assert_eq!(lasting_trouble(&answer(422)).map(|trouble| trouble.reason), Some("Rejected"));
    assert_eq!(lasting_trouble(&answer(409)), None);
    assert_eq!(lasting_trouble(&answer(500)), None);
}
