//! The runner: one at a time, no half-done step, a history that is believed. What the migrations themselves do: `migrate_schema.rs`.

use std::{process::Command, time::Duration};

use carapulse::store::{
    DbRole,
    migrate::{Error, Migrator, Options, SchemaState, Source, builtin, check},
};
use sqlx::{Connection, PgConnection};

use crate::harness::TestDb;

const GOOD: Source = Source {
    name: "V1__good",
    up: "CREATE TABLE good (id int);",
    down: "DROP TABLE IF EXISTS good;",
};
const BROKEN: Source = Source {
    name: "V2__broken",
    up: "CREATE TABLE half (id int); INSERT INTO half VALUES (1); SELECT 1/0; CREATE TABLE whole (id int);",
    down: "DROP TABLE IF EXISTS half;",
};
const MENDED: Source = Source {
    name: "V2__mended",
    up: "CREATE TABLE whole (id int);",
    down: "DROP TABLE IF EXISTS whole;",
};
const SLOW: Source = Source {
    name: "V2__slow",
    // Until the test lets it go on.
    up: "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM good) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
         CREATE TABLE slow (id int);",
    down: "DROP TABLE IF EXISTS slow;",
};

fn impatient() -> Options {
    Options {
        lock_timeout: Duration::from_millis(200),
        ..Options::default()
    }
}

pub(crate) async fn migrator(db: &TestDb, sources: &[Source]) -> Migrator {
    Migrator::with_sources(&db.address(DbRole::Owner), Options::default(), sources)
        .await
        .unwrap()
}

async fn tables(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S', 'v')
         UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_migration_that_fails_half_way_leaves_no_trace_and_can_be_mended() {
    let db = TestDb::empty().await;
    let error = migrator(&db, &[GOOD, BROKEN]).await.up().await.unwrap_err();
    assert!(
        matches!(&error, Error::Step { version: 2, message, .. } if message.contains("division by zero")),
        "{error}"
    );
    let mut owner = db.owner().await;
    assert_eq!(tables(&mut owner).await, ["good", "refinery_schema_history"]);
    let applied = migrator(&db, &[GOOD, MENDED]).await.up().await.unwrap();
    assert_eq!(applied.len(), 1);
    assert_eq!(
        tables(&mut owner).await,
        ["good", "refinery_schema_history", "whole"]
    );
}

#[tokio::test]
async fn of_two_runners_one_waits_and_an_impatient_one_is_told_who_holds_the_lock() {
    let db = TestDb::empty().await;
    migrator(&db, &[GOOD]).await.up().await.unwrap();
    let mut first = migrator(&db, &[GOOD, SLOW]).await;
    let mut patient = migrator(&db, &[GOOD, SLOW]).await;
    let address = db.address(DbRole::Owner);
    let mut impatient = Migrator::with_sources(&address, impatient(), &[GOOD, SLOW])
        .await
        .unwrap();
    let mut watcher = db.owner().await;
    let first = async {
        let applied = first.up().await.unwrap();
        first.close().await.unwrap();
        applied.len()
    };
    let others = async {
        while !is_locked(&mut watcher).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = impatient.up().await.unwrap_err().to_string();
        assert!(refused.contains("carapulse migrate (pid"), "{refused}");
        assert!(
            refused.contains("server process") && refused.contains("since 20"),
            "{refused}"
        );
        let waits = patient.up();
        let go_on = sqlx::query("INSERT INTO good VALUES (1)").execute(&mut watcher);
        let (waited, went_on) = tokio::join!(waits, go_on);
        went_on.unwrap();
        waited.unwrap().len()
    };
    assert_eq!(tokio::join!(first, others), (1, 0));
}

async fn is_locked(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_migration_that_cannot_have_a_table_says_who_keeps_it_and_leaves_no_trace() {
    const WIDER: Source = Source {
        name: "V2__wider",
        up: "CREATE TABLE first (id int); ALTER TABLE good ADD COLUMN more int;",
        down: "ALTER TABLE good DROP COLUMN more; DROP TABLE first;",
    };
    let db = TestDb::empty().await;
    migrator(&db, &[GOOD]).await.up().await.unwrap();
    let mut report = db.owner().await;
    let reading = "SET application_name = 'a long report'; BEGIN; SELECT count(*) FROM good";
    sqlx::raw_sql(reading).execute(&mut report).await.unwrap();
    let address = db.address(DbRole::Owner);
    let impatient = || Migrator::with_sources(&address, impatient(), &[GOOD, WIDER]);
    let refused = impatient().await.unwrap().up().await.unwrap_err();
    assert!(matches!(refused, Error::Step { version: 2, .. }), "{refused}");
    let refused = refused.to_string();
    assert!(
        refused.contains("`a long report` (server process") && refused.contains("holds good since 20"),
        "{refused}"
    );
    assert_eq!(
        tables(&mut db.owner().await).await,
        ["good", "refinery_schema_history"]
    );

    sqlx::raw_sql("COMMIT").execute(&mut report).await.unwrap();
    assert_eq!(impatient().await.unwrap().up().await.unwrap().len(), 1);
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM good")
        .execute(&mut report)
        .await
        .unwrap();
    let refused = impatient().await.unwrap().down(1).await.unwrap_err().to_string();
    assert!(
        refused.contains("V2__wider failed and left no trace") && refused.contains("`a long report`"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_applied_migration_whose_text_has_changed_stops_everything() {
    let db = TestDb::empty().await;
    migrator(&db, &[GOOD]).await.up().await.unwrap();
    let changed = Source {
        up: "CREATE TABLE good (id bigint);",
        ..GOOD
    };
    let error = migrator(&db, &[changed, MENDED])
        .await
        .up()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("V1__good was changed after it was applied"),
        "{error}"
    );
    assert!(migrator(&db, &[changed]).await.down(1).await.is_err());
    assert_eq!(
        tables(&mut db.owner().await).await,
        ["good", "refinery_schema_history"]
    );
}

#[tokio::test]
async fn down_refuses_to_lose_rows_of_any_tenant_unless_that_is_meant() {
    let db = TestDb::new().await;
    let gateway = db.as_role(DbRole::Gateway).await;
    let mut tx = gateway.begin(&"default".parse().unwrap()).await.unwrap();
    sqlx::query(
        "INSERT INTO person (person_id, tenant_id, name) VALUES (gen_random_uuid(), 'default', 'ada')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let mut all = migrator(&db, builtin()).await;
    let error = all.down(usize::MAX).await.unwrap_err();
    assert!(matches!(error, Error::WouldLose { version: 2, .. }), "{error}");
    assert!(error.to_string().contains("1 row of person"), "{error}");
    assert!(tables(&mut db.owner().await).await.contains(&"person".to_owned()));
    all.close().await.unwrap();
    let discard = Options {
        discard_data: true,
        ..Options::default()
    };
    let mut all = Migrator::connect(&db.address(DbRole::Owner), discard)
        .await
        .unwrap();
    assert_eq!(all.down(usize::MAX).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let db = TestDb::empty().await;
    let dry = Options {
        dry_run: true,
        ..Options::default()
    };
    let mut migrator = Migrator::connect(&db.address(DbRole::Owner), dry).await.unwrap();
    assert_eq!(migrator.up().await.unwrap().len(), builtin().len());
    assert!(tables(&mut db.owner().await).await.is_empty());
}

#[tokio::test]
async fn serve_refuses_a_schema_that_is_behind_and_names_the_command() {
    let db = TestDb::empty().await;
    migrator(&db, &builtin()[..1]).await.up().await.unwrap();
    let mut owner = db.owner().await;
    sqlx::query("GRANT SELECT ON refinery_schema_history TO carapulse_router")
        .execute(&mut owner)
        .await
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args([
            "--set",
            "tool_router.http_addr=127.0.0.1:0",
            "serve",
            "--role",
            "tool-router",
        ])
        .env("DATABASE_URL", db.url(DbRole::Router))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("version 1") && said.contains("run `carapulse migrate up`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_newer_schema_than_the_binary_is_accepted() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    sqlx::query("INSERT INTO refinery_schema_history VALUES (999, 'later', '2030-01-01T00:00:00Z', '1')")
        .execute(&mut owner)
        .await
        .unwrap();
    owner.close().await.unwrap();
    let state = check(&db.as_role(DbRole::Router).await).await.unwrap();
    assert!(
        matches!(state, SchemaState::Ahead { applied: 999, .. }),
        "{state:?}"
    );
    assert!(migrator(&db, builtin()).await.up().await.unwrap().is_empty());
    let error = migrator(&db, builtin())
        .await
        .down(1)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("applied by a newer carapulse"), "{error}");
}
