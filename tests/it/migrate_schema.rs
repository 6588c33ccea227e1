//! The migrations themselves: there and back without a remainder, all or nothing, and a schema that an older binary runs on.

use std::{fmt::Write as _, time::Duration};

use carapulse::store::{
    DbRole,
    migrate::{Error, Migrator, Options, Source, builtin},
};
use sqlx::PgConnection;

use crate::{harness::TestDb, migrate::migrator, world::World};

/// Everything that a migration can change in the schema, as sorted lines; the runner's own table left out.
const FINGERPRINT: &str = r#"
WITH rel AS (
  SELECT c.* FROM pg_class c
  WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ '^refinery_schema_history'
)
SELECT line FROM (
  SELECT format('%s %s, row security %s %s', relkind, relname, relrowsecurity, relforcerowsecurity) AS line FROM rel
  UNION ALL SELECT format('column %s.%s %s %s %s %s', relname, attname, format_type(atttypid, atttypmod), attnotnull,
      pg_get_expr(d.adbin, d.adrelid), attacl::text)
    FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = rel.oid AND d.adnum = attnum
  UNION ALL SELECT format('constraint %s %s %s', relname, conname, pg_get_constraintdef(k.oid))
    FROM rel JOIN pg_constraint k ON k.conrelid = rel.oid
  UNION ALL SELECT pg_get_indexdef(i.indexrelid) FROM rel JOIN pg_index i ON i.indrelid = rel.oid
  UNION ALL SELECT pg_get_triggerdef(t.oid) FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid AND NOT t.tgisinternal
  UNION ALL SELECT format('policy %s %s %s %s %s %s', relname, polname, polcmd, polroles,
      pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM rel JOIN pg_policy p ON p.polrelid = rel.oid
  UNION ALL SELECT format('grant on %s %s', relname, acl) FROM rel, unnest(relacl) AS acl
  UNION ALL SELECT format('%s %s', pg_get_functiondef(p.oid), p.proacl)
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
  UNION ALL SELECT format('grant on public %s', acl) FROM pg_namespace, unnest(nspacl) AS acl WHERE nspname = 'public'
) AS lines WHERE line IS NOT NULL ORDER BY line COLLATE "C""#;

async fn fingerprint(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(FINGERPRINT)
        .fetch_all(connection)
        .await
        .unwrap()
}

/// The lines that only one of the two has.
fn difference(left: &[String], right: &[String]) -> String {
    let mut lines = String::new();
    for (sign, these, those) in [('-', left, right), ('+', right, left)] {
        for line in these.iter().filter(|line| !those.contains(line)) {
            writeln!(lines, "{sign} {line}").unwrap();
        }
    }
    lines
}

#[tokio::test]
async fn every_migration_goes_up_and_down_and_up_again_twice() {
    let db = TestDb::empty().await;
    let mut owner = db.owner().await;
    let empty = fingerprint(&mut owner).await;
    let mut rounds = Vec::new();
    for round in 0..2 {
        let mut before = vec![fingerprint(&mut owner).await];
        for count in 1..=builtin().len() {
            let name = builtin()[count - 1].name;
            let mut migrator = migrator(&db, &builtin()[..count]).await;
            let applied = migrator.up().await.unwrap();
            assert_eq!(applied.len(), 1, "round {round}: {name}");
            assert!(
                migrator.up().await.unwrap().is_empty(),
                "a second run does nothing"
            );
            let after = fingerprint(&mut owner).await;
            assert_ne!(Some(&after), before.last(), "{name} is a placeholder");
            migrator.redo().await.unwrap();
            let again = fingerprint(&mut owner).await;
            assert_eq!(difference(&after, &again), "", "round {round}: {name} redone");
            before.push(after);
        }
        rounds.push(before.last().cloned().unwrap());
        for count in (1..=builtin().len()).rev() {
            let mut migrator = migrator(&db, builtin()).await;
            let taken_back = migrator.down(1).await.unwrap();
            assert_eq!(usize::try_from(taken_back[0].version).unwrap(), count);
            let left = fingerprint(&mut owner).await;
            assert_eq!(
                difference(&before[count - 1], &left),
                "",
                "round {round}: {} leaves nothing",
                taken_back[0].name
            );
        }
        let mut migrator = migrator(&db, builtin()).await;
        assert!(migrator.down(1).await.unwrap().is_empty());
    }
    assert_eq!(
        difference(&rounds[0], &rounds[1]),
        "",
        "the second time is the first"
    );
    assert_eq!(difference(&empty, &fingerprint(&mut owner).await), "");
}

/// Each built-in migration with an error as its last statement: everything before it has been done by then.
#[tokio::test]
async fn whichever_migration_fails_at_its_last_statement_leaves_no_trace() {
    let db = TestDb::empty().await;
    let mut owner = db.owner().await;
    for count in 1..=builtin().len() {
        let before = fingerprint(&mut owner).await;
        let good = builtin()[count - 1];
        let broken = Source {
            up: leaked(format!("{}\nSELECT 1/0;", good.up)),
            ..good
        };
        let sources = [&builtin()[..count - 1], &[broken]].concat();
        let error = migrator(&db, &sources).await.up().await.unwrap_err();
        assert!(
            matches!(&error, Error::Step { message, .. } if message.contains("division by zero")),
            "{error}"
        );
        let after = fingerprint(&mut owner).await;
        assert_eq!(difference(&before, &after), "", "{}", good.name);
        let applied = migrator(&db, &builtin()[..count]).await.up().await.unwrap();
        assert_eq!(applied.len(), 1, "{} alone was missing", good.name);
    }
}

/// This binary on the schema of the next release. An expanding migration may add tables, indexes, and columns that are
/// empty or have a default, to every table; the older binary must not notice.
#[tokio::test]
async fn an_older_binary_plays_the_whole_path_on_the_next_releases_schema() {
    let world = World::new().await;
    let next = format!("V{}__next_release", builtin().len() + 1);
    let expand = Source {
        name: leaked(next),
        up: EXPAND,
        down: "DROP TABLE from_the_next_release;",
    };
    let sources = [builtin(), &[expand]].concat();
    let owner = world.db.address(DbRole::Owner);
    let mut newer = Migrator::with_sources(&owner, Options::default(), &sources)
        .await
        .unwrap();
    assert_eq!(newer.up().await.unwrap().len(), 1);
    newer.close().await.unwrap();

    let mut processes = Vec::new();
    for role in ["tool-router", "gateway", "orchestrator"] {
        let mut process = world.start(role, None).await;
        process.ready(&world.http).await;
        let said = process.tail();
        assert!(
            said.contains("the schema is newer than this binary"),
            "{role}: {said}"
        );
        processes.push(process);
    }
    world.register().await;
    let execution = world.execute(&world.approved_plan(true).await).await.unwrap();
    let status = world.until_ended(&execution, Duration::from_secs(90)).await;
    assert_eq!(status, "succeeded");
    assert!(world.story.works());
    let evidence = world.get(&format!("/v1/executions/{execution}/evidence")).await;
    assert!(evidence.is_some_and(|bundle| !bundle.is_empty()));
}

const EXPAND: &str = "
CREATE TABLE from_the_next_release (id uuid PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenant);
SELECT isolate_tenants('from_the_next_release');
DO $$
DECLARE tbl text;
BEGIN
  FOR tbl IN
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND NOT relispartition AND relname NOT IN ('from_the_next_release', 'refinery_schema_history')
  LOOP
    EXECUTE format('ALTER TABLE %I ADD COLUMN later text, ADD COLUMN later_flag boolean NOT NULL DEFAULT false', tbl);
    EXECUTE format('CREATE INDEX %I ON %I (later)', tbl || '_later', tbl);
  END LOOP;
END $$;
";

/// A migration's texts live as long as the binary; here as long as the tests.
fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}
