use super::{
    super::{Agent, Database, Gateway, Orchestrator},
    *,
};

fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carapulse.toml");
    std::fs::write(&file, text).unwrap();
    (
        folder,
        Sources {
            file: Some(file),
            ..Sources::default()
        },
    )
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn later_sources_win_and_what_is_not_set_has_its_default() {
    let (_folder, mut sources) =
        with_file("[gateway]\nhttp_addr = ':1'\n[orchestrator]\nlease_secs = 7\nconcurrency = 2");
    sources.environment = variables(&[
        ("CARAPULSE_ORCHESTRATOR__LEASE_SECS", "8"),
        ("CARAPULSE_ORCHESTRATOR__CONCURRENCY", "3"),
        ("CARAPULSE_TOKEN", "x"),
    ]);
    sources.set = vec!["orchestrator.concurrency=4".to_owned()];
    let config = Config::load(&sources).unwrap();
    assert_eq!(String::from(config.get::<Gateway>().unwrap().http_addr), ":1");
    let orchestrator: Orchestrator = config.get().unwrap();
    assert_eq!((orchestrator.lease_secs, orchestrator.concurrency), (8, 4));
    assert_eq!(
        orchestrator.poll_interval_ms,
        Orchestrator::default().poll_interval_ms
    );
}

#[test]
fn a_wrong_section_stops_only_those_who_need_it() {
    let (_folder, sources) = with_file("[gateway]\nhttp_addr = 8080\n[agent]\n");
    let config = Config::load(&sources).unwrap();
    assert!(config.get::<Agent>().is_ok());
    let error = config.get::<Gateway>().unwrap_err().to_string();
    assert!(
        error.contains("carapulse.toml: gateway.http_addr: found"),
        "{error}"
    );
    assert!(error.contains("expected a string"), "{error}");
}

#[test]
fn unknown_sections_and_keys_are_refused_with_their_source() {
    let (_folder, sources) = with_file("[gatway]\nx = 1");
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(
        error.contains("carapulse.toml: gatway: unknown: expected one of data_dir"),
        "{error}"
    );

    let environment = variables(&[("CARAPULSE_GATEWAY__HTTP_ADR", ":1")]);
    let config = Config::load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap();
    let error = config.get::<Gateway>().unwrap_err().to_string();
    assert!(
        error.starts_with("the environment variable CARAPULSE_GATEWAY__HTTP_ADR: gateway.http_adr"),
        "{error}"
    );

    let (_folder, sources) = with_file("[orchestrator.verification]\nsettle = 1");
    let error = Config::load(&sources)
        .unwrap()
        .get::<Orchestrator>()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("orchestrator.verification.settle: unknown: expected one of"),
        "{error}"
    );
}

#[test]
fn a_secret_in_place_of_a_reference_is_refused_and_not_repeated() {
    for text in [
        "[agent]\nslack_signing_secret = 's3cret'",
        "[database]\nurl = 'postgres://u:s3cret@h/d'",
    ] {
        let (_folder, sources) = with_file(text);
        let config = Config::load(&sources).unwrap();
        let error = config.document().unwrap_err().to_string();
        assert!(error.contains("env:NAME") && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_file_reference_is_relative_to_the_file_that_holds_it() {
    let (folder, sources) = with_file("[gateway]\napproval_key = 'file:secrets/a'");
    let gateway: Gateway = Config::load(&sources).unwrap().get().unwrap();
    let expected = SecretRef::File(folder.path().join("secrets/a"));
    assert_eq!(gateway.approval_key, Some(expected));
}

#[test]
fn database_url_of_the_environment_is_the_weakest_source() {
    let (_folder, mut sources) = with_file("[database]\nurl = 'env:OTHER'");
    sources.environment = variables(&[("DATABASE_URL", "postgres://h/d")]);
    let database: Database = Config::load(&sources).unwrap().get().unwrap();
    assert_eq!(database.url.as_deref(), Some("env:OTHER"));
    sources.file = None;
    let database: Database = Config::load(&sources).unwrap().get().unwrap();
    assert_eq!(database.url.as_deref(), Some("env:DATABASE_URL"));
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let (_folder, sources) = with_file("[gateway]\nhttp_addr = \n");
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(
        error.contains("carapulse.toml") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn the_defaults_are_valid_and_print_as_they_are_read() {
    let config = Config::load(&Sources::default()).unwrap();
    let printed = toml::to_string_pretty(&config.document().unwrap()).unwrap();
    let (_folder, sources) = with_file(&printed);
    let again = Config::load(&sources).unwrap().document().unwrap();
    assert_eq!(toml::to_string_pretty(&again).unwrap(), printed);
}

#[test]
fn a_relative_data_folder_lies_beside_the_file_that_names_it() {
    let (folder, mut sources) = with_file("data_dir = 'data'");
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.data_dir(), folder.path().join("data"));
    sources.set = vec!["data_dir=/elsewhere".to_owned()];
    assert_eq!(
        Config::load(&sources).unwrap().data_dir(),
        Path::new("/elsewhere")
    );
}
