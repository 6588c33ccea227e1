//! Makes references into the snapshot.

use super::finding::{EvidenceKind, EvidenceRef};
use crate::context::clean;

/// Evidence from the Kubernetes API: `list` is the source's last part.
pub(super) fn k8s(list: &str, pointer: String, excerpt: &str) -> EvidenceRef {
    make(EvidenceKind::K8s, format!("kubernetes.{list}"), pointer, excerpt)
}

/// Evidence from the repository.
pub(super) fn git(pointer: String, excerpt: &str) -> EvidenceRef {
    make(EvidenceKind::Git, "git.log".into(), pointer, excerpt)
}

/// Evidence from the manifests at head.
pub(super) fn manifest(pointer: String, excerpt: &str) -> EvidenceRef {
    make(EvidenceKind::Git, "git.manifests".into(), pointer, excerpt)
}

/// Evidence from Prometheus: `query` is the query's name.
pub(super) fn promql(query: &str, pointer: String, excerpt: &str) -> EvidenceRef {
    make(
        EvidenceKind::Promql,
        format!("prometheus.{query}"),
        pointer,
        excerpt,
    )
}

fn make(kind: EvidenceKind, source: String, pointer: String, excerpt: &str) -> EvidenceRef {
    EvidenceRef {
        kind,
        source,
        pointer,
        excerpt: clean(excerpt, 300),
    }
}
