//! Invariant 13: no tenant sees or changes another's rows, whichever part of carapulse asks, and no part can change what
//! must never change. The tables come from the catalogue, so that a new one cannot be forgotten.

use carapulse::{
    domain::TenantId,
    store::{Db, DbRole},
};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::harness::TestDb;

/// Tables with a tenant column that are read across tenants, each with its reason.
const NOT_ISOLATED: [(&str, &str); 2] = [
    (
        "tenant",
        "the list of tenants itself: names only, changed by nobody who serves",
    ),
    ("job", "workers lease across tenants; it holds ids and times only"),
];

/// Rows of all tenants that one role sees by a policy of its own: `(table, role)`.
const SEEN_ACROSS: [(&str, DbRole); 1] = [("audit_event", DbRole::Sequencer)];

/// Indexes of isolated tables that do not lead with the tenant and are no primary key, each with its reason.
const OTHER_INDEXES: [(&str, &str); 3] = [
    (
        "audit_event_unsequenced",
        "the sequencer orders all tenants' rows",
    ),
    (
        "audit_event_global_position",
        "the sequencer and proofs go by position over all tenants",
    ),
    (
        "execution_approval",
        "an approval is good for one execution, whoever's",
    ),
];

#[tokio::test]
async fn invariant_13_no_role_sees_or_changes_rows_of_another_tenant() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    let tables = isolated_tables(&mut owner).await;
    assert!(tables.len() >= 20, "{tables:?}");
    fill(&mut owner, &tables).await;
    for role in DbRole::SERVING {
        let pool = db.as_role(role).await;
        for table in &tables {
            check_table(&pool, role, table).await;
        }
    }
}

async fn check_table(pool: &Db, role: DbRole, table: &str) {
    let across = SEEN_ACROSS.contains(&(table, role));
    let own = count(pool, Some("alpha"), table).await;
    let Some(own) = own else {
        assert!(
            !across,
            "{table}: {role:?} has no column to read, and is said to see all of it"
        );
        return;
    };
    assert_eq!(
        own,
        if across { 2 } else { 1 },
        "{table}: {role:?} sees its tenant's row"
    );
    for tenant in [Some("gamma"), None] {
        let seen = count(pool, tenant, table).await;
        assert_eq!(
            seen,
            Some(if across { 2 } else { 0 }),
            "{table}: {role:?} sees under {tenant:?}"
        );
    }
    for statement in [
        format!("DELETE FROM {table} WHERE tenant_id = 'beta'"),
        format!("UPDATE {table} SET tenant_id = 'alpha' WHERE tenant_id = 'beta'"),
        format!("UPDATE {table} SET tenant_id = 'beta' WHERE tenant_id = 'alpha'"),
        format!("SELECT fill('{table}', 'beta', false)"),
    ] {
        for tenant in [Some("alpha"), None] {
            let touched = run(pool, tenant, &statement).await;
            assert!(
                touched.is_none_or(|rows| rows == 0),
                "{role:?} under {tenant:?}: {statement}"
            );
        }
    }
}

/// Rows seen; none when the role may not even read the tenant column.
async fn count(pool: &Db, tenant: Option<&str>, table: &str) -> Option<i64> {
    let mut tx = begin(pool, tenant).await;
    let statement = format!("SELECT count(tenant_id) FROM {table}");
    match sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut *tx)
        .await
    {
        Ok(rows) => Some(rows),
        Err(error) => {
            assert!(is_denied(&error), "{table}: {error}");
            None
        }
    }
}

/// Rows touched; none when refused. Rolled back either way.
async fn run(pool: &Db, tenant: Option<&str>, statement: &str) -> Option<u64> {
    let mut tx = begin(pool, tenant).await;
    match sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *tx)
        .await
    {
        Ok(done) => Some(done.rows_affected()),
        Err(error) => {
            assert!(is_denied(&error), "{statement}: {error}");
            None
        }
    }
}

async fn begin(pool: &Db, tenant: Option<&str>) -> carapulse::store::Tx {
    match tenant {
        Some(tenant) => {
            let tenant: TenantId = tenant.parse().unwrap();
            pool.begin(&tenant).await.unwrap()
        }
        None => pool.begin_global().await.unwrap(),
    }
}

/// No grant (42501 covers a row-level policy's refusal, too).
fn is_denied(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .as_deref()
        == Some("42501")
}

#[tokio::test]
async fn every_table_with_a_tenant_is_isolated_or_says_why_not() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS isolated,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant_isolation') AS policies
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    for row in rows {
        let name: String = row.get("name");
        let excused = NOT_ISOLATED.iter().any(|(table, _)| *table == name);
        let isolated = row.get::<bool, _>("isolated") && row.get::<i64, _>("policies") == 1;
        assert_eq!(isolated, !excused, "{name}");
    }
}

#[tokio::test]
async fn partitions_are_reached_through_their_parents_only() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    let readable: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || ' by ' || r.rolname FROM pg_class c, pg_roles r
         WHERE c.relispartition AND c.relkind = 'r' AND r.rolname = ANY($1)
           AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(
        readable.is_empty(),
        "row-level security is the parent's: {readable:?}"
    );
}

#[tokio::test]
async fn no_serving_role_owns_anything_or_can_step_around_the_policies() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    let mighty: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
         WHERE rolname = ANY($1) AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(mighty.is_empty(), "{mighty:?}");
    let owned: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = ANY($1)
         UNION ALL SELECT p.proname::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE r.rolname = ANY($1)",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(owned.is_empty(), "{owned:?}");
    let member: Vec<String> = sqlx::query_scalar(
        "SELECT m.rolname || ' is member of ' || g.rolname FROM pg_auth_members am
         JOIN pg_roles m ON m.oid = am.member JOIN pg_roles g ON g.oid = am.roleid WHERE m.rolname = ANY($1)",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(member.is_empty(), "{member:?}");
    let creates: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1) AND has_schema_privilege(oid, 'public', 'CREATE')",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(creates.is_empty(), "{creates:?}");
}

#[tokio::test]
async fn what_must_never_change_cannot_be_changed_by_any_serving_role() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    for table in [
        "audit_event",
        "merkle_node",
        "journal",
        "policy_decision",
        "approval_grant",
        "plan_step",
    ] {
        for role in DbRole::SERVING {
            for privilege in ["DELETE", "TRUNCATE", "UPDATE"] {
                // The sequencer gives positions: one column, and by its policy only where there is none yet.
                let granted = may(&mut owner, role, table, privilege).await;
                assert!(!granted, "{role:?} may {privilege} {table}");
            }
        }
    }
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT grantee || ': ' || table_name || '.' || column_name FROM information_schema.role_column_grants
         WHERE privilege_type = 'UPDATE' AND grantee = ANY($1)
           AND table_name IN ('audit_event', 'merkle_node', 'journal', 'policy_decision', 'approval_grant', 'plan_step')
         ORDER BY 1",
    )
    .bind(serving())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(columns, ["carapulse_sequencer: audit_event.position"]);
}

#[tokio::test]
async fn a_given_position_stays() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    fill(&mut owner, &["audit_event".to_owned()]).await;
    let sequencer = db.as_role(DbRole::Sequencer).await;
    let mut tx = sequencer.begin_global().await.unwrap();
    let given = sqlx::query("UPDATE audit_event SET position = 7 WHERE tenant_id = 'alpha'")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert_eq!(given.rows_affected(), 1);
    tx.commit().await.unwrap();
    assert_eq!(
        run(
            &sequencer,
            None,
            "UPDATE audit_event SET position = 8 WHERE tenant_id = 'alpha'"
        )
        .await,
        Some(0)
    );
}

#[tokio::test]
async fn only_the_gateway_inserts_approval_grants_and_only_the_router_attempts() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    for (table, allowed) in [("approval_grant", DbRole::Gateway), ("attempt", DbRole::Router)] {
        for role in DbRole::SERVING {
            assert_eq!(
                may(&mut owner, role, table, "INSERT").await,
                role == allowed,
                "{role:?}: {table}"
            );
        }
    }
}

#[tokio::test]
async fn every_index_of_an_isolated_table_leads_with_the_tenant_or_says_why_not() {
    let db = TestDb::new().await;
    let mut owner = db.owner().await;
    let mut others: Vec<String> = sqlx::query_scalar(
        "SELECT i.relname::text FROM pg_index x
         JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
         JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id'
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relrowsecurity AND NOT x.indisprimary
           AND x.indkey[0] <> t.attnum AND c.relnamespace = 'public'::regnamespace
         ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    others.retain(|index| !OTHER_INDEXES.iter().any(|(name, _)| name == index));
    assert!(others.is_empty(), "{others:?}");
}

async fn may(owner: &mut PgConnection, role: DbRole, table: &str, privilege: &str) -> bool {
    sqlx::query_scalar("SELECT has_table_privilege($1, $2, $3)")
        .bind(role.name())
        .bind(table)
        .bind(privilege)
        .fetch_one(owner)
        .await
        .unwrap()
}

fn serving() -> Vec<String> {
    DbRole::SERVING
        .iter()
        .map(|role| role.name().to_owned())
        .collect()
}

async fn isolated_tables(owner: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
           AND c.relname <> ALL($1) ORDER BY 1",
    )
    .bind(NOT_ISOLATED.map(|(name, _)| name.to_owned()).to_vec())
    .fetch_all(owner)
    .await
    .unwrap()
}

/// One row of tenant `alpha` and one of `beta` in each table. What the rows say does not matter here: constraints are
/// taken away first, and columns that must not be null get a value of their type.
async fn fill(owner: &mut PgConnection, tables: &[String]) {
    sqlx::raw_sql(RELAX).execute(&mut *owner).await.unwrap();
    for table in tables {
        for tenant in ["alpha", "beta"] {
            sqlx::query("SELECT fill($1, $2, true)")
                .bind(table)
                .bind(tenant)
                .execute(&mut *owner)
                .await
                .unwrap();
        }
    }
}

const RELAX: &str = "
INSERT INTO tenant (tenant_id) VALUES ('alpha'), ('beta'), ('gamma');
DO $$ DECLARE c record; BEGIN
  FOR c IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
    WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace AND conparentid = 0
      AND conrelid <> 0 AND coninhcount = 0
  LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', c.tbl, c.conname); END LOOP;
END $$;
CREATE FUNCTION fill(tbl text, tenant text, honest boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE cols text; vals text;
BEGIN
  SELECT string_agg(quote_ident(attname), ', '), string_agg(CASE
      WHEN attname = 'tenant_id' THEN quote_literal(tenant)
      WHEN atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
      WHEN atttypid = 'bytea'::regtype THEN format('sha256(%L)', tenant)
      WHEN atttypid = 'timestamptz'::regtype THEN 'now()'
      WHEN atttypid = 'boolean'::regtype THEN 'true'
      WHEN atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN '1'
      WHEN atttypid = 'text[]'::regtype THEN '''{}'''
      ELSE '''x''' END, ', ')
    INTO cols, vals
    FROM pg_attribute WHERE attrelid = tbl::regclass AND attnum > 0 AND NOT attisdropped AND (attnotnull OR attname = 'tenant_id');
  IF honest THEN PERFORM set_config('carapulse.tenant', tenant, true); END IF;
  EXECUTE format('INSERT INTO %I (%s) VALUES (%s)', tbl, cols, vals);
END $$;
";
