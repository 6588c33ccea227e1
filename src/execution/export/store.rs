//! What was stored of one execution, over all stages: read only.

use serde_json::json;
use uuid::Uuid;

use crate::{
    audit::bundle::{JournalLine, Part},
    domain::{Digest, ExecutionId, PlanId, canonical},
    execution::Error,
    store::{ObjectStore, Tx},
};

/// A chunk of output whose bytes may lie in the object store.
pub(super) struct Log {
    name: String,
    inline: Option<Vec<u8>>,
    object: Option<Digest>,
}

impl Log {
    /// The chunk with its bytes.
    pub(super) async fn read(self, objects: &ObjectStore) -> Result<Part, Error> {
        let bytes = match (self.inline, self.object) {
            (Some(bytes), _) => bytes,
            (None, Some(digest)) => objects.get(&digest).await?.to_vec(),
            (None, None) => Vec::new(),
        };
        Ok(Part::Log(self.name, bytes))
    }
}

/// Every part but the log's own, and the output still to be read.
pub(super) async fn parts(
    tx: &mut Tx,
    id: ExecutionId,
    plan: PlanId,
) -> Result<(Vec<Part>, Vec<Log>), Error> {
    let mut parts = plan_parts(tx, plan).await?;
    parts.extend(incident_parts(tx, plan).await?);
    parts.extend(decision_parts(tx, id, plan).await?);
    parts.push(journal(tx, id).await?);
    parts.extend(attempts(tx, id).await?);
    parts.extend(evidence(tx, id).await?);
    Ok((parts, logs(tx, id).await?))
}

async fn plan_parts(tx: &mut Tx, plan: PlanId) -> Result<Vec<Part>, Error> {
    let doc = sqlx::query_scalar!("SELECT doc FROM plan WHERE plan_id = $1", plan.uuid());
    let mut parts = vec![Part::Plan(doc.fetch_one(&mut **tx).await?)];
    let grant = sqlx::query!(
        "SELECT g.statement, g.key_id, g.signature FROM approval_grant g JOIN approval a USING (approval_id)
         WHERE a.plan_id = $1 AND a.status = 'consumed'",
        plan.uuid(),
    );
    let grant = grant.fetch_optional(&mut **tx).await?;
    parts.extend(grant.map(|g| Part::Approval {
        statement: g.statement,
        key_id: g.key_id,
        signature: g.signature,
    }));
    Ok(parts)
}

async fn incident_parts(tx: &mut Tx, plan: PlanId) -> Result<Vec<Part>, Error> {
    let signals = sqlx::query!(
        "SELECT s.signal_id, s.body FROM plan p JOIN signal s ON s.incident_id = p.incident_id WHERE p.plan_id = $1
         ORDER BY s.signal_id LIMIT 1000",
        plan.uuid(),
    );
    let signals = signals.fetch_all(&mut **tx).await?;
    let mut parts: Vec<Part> = signals
        .into_iter()
        .map(|s| Part::Signal(format!("{}.json", s.signal_id.simple()), s.body))
        .collect();
    let diagnosis = sqlx::query!(
        r#"SELECT d.body, s.body AS "snapshot?" FROM plan p JOIN diagnosis d ON d.incident_id = p.incident_id
           LEFT JOIN snapshot s ON s.snapshot_id = d.snapshot_id
           WHERE p.plan_id = $1 AND d.made_at <= p.created_at ORDER BY d.made_at DESC, d.diagnosis_id DESC LIMIT 1"#,
        plan.uuid(),
    );
    if let Some(row) = diagnosis.fetch_optional(&mut **tx).await? {
        parts.push(Part::Diagnosis(row.body));
        parts.extend(row.snapshot.map(Part::Snapshot));
    }
    Ok(parts)
}

async fn decision_parts(tx: &mut Tx, id: ExecutionId, plan: PlanId) -> Result<Vec<Part>, Error> {
    let rows = sqlx::query!(
        "SELECT decision_id, action, decision, step, bundle_digest, input, output, decided_at FROM policy_decision
         WHERE plan_id = $1 OR execution_id = $2 ORDER BY decided_at, decision_id LIMIT 5000",
        plan.uuid(),
        id.uuid(),
    );
    let part = |name: Uuid, value: serde_json::Value| {
        Part::Decision(format!("{}.json", name.simple()), value.to_string().into_bytes())
    };
    let rows = rows.fetch_all(&mut **tx).await?;
    let read = rows.into_iter().map(|row| {
        let input: serde_json::Value = json_of(&row.input)?;
        let output: serde_json::Value = json_of(&row.output)?;
        let value = json!({
            "action": row.action, "decision": row.decision, "step": row.step, "decided_at": row.decided_at,
            "bundle": Digest::from_slice(&row.bundle_digest), "input": input, "output": output,
        });
        Ok(part(row.decision_id, value))
    });
    read.collect()
}

async fn journal(tx: &mut Tx, id: ExecutionId) -> Result<Part, Error> {
    let rows = sqlx::query!(
        "SELECT seq, epoch, event, recorded_at FROM journal WHERE execution_id = $1 ORDER BY seq",
        id.uuid(),
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let lines = rows.into_iter().map(|row| {
        Ok(JournalLine {
            seq: row.seq.unsigned_abs(),
            epoch: row.epoch,
            recorded_at: row.recorded_at.to_rfc3339(),
            event: canonical::from_bytes(&row.event).map_err(|e| Error::Corrupt(e.to_string()))?,
        })
    });
    Ok(Part::Journal(lines.collect::<Result<_, Error>>()?))
}

async fn attempts(tx: &mut Tx, id: ExecutionId) -> Result<Vec<Part>, Error> {
    let rows = sqlx::query!(
        "SELECT step, direction, attempt, status, epoch, claimed_at, ended_at, prior, result, error_code, error FROM attempt
         WHERE execution_id = $1 ORDER BY step, direction, attempt",
        id.uuid(),
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let read = rows.into_iter().map(|row| {
        let mut value = json!({
            "step": row.step, "direction": row.direction, "attempt": row.attempt, "status": row.status, "epoch": row.epoch,
            "claimed_at": row.claimed_at.to_rfc3339(),
        });
        let texts = [("ended_at", row.ended_at.map(|t| t.to_rfc3339())), ("error_code", row.error_code), ("error", row.error)];
        for (key, text) in texts {
            if let Some(text) = text {
                value[key] = json!(text);
            }
        }
        for (key, bytes) in [("prior", row.prior), ("result", row.result)] {
            if let Some(bytes) = bytes {
                value[key] = json_of(&bytes)?;
            }
        }
        let name = format!("{:03}-{}-{}.json", row.step, row.direction, row.attempt);
        Ok(Part::Attempt(name, value))
    });
    read.collect()
}

async fn evidence(tx: &mut Tx, id: ExecutionId) -> Result<Vec<Part>, Error> {
    let rows = sqlx::query!(
        "SELECT evidence_id, step, assertion, type, query, verdict, body, collected_at FROM evidence
         WHERE execution_id = $1 ORDER BY evidence_id LIMIT 10000",
        id.uuid(),
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let read = rows.into_iter().map(|row| {
        let body: serde_json::Value = json_of(&row.body)?;
        let value = json!({
            "step": row.step, "assertion": row.assertion, "type": row.r#type, "query": row.query, "verdict": row.verdict,
            "collected_at": row.collected_at, "body": body,
        });
        Ok(Part::Evidence(format!("{}.json", row.evidence_id.simple()), value.to_string().into_bytes()))
    });
    read.collect()
}

async fn logs(tx: &mut Tx, id: ExecutionId) -> Result<Vec<Log>, Error> {
    let rows = sqlx::query!(
        "SELECT chunk_id, step, direction, attempt, stream, object_digest, inline FROM log_chunk
         WHERE execution_id = $1 ORDER BY logged_at, chunk_id LIMIT 5000",
        id.uuid(),
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let read = rows.into_iter().zip(0_u32..).map(|(row, number)| Log {
        name: format!(
            "{:03}-{}-{}-{number:05}-{}.log",
            row.step, row.direction, row.attempt, row.stream
        ),
        inline: row.inline,
        object: row.object_digest.and_then(|digest| Digest::from_slice(&digest)),
    });
    Ok(read.collect())
}

fn json_of(bytes: &[u8]) -> Result<serde_json::Value, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Corrupt(e.to_string()))
}
