//! Each check passes for this file, and fails for the same file with one thing changed.

use super::*;

const TEXT: &str = "
services:
  postgres:
    image: ${POSTGRES:-postgres:15.14}
    healthcheck: { test: [CMD, pg_isready] }
    volumes: ['postgres-data:/var/lib/postgresql/data']
    networks: [data]
  minio:
    image: minio/minio:RELEASE.2024-01-18
    healthcheck: { test: [CMD, mc, ready] }
    volumes: [{ type: volume, source: minio-data, target: /data }]
    networks: [data]
  minio-bucket: { image: 'minio/mc:RELEASE.2024-01-18', networks: [data] }
  temporal:
    image: temporalio/server:1.29.1
    healthcheck: { test: [CMD, temporal, operator, cluster, health] }
    networks: [data]
  temporal-ui:
    image: temporalio/ui:2.40.0
    healthcheck: { test: [CMD, x] }
    depends_on: { temporal: { condition: service_healthy } }
    networks: [data]
  opa:
    image: openpolicyagent/opa:1.22.2
    healthcheck: { test: [CMD, opa, eval] }
    volumes: ['../policies:/policies:ro']
    networks: [data]
  migrate: &role
    image: localhost/carapulse/gateway:dev
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    read_only: true
    depends_on: { postgres: { condition: service_healthy } }
    networks: [data]
  gateway: &waiting
    image: localhost/carapulse/gateway:dev
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    read_only: true
    volumes: ['./gateway:/etc/carapulse:ro']
    networks: [data]
    depends_on:
      migrate: { condition: service_completed_successfully }
      minio-bucket: { condition: service_completed_successfully }
  orchestrator: *waiting
  agent:
    image: localhost/carapulse/agent:dev
    profiles: [chatops]
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    read_only: true
    networks: [data]
  tool-router:
    image: localhost/carapulse/tool-router:dev
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    read_only: true
    networks: [data, sandbox]
    depends_on:
      migrate: { condition: service_completed_successfully }
      minio-bucket: { condition: service_completed_successfully }
      vault-init: { condition: service_completed_successfully }
      localstack-init: { condition: service_completed_successfully }
  sandbox:
    image: localhost/carapulse/sandbox:dev
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    read_only: true
    networks: [sandbox]
  localstack:
    image: localstack/localstack:3.1
    healthcheck: { test: [CMD, x] }
    environment: { SERVICES: 's3,sts,iam,cloudwatch,ec2,ecs,lambda,ssm' }
    networks: [data]
  vault-init: { image: 'hashicorp/vault:1.15.6', networks: [data] }
  localstack-init: { image: 'localstack/localstack:3.1', networks: [data] }
volumes: { postgres-data: {}, minio-data: {} }
networks: { data: {}, sandbox: {} }
";

fn finds(check: fn(&Value) -> Result<()>, from: &str, to: &str) {
    assert!(TEXT.contains(from), "{from}");
    let read = |text: &str| -> Value { serde_saphyr::from_str(text).expect("YAML") };
    check(&read(TEXT)).expect("as it must be");
    assert!(check(&read(&TEXT.replace(from, to))).is_err(), "{from} → {to}");
}

#[test]
fn a_service_that_is_gone_and_an_image_that_moves_are_found() {
    finds(all_are_there, "  opa:", "  opa-server:");
    finds(
        images_are_exact,
        "openpolicyagent/opa:1.22.2",
        "openpolicyagent/opa:latest",
    );
    finds(
        images_are_exact,
        "openpolicyagent/opa:1.22.2",
        "openpolicyagent/opa",
    );
    finds(images_are_exact, "postgres:15.14", "postgres:latest");
}

#[test]
fn waiting_for_less_is_found() {
    finds(
        temporal_is_healthy_first,
        "temporal: { condition: service_healthy }",
        "temporal: { condition: service_started }",
    );
    finds(temporal_is_healthy_first, "cluster, health", "--help");
    finds(
        migrations_come_first,
        "      migrate: { condition: service_completed_successfully }\n",
        "",
    );
    finds(
        migrations_come_first,
        "postgres: { condition: service_healthy }",
        "postgres: { condition: service_started }",
    );
    finds(a_bucket_is_made, "  minio-bucket: {", "  bucket: {");
    finds(
        seeded_first,
        "      vault-init: { condition: service_completed_successfully }\n",
        "",
    );
}

#[test]
fn data_without_a_volume_and_mounts_that_can_be_written_are_found() {
    finds(data_has_volumes, "'postgres-data:/var", "'./data:/var");
    finds(data_has_volumes, "source: minio-data", "source: other");
    finds(
        |value| read_only_under(value, "/policies"),
        ":/policies:ro",
        ":/policies",
    );
    finds(
        |value| read_only_under(value, "/etc/carapulse"),
        ":/etc/carapulse:ro",
        ":/etc/carapulse:rw",
    );
    finds(
        |value| read_only_under(value, "/etc/carapulse"),
        ":/etc/carapulse:ro",
        ":/elsewhere:ro",
    );
}

#[test]
fn more_rights_and_fewer_checks_are_found() {
    finds(confined, "read_only: true", "read_only: false");
    finds(confined, "cap_drop: [ALL]", "cap_drop: []");
    finds(confined, "profiles: [chatops]", "privileged: true");
    finds(agent_is_opt_in, "profiles: [chatops]", "profiles: []");
    finds(checked, "    healthcheck: { test: [CMD, opa, eval] }\n", "");
    finds(
        |value| health_check_calls(value, "postgres", "pg_isready"),
        "[CMD, pg_isready]",
        "[NONE]",
    );
}

#[test]
fn a_service_that_reaches_the_sandbox_is_found() {
    finds(
        networks_are_explicit,
        "networks: [data, sandbox]",
        "networks: [data, nowhere]",
    );
    finds(
        networks_are_explicit,
        "networks: [sandbox]",
        "networks: [sandbox, data]",
    );
    finds(networks_are_explicit, "    networks: [sandbox]\n", "");
}

#[test]
fn a_simulation_that_lacks_an_api_is_found() {
    finds(localstack, "ecs,lambda", "ecs");
    finds(
        localstack,
        "    image: localstack/localstack:3.1",
        "    image: localstack/localstack:4.0",
    );
}

#[test]
fn variables_stand_for_their_defaults() {
    assert_eq!(default_of("${A:-b}:c/${D:-e}"), "b:c/e");
    assert_eq!(default_of("plain"), "plain");
}
