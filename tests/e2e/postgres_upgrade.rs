//! `carapulse db upgrade`: our own Postgres from the major that is installed to another that is fetched, with all rows.

use std::process::Command;

use carapulse::{
    audit::verify::verify_log,
    domain::{OpCtx, TenantId},
    store::{
        Db, DbRole,
        embedded::{Server, Settings},
        migrate::{Migrator, Options},
    },
};
use serde_json::json;

#[tokio::test]
async fn the_rows_of_an_older_major_come_to_a_newer_one_and_the_old_data_is_kept() {
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let settings = Settings::lasting(folder.path().join("postgres")).of_major(15);
    let before = fill(&settings).await;
    let upgrade = |to: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_carapulse"))
            .args(["--set", &format!("data_dir={}", folder.path().display())])
            .args(["db", "upgrade", "--to", to])
            .env_remove("DATABASE_URL")
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let running = Server::start(settings.clone()).await.unwrap();
    let (code, said) = upgrade("18");
    assert!(code != Some(0) && said.contains("in use"), "{said}");
    running.stop().await.unwrap();

    let (code, said) = upgrade("18");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("upgraded from Postgres 15 to 18"), "{said}");
    let major = |data: &str| std::fs::read_to_string(settings.folder.join(data).join("PG_VERSION")).unwrap();
    assert_eq!((major("data").trim(), major("data.15").trim()), ("18", "15"));
    assert!(!settings.folder.join("upgrade").exists());
    assert_eq!(look(&settings).await, before);
    assert!(upgrade("18").1.contains("already"));
    let (code, said) = upgrade("17");
    assert!(code != Some(0) && said.contains("no way back"), "{said}");
}

/// A migrated database with a tenant of its own and some audited events; answers what [`look`] sees.
async fn fill(settings: &Settings) -> (String, i64, i64, String) {
    let server = Server::start(settings.clone()).await.unwrap();
    let mut migrator = Migrator::connect(&server.address(DbRole::Owner), Options::default())
        .await
        .unwrap();
    migrator.up().await.unwrap();
    migrator.close().await.unwrap();
    let owner = Db::open(&server.address(DbRole::Owner), DbRole::Owner, 1)
        .await
        .unwrap();
    let mut tx = owner.begin_global().await.unwrap();
    sqlx::query("INSERT INTO tenant (tenant_id) VALUES ('other')")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for tenant in ["default", "other"] {
        let tenant: TenantId = tenant.parse().unwrap();
        let ctx = OpCtx::system("test", tenant.clone());
        let mut tx = owner.begin(&tenant).await.unwrap();
        for number in 0..50 {
            let event = carapulse::audit::Event::new("test.event", json!({"number": number}));
            carapulse::audit::record(&mut tx, &ctx, event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    owner.close().await;
    server.stop().await.unwrap();
    look(settings).await
}

/// The installation, its tenants, its events, and a digest over all of their bytes; and the serving roles get in.
async fn look(settings: &Settings) -> (String, i64, i64, String) {
    let server = Server::start(settings.clone()).await.unwrap();
    let gateway = Db::open(&server.address(DbRole::Gateway), DbRole::Gateway, 1)
        .await
        .unwrap();
    let report = verify_log(&gateway, &[], &[]).await;
    assert!(report.is_ok(), "{report:?}");
    let mut tx = gateway.begin(&"other".parse().unwrap()).await.unwrap();
    let seen = sqlx::query_as(
        "SELECT (SELECT installation_id::text FROM installation), (SELECT count(*) FROM tenant),
                count(*), md5(string_agg(encode(leaf_hash, 'hex') || encode(body, 'hex'), ',' ORDER BY event_id))
         FROM audit_event WHERE tenant_id = 'other'",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    gateway.close().await;
    server.stop().await.unwrap();
    seen
}
