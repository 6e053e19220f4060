use super::*;

#[test]
fn defaults_are_canonical_and_names_unique() {
    for (position, setting) in SETTINGS.iter().enumerate() {
        assert_eq!(
            value::canonical(setting, setting.default).expect(setting.name),
            setting.default,
            "{}",
            setting.name
        );
        assert!(
            SETTINGS[..position].iter().all(|other| !other.name.eq_ignore_ascii_case(setting.name)),
            "{} twice",
            setting.name
        );
    }
}

#[test]
fn pgvector_settings_answer_like_postgresql() {
    let mut settings = SessionSettings::new();
    assert_eq!(settings.show("hnsw.ef_search").unwrap(), "40");
    settings.set("hnsw.ef_search", "100", Scope::Session).unwrap();
    assert_eq!(settings.show("HNSW.ef_search").unwrap(), "100");
    let error = settings.set("hnsw.ef_search", "0", Scope::Session).unwrap_err();
    assert_eq!(error.message, "0 is outside the valid range for parameter \"hnsw.ef_search\" (1 .. 1000)");
    assert_eq!(error.kind, ErrorKind::InvalidParameterValue);
    let error = settings.set("hnsw.iterative_scan", "on", Scope::Session).unwrap_err();
    assert_eq!(error.message, "invalid value for parameter \"hnsw.iterative_scan\": \"on\"");
    assert_eq!(error.hint.as_deref(), Some("Available values: off, relaxed_order, strict_order."));
    let error = settings.set("hnsw.nosuch", "1", Scope::Session).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidName);
    assert_eq!(error.message, "invalid configuration parameter name \"hnsw.nosuch\"");
    settings.reset("hnsw.ef_search", Scope::Session).unwrap();
    assert_eq!(settings.show("hnsw.ef_search").unwrap(), "40");
}

#[test]
fn placeholders_are_accepted_and_unknown_names_refused() {
    let mut settings = SessionSettings::new();
    settings.set("my.variable", "x", Scope::Session).unwrap();
    assert_eq!(settings.show("my.variable").unwrap(), "x");
    for name in ["my.missing", "nosuchsetting"] {
        let error = settings.show(name).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UndefinedObject);
        assert_eq!(error.message, format!("unrecognized configuration parameter \"{name}\""));
    }
    assert_eq!(
        settings.set("nosuchsetting", "1", Scope::Session).unwrap_err().kind,
        ErrorKind::UndefinedObject
    );
    assert_eq!(settings.set("a.1b", "1", Scope::Session).unwrap_err().kind, ErrorKind::InvalidName);
}

#[test]
fn rollback_undoes_set_and_commit_ends_set_local() {
    let mut settings = SessionSettings::new();
    settings.set("hnsw.ef_search", "77", Scope::Session).unwrap();
    settings.begin();
    settings.set("hnsw.ef_search", "200", Scope::Local).unwrap();
    settings.set("ivfflat.probes", "3", Scope::Session).unwrap();
    assert_eq!(settings.show("hnsw.ef_search").unwrap(), "200");
    settings.commit();
    assert_eq!(settings.show("hnsw.ef_search").unwrap(), "77");
    assert_eq!(settings.show("ivfflat.probes").unwrap(), "3");
    settings.begin();
    settings.set("ivfflat.probes", "4", Scope::Session).unwrap();
    let mark = settings.mark();
    settings.set("hnsw.ef_search", "5", Scope::Session).unwrap();
    settings.restore(mark);
    assert_eq!(settings.show("hnsw.ef_search").unwrap(), "77");
    assert_eq!(settings.show("ivfflat.probes").unwrap(), "4");
    settings.rollback();
    assert_eq!(settings.show("ivfflat.probes").unwrap(), "3");
}

#[test]
fn units_are_read_and_shown() {
    let mut settings = SessionSettings::new();
    assert_eq!(settings.show("work_mem").unwrap(), "4MB");
    settings.set("work_mem", "65536", Scope::Session).unwrap();
    assert_eq!(settings.show("work_mem").unwrap(), "64MB");
    settings.set("maintenance_work_mem", "1.5 GB", Scope::Session).unwrap();
    assert_eq!(settings.get("maintenance_work_mem"), Some("1572864"));
    assert_eq!(settings.show("maintenance_work_mem").unwrap(), "1536MB");
    settings.set("statement_timeout", "90s", Scope::Session).unwrap();
    assert_eq!(settings.show("statement_timeout").unwrap(), "90s");
    assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(90)));
    let error = settings.set("work_mem", "4 parsecs", Scope::Session).unwrap_err();
    assert_eq!(error.message, "invalid value for parameter \"work_mem\": \"4 parsecs\"");
    assert!(error.hint.is_some());
    let error = settings.set("statement_timeout", "-1", Scope::Session).unwrap_err();
    assert_eq!(
        error.message,
        "-1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)"
    );
    let error = settings.set("enable_seqscan", "maybe", Scope::Session).unwrap_err();
    assert_eq!(error.message, "parameter \"enable_seqscan\" requires a Boolean value");
}

#[test]
fn zones_are_names_or_offsets() {
    let mut settings = SessionSettings::new();
    settings.set("timezone", "europe/berlin", Scope::Session).unwrap();
    assert_eq!(settings.show("TimeZone").unwrap(), "Europe/Berlin");
    settings.set("TimeZone", "-7", Scope::Session).unwrap();
    assert_eq!(settings.show("TimeZone").unwrap(), "<-07>+07");
    assert_eq!(settings.time_zone(), TimeZone::Fixed(-7 * 3600));
    settings.set("TimeZone", "+05:30", Scope::Session).unwrap();
    assert_eq!(settings.show("TimeZone").unwrap(), "<+05:30>-05:30");
    assert_eq!(settings.time_zone(), TimeZone::Fixed(5 * 3600 + 1800));
    let error = settings.set("TimeZone", "Mars/Olympus", Scope::Session).unwrap_err();
    assert_eq!(error.message, "invalid value for parameter \"TimeZone\": \"Mars/Olympus\"");
}

#[test]
fn only_changes_are_reported() {
    let mut settings = SessionSettings::new();
    let first = settings.take_reported();
    assert!(first.iter().any(|(name, value)| name == "server_version" && value.starts_with("16")));
    assert!(first.iter().any(|(name, value)| name == "DateStyle" && value == "ISO, MDY"));
    assert!(settings.take_reported().is_empty());
    settings.begin();
    settings.set("application_name", "me", Scope::Session).unwrap();
    assert_eq!(settings.take_reported(), vec![("application_name".to_owned(), "me".to_owned())]);
    settings.rollback();
    assert_eq!(settings.take_reported(), vec![("application_name".to_owned(), String::new())]);
}

#[test]
fn presets_cannot_be_changed() {
    let mut settings = SessionSettings::new();
    let error = settings.set("server_version", "17", Scope::Session).unwrap_err();
    assert_eq!(error.message, "parameter \"server_version\" cannot be changed");
    assert_eq!(error.kind, ErrorKind::CantChangeRuntimeParam);
    let error = settings.set("max_connections", "17", Scope::Session).unwrap_err();
    assert_eq!(
        error.message,
        "parameter \"max_connections\" cannot be changed without restarting the server"
    );
}

#[test]
fn lists_are_split_and_joined() {
    let mut settings = SessionSettings::new();
    assert_eq!(settings.search_path(), ["$user", "public"]);
    settings.set("search_path", &join_list(&["a", "B c", ""]), Scope::Session).unwrap();
    assert_eq!(settings.show("search_path").unwrap(), "a, \"B c\", \"\"");
    assert_eq!(settings.search_path(), ["a", "B c", ""]);
}

#[test]
fn values_without_meaning_are_refused_not_ignored() {
    let mut settings = SessionSettings::new();
    settings.set("intervalstyle", "POSTGRES", Scope::Session).unwrap();
    settings.set("standard_conforming_strings", "true", Scope::Session).unwrap();
    for (name, value, message) in [
        ("IntervalStyle", "iso_8601", "IntervalStyle = iso_8601 is not supported"),
        ("standard_conforming_strings", "off", "standard_conforming_strings = off is not supported"),
        ("DateStyle", "German", "DateStyle \"German\" is not supported"),
        ("client_encoding", "latin1", "conversion between LATIN1 and UTF8 is not supported"),
    ] {
        let error = settings.set(name, value, Scope::Session).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::FeatureNotSupported, message));
    }
    let error = settings.set("IntervalStyle", "nosuch", Scope::Session).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidParameterValue);
}

#[test]
fn the_version_is_one_in_both_forms() {
    let (major, minor) = SERVER_VERSION.split_once('.').unwrap();
    let number = major.parse::<u32>().unwrap() * 10_000 + minor.parse::<u32>().unwrap();
    assert_eq!(number.to_string(), SERVER_VERSION_NUM);
}

#[test]
fn what_is_shown_of_compaction_is_what_a_node_does() {
    let (settings, node) = (SessionSettings::new(), cluster::Settings::default());
    assert_eq!(settings.show("autovacuum").unwrap() == "on", node.compacts);
    let fraction = node.compaction_dead_fraction.to_string();
    assert_eq!(settings.show("autovacuum_vacuum_scale_factor").unwrap(), fraction);
    assert_eq!(settings.show("elanus.compaction_segments").unwrap(), node.compaction_segments.to_string());
    assert_eq!(settings.show("elanus.collection_grace").unwrap(), "1min");
    assert_eq!(node.collection_grace_millis, 60_000);
}
