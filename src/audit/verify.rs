//! The whole log again: every leaf, node, root and checkpoint, recomputed and compared, in windows of bounded memory.
//!
//! In: the database as the gateway's role, trusted checkpoint keys, checkpoints that were published elsewhere. Out: [`LogReport`]
//! with the first position at which something is wrong. Deletion, truncation, reordering and changed bodies all show, as far back
//! as the newest checkpoint that the verifier trusts; a log rewritten as a whole shows by a published checkpoint only.

mod store;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    Body, Error,
    checkpoint::Checkpoint,
    leaf,
    merkle::{Frontier, Hash, Node, NodeId},
    note::VerifierKey,
    sequencer::store as log,
};
use store::Row;

use crate::{
    domain::{Digest, TenantId},
    store::{Db, tenant},
};

/// Positions looked at in one go.
const WINDOW: u64 = 4096;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Position of the leaf, or size of the tree, from which on the log cannot be believed.
    pub position: u64,
    /// Short, stable word: `missing`, `duplicate`, `leaf`, `columns`, `node`, `beyond_head`, `truncated`, `checkpoint`, `root`.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Number of leaves that were recomputed and are right.
    pub size: u64,
    /// Root over them, recomputed.
    pub root: Digest,
    /// Checkpoints of the database and published ones that were verified.
    pub checkpoints: u64,
    /// Size of the newest verified checkpoint: what stands after it is not signed yet.
    pub signed_size: u64,
    /// The first fault; nothing after it was looked at.
    pub fault: Option<Fault>,
}

impl LogReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.fault.is_none()
    }
}

/// Verifies the log. `published` are the notes of checkpoints kept outside the database, in any order.
///
/// # Errors
/// [`Error::Store`] when it could not be read; what is wrong with it is in the report.
pub async fn verify_log(db: &Db, keys: &[VerifierKey], published: &[Vec<u8>]) -> Result<LogReport, Error> {
    let mut tx = db.begin_global().await?;
    let head = log::head(&mut tx).await?;
    let tenants = tenant::list(&mut tx).await?;
    tx.commit().await?;
    let mut sweep = Sweep {
        db,
        keys,
        tenants,
        published: BTreeMap::new(),
        tree: Frontier::default(),
        checkpoints: 0,
        signed_size: 0,
    };
    let fault = sweep.run(head.size, published).await?;
    Ok(LogReport {
        size: sweep.tree.size(),
        root: Digest::from_bytes(sweep.tree.root()),
        checkpoints: sweep.checkpoints,
        signed_size: sweep.signed_size,
        fault,
    })
}

struct Sweep<'a> {
    db: &'a Db,
    keys: &'a [VerifierKey],
    tenants: Vec<TenantId>,
    published: BTreeMap<u64, Vec<Checkpoint>>,
    tree: Frontier,
    checkpoints: u64,
    signed_size: u64,
}

impl Sweep<'_> {
    async fn run(&mut self, size: u64, published: &[Vec<u8>]) -> Result<Option<Fault>, Error> {
        for note in published {
            match Checkpoint::open(note, self.keys) {
                Ok(checkpoint) => self
                    .published
                    .entry(checkpoint.size)
                    .or_default()
                    .push(checkpoint),
                Err(error) => {
                    let message = format!("a published checkpoint cannot be believed: {error}");
                    return Ok(Some(Fault {
                        position: 0,
                        code: "checkpoint",
                        message,
                    }));
                }
            }
        }
        while self.tree.size() < size {
            let start = self.tree.size();
            let end = (start + WINDOW - start % WINDOW).min(size);
            if let Some(fault) = self.window(start, end).await? {
                return Ok(Some(fault));
            }
        }
        self.end(size).await
    }

    /// Verifies positions `start..end`.
    async fn window(&mut self, start: u64, end: u64) -> Result<Option<Fault>, Error> {
        let mut rows: HashMap<u64, Row> = HashMap::new();
        for tenant in &self.tenants {
            let mut tx = self.db.begin(tenant).await?;
            for row in store::rows_in(&mut tx, start, end).await? {
                let position = u64::try_from(row.position).unwrap_or(0);
                if rows.insert(position, row).is_some() {
                    let message = "two events stand at this position".to_owned();
                    return Ok(Some(Fault {
                        position,
                        code: "duplicate",
                        message,
                    }));
                }
            }
        }
        let mut tx = self.db.begin_global().await?;
        let nodes = store::nodes_in(&mut tx, start, end).await?;
        let heads = store::checkpoints_in(&mut tx, start, end).await?;
        tx.commit().await?;
        let mut stored: HashMap<NodeId, Hash> = nodes.into_iter().map(|node| (node.id, node.hash)).collect();
        let mut heads = heads.into_iter().peekable();
        for position in start..end {
            let leaf = match rows.get(&position).map(|row| leaf_of(position, row)) {
                Some(Ok(leaf)) => leaf,
                Some(Err(fault)) => return Ok(Some(fault)),
                None => {
                    let message = "no event stands at this position: it was deleted".to_owned();
                    return Ok(Some(Fault {
                        position,
                        code: "missing",
                        message,
                    }));
                }
            };
            if let Some(fault) = self.append(position, leaf, &mut stored) {
                return Ok(Some(fault));
            }
            while let Some((size, root, note)) = heads.next_if(|(size, _, _)| *size == position + 1) {
                if let Some(fault) = self.stored_head(size, &root, &note) {
                    return Ok(Some(fault));
                }
            }
            if let Some(fault) = self.published_heads() {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// Appends a leaf and compares every node that became complete with the stored one.
    fn append(&mut self, position: u64, leaf: Hash, stored: &mut HashMap<NodeId, Hash>) -> Option<Fault> {
        let mut wrong: Option<Node> = None;
        self.tree.append([leaf], |node| {
            if stored.remove(&node.id) != Some(node.hash) && wrong.is_none() {
                wrong = Some(node);
            }
        });
        let id = wrong?.id;
        let (code, message) = if id.level == 0 {
            (
                "leaf",
                "the event is not the one that was sequenced here: it was changed or moved".to_owned(),
            )
        } else {
            (
                "node",
                format!(
                    "the stored tree node {}/{} does not fit the leaves under it",
                    id.level, id.index
                ),
            )
        };
        Some(Fault {
            position,
            code,
            message,
        })
    }

    fn stored_head(&mut self, size: u64, root: &Hash, note: &str) -> Option<Fault> {
        let checkpoint = match Checkpoint::open(note.as_bytes(), self.keys) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let message = format!("the stored checkpoint of this size cannot be believed: {error}");
                return Some(Fault {
                    position: size,
                    code: "checkpoint",
                    message,
                });
            }
        };
        if checkpoint.size != size || checkpoint.root != *root {
            let message = "the stored checkpoint's columns are not what its note says".to_owned();
            return Some(Fault {
                position: size,
                code: "checkpoint",
                message,
            });
        }
        self.compare(&checkpoint)
    }

    fn published_heads(&mut self) -> Option<Fault> {
        let here = self.published.remove(&self.tree.size())?;
        here.iter().find_map(|checkpoint| self.compare(checkpoint))
    }

    fn compare(&mut self, checkpoint: &Checkpoint) -> Option<Fault> {
        if checkpoint.root != self.tree.root() {
            let message = "the events up to here are not those that were signed".to_owned();
            return Some(Fault {
                position: checkpoint.size,
                code: "root",
                message,
            });
        }
        self.checkpoints += 1;
        self.signed_size = self.signed_size.max(checkpoint.size);
        None
    }

    /// Nothing may stand beyond the head, and no checkpoint may be ahead of it.
    async fn end(&mut self, size: u64) -> Result<Option<Fault>, Error> {
        let truncated = |ahead: u64| Fault {
            position: size,
            code: "truncated",
            message: format!("a checkpoint over {ahead} events was signed, but the log ends here"),
        };
        if let Some(ahead) = self.published.keys().next_back() {
            return Ok(Some(truncated(*ahead)));
        }
        for tenant in &self.tenants {
            let mut tx = self.db.begin(tenant).await?;
            if let Some(position) = store::beyond(&mut tx, self.tree.size()).await? {
                // The sequencer may have gone on meanwhile: only what is beyond the head of now is wrong.
                if position >= log::head(&mut tx).await?.size {
                    let message = "an event stands beyond the head of the log".to_owned();
                    return Ok(Some(Fault {
                        position,
                        code: "beyond_head",
                        message,
                    }));
                }
            }
        }
        let mut tx = self.db.begin_global().await?;
        let latest = log::latest_checkpoint(&mut tx).await?;
        let now = log::head(&mut tx).await?.size;
        Ok(latest
            .filter(|latest| latest.size > now)
            .map(|latest| truncated(latest.size)))
    }
}

/// The leaf hash that the stored body makes; or what is wrong with the row by itself.
fn leaf_of(position: u64, row: &Row) -> Result<Hash, Fault> {
    let fault = |code, message: &str| Fault {
        position,
        code,
        message: message.to_owned(),
    };
    let salt = row
        .salt
        .as_slice()
        .try_into()
        .map_err(|_| fault("leaf", "the salt has the wrong length"))?;
    let body: Body = serde_json::from_slice(&row.body)
        .map_err(|_| fault("leaf", "the event cannot be read: it was changed"))?;
    let same = body.event_id.uuid() == row.event_id
        && body.tenant_id.as_str() == row.tenant_id
        && body.action == row.action
        && body.actor.name == row.actor
        && body.decision.as_str() == row.decision
        && body.subject == row.subject
        && body.plan_id.map(Into::into) == row.plan_id
        && body.execution_id.map(Into::into) == row.execution_id;
    if !same {
        return Err(fault(
            "columns",
            "the columns of the event are not what its body says",
        ));
    }
    Ok(leaf::hash(salt, &row.body))
}
