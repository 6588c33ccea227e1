//! Kubernetes manifests in YAML: what they define, and what differs between two versions of a file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    text::clean,
    workload::{WorkloadKind, WorkloadRef, is_object_name},
};

/// Most changed fields kept of one commit.
pub const MAX_CHANGES: usize = 40;
const WITHHELD: &str = "(withheld)";

/// One object of a file.
#[derive(Debug, Clone)]
pub struct Object {
    /// `kind/name`, kind in lower case.
    pub id: String,
    /// Its namespace, when the file says one.
    pub namespace: Option<String>,
    value: Value,
}

/// One object at head, reduced to what diagnosis needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// File, from the root of the repository.
    pub path: String,
    /// `kind/name`, kind in lower case.
    pub object: String,
    /// The workload, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// Replica count that the file asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Images of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Config maps and secrets that it uses, as `kind/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Host names in its environment's addresses, first label only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// A field that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// File, from the root of the repository.
    pub path: String,
    /// `kind/name`, kind in lower case.
    pub object: String,
    /// `spec/template/spec/containers[checkout]/env[DB_POOL_SIZE]/value`; empty for the whole object.
    pub field: String,
    /// Absent when the field was added. Secrets are withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Absent when the field was removed. Secrets are withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Whether `path` may hold manifests.
#[must_use]
pub fn is_manifest_path(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, e)| e);
    matches!(extension, Some("yaml" | "yml"))
}

/// Reads the objects of a file; documents that are no Kubernetes objects are passed over. The error is one line.
pub fn parse(text: &str) -> Result<Vec<Object>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|e| clean(e.to_string().lines().next().unwrap_or("not YAML"), 200))?;
    Ok(documents.into_iter().filter_map(object).collect())
}

fn object(value: Value) -> Option<Object> {
    value.get("apiVersion")?.as_str()?;
    let kind = value.get("kind")?.as_str()?.to_ascii_lowercase();
    let metadata = value.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    let sane = kind.bytes().all(|b| b.is_ascii_alphanumeric()) && is_object_name(name);
    let namespace = metadata.get("namespace").and_then(Value::as_str);
    let namespace = namespace.map(|n| clean(n, 63));
    let id = format!("{kind}/{name}");
    sane.then_some(Object { id, namespace, value })
}

impl Object {
    /// What diagnosis needs of the object in file `path`.
    #[must_use]
    pub fn reduce(&self, path: &str) -> Manifest {
        let pod = self.value.pointer("/spec/template/spec");
        let fields = flatten(pod.unwrap_or(&Value::Null));
        let pick = |wanted: fn(&str) -> bool| {
            let found = fields.iter().filter(|(field, _)| wanted(field));
            found.map(|(_, value)| value.clone()).collect::<BTreeSet<_>>()
        };
        let uses = fields.iter().filter_map(|(field, name)| used_object(field, name));
        let hosts = pick(|f| f.contains("/env[") && f.ends_with("/value"));
        let workload = self.workload();
        Manifest {
            path: path.to_owned(),
            object: self.id.clone(),
            replicas: workload
                .as_ref()
                .and_then(|_| self.value.pointer("/spec/replicas")?.as_i64())
                .filter(|n| (0..=10_000).contains(n)),
            workload,
            images: pick(|f| f.ends_with("]/image"))
                .iter()
                .map(|i| clean(i, 250))
                .collect(),
            uses: uses.collect::<BTreeSet<_>>().into_iter().collect(),
            hosts: hosts
                .iter()
                .filter_map(|v| host_of(v))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }

    fn workload(&self) -> Option<WorkloadRef> {
        let (kind, name) = self.id.split_once('/')?;
        WorkloadRef::new(WorkloadKind::parse(kind)?, name)
    }
}

fn used_object(field: &str, name: &str) -> Option<String> {
    let kind = if field.ends_with("configMapRef/name")
        || field.ends_with("configMapKeyRef/name")
        || field.ends_with("configMap/name")
    {
        "configmap"
    } else if field.ends_with("secretRef/name")
        || field.ends_with("secretKeyRef/name")
        || field.ends_with("secret/secretName")
    {
        "secret"
    } else {
        return None;
    };
    is_object_name(name).then(|| format!("{kind}/{name}"))
}

/// First label of the host in `http://payments:8080/x` or `payments.shop.svc:8080`.
fn host_of(value: &str) -> Option<String> {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let addressed = value.contains("://") || (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let label = name.split('.').next()?;
    (addressed && is_object_name(label)).then(|| label.to_owned())
}

/// What differs between two versions of file `path`, sorted by object and field.
#[must_use]
pub fn changes(path: &str, before: &[Object], after: &[Object]) -> Vec<FieldChange> {
    let flat = |objects: &[Object]| -> BTreeMap<String, BTreeMap<String, String>> {
        objects
            .iter()
            .map(|o| (o.id.clone(), flatten(&o.value)))
            .collect()
    };
    let (before, after) = (flat(before), flat(after));
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut out = Vec::new();
    for id in ids {
        match (before.get(id), after.get(id)) {
            (Some(old), Some(new)) => {
                let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                let changed = fields.into_iter().filter(|f| old.get(*f) != new.get(*f));
                out.extend(changed.map(|f| change(path, id, f, old.get(f), new.get(f))));
            }
            (old, _) => {
                let (gone, here) = (Some("defined".to_owned()), None);
                let (old, new) = if old.is_some() { (gone, here) } else { (here, gone) };
                out.push(change(path, id, "", old.as_ref(), new.as_ref()));
            }
        }
    }
    out
}

fn change(
    path: &str,
    object: &str,
    field: &str,
    before: Option<&String>,
    after: Option<&String>,
) -> FieldChange {
    let hide = object.starts_with("secret/") || looks_secret(field);
    let show = |value: &String| {
        if hide && !field.is_empty() {
            WITHHELD.to_owned()
        } else {
            clean(value, 200)
        }
    };
    FieldChange {
        path: path.to_owned(),
        object: object.to_owned(),
        field: clean(field, 200),
        before: before.map(show),
        after: after.map(show),
    }
}

/// Whether a name says that its value is a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "secret",
        "token",
        "apikey",
        "api_key",
        "private",
        "credential",
        "dsn",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Scalars by path. Members of a list are named by their `name`, else by their place.
fn flatten(value: &Value) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    descend(value, &mut String::new(), &mut out, 0);
    out
}

fn descend(value: &Value, path: &mut String, out: &mut BTreeMap<String, String>, depth: usize) {
    let mut nested = |part: &str, separator: &str, value: &Value, out: &mut BTreeMap<String, String>| {
        let length = path.len();
        if !path.is_empty() {
            path.push_str(separator);
        }
        path.push_str(part);
        descend(value, path, out, depth + 1);
        path.truncate(length);
    };
    match value {
        Value::Object(map) if depth < 24 => {
            for (key, item) in map {
                nested(key, "/", item, out);
            }
        }
        Value::Array(items) if depth < 24 => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str);
                let part = name.map_or(format!("[{index}]"), |name| format!("[{name}]"));
                nested(&part, "", item, out);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(out.insert(path.clone(), text.clone())),
        other => drop(out.insert(path.clone(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: checkout}\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - name: app\n        image: shop/checkout:1\n        env:\n        - {name: DB_POOL_SIZE, value: \"20\"}\n        - {name: DB_PASSWORD, value: a}\n        - {name: PAYMENTS_URL, value: 'http://payments.shop.svc:8080/v1'}\n        envFrom: [{configMapRef: {name: flags}}]\n---\n# nothing\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: one}\n";

    #[test]
    fn a_file_is_reduced() {
        let objects = parse(OLD).expect("YAML");
        assert_eq!(objects.len(), 2);
        let manifest = objects[0].reduce("deploy/checkout.yaml");
        assert_eq!(
            manifest.workload.expect("workload").to_string(),
            "deployment/checkout"
        );
        assert_eq!(manifest.replicas, Some(3));
        assert_eq!(manifest.images, ["shop/checkout:1"]);
        assert_eq!(manifest.uses, ["configmap/flags"]);
        assert_eq!(manifest.hosts, ["payments"]);
    }

    #[test]
    fn changes_name_their_field_and_withhold_secrets() {
        let new = OLD
            .replace("\"20\"", "\"0\"")
            .replace("value: a", "value: b")
            .replace("k: one", "k: two")
            .replace("# nothing", "# comment only");
        let found = changes("f", &parse(OLD).expect("old"), &parse(&new).expect("new"));
        let shown: Vec<_> = found
            .iter()
            .map(|c| format!("{} {} {:?} {:?}", c.object, c.field, c.before, c.after))
            .collect();
        assert_eq!(
            shown,
            [
                r#"deployment/checkout spec/template/spec/containers[app]/env[DB_PASSWORD]/value Some("(withheld)") Some("(withheld)")"#,
                r#"deployment/checkout spec/template/spec/containers[app]/env[DB_POOL_SIZE]/value Some("20") Some("0")"#,
                r#"secret/key stringData/k Some("(withheld)") Some("(withheld)")"#,
            ]
        );
        assert!(
            changes(
                "f",
                &parse(OLD).expect("old"),
                &parse(&format!("# c\n{OLD}")).expect("new")
            )
            .is_empty()
        );
    }

    #[test]
    fn what_is_no_object_is_passed_over_and_what_is_no_yaml_is_refused() {
        assert!(parse("just text\n---\n[1, 2]\n").expect("YAML").is_empty());
        assert!(
            parse("kind: Deployment\napiVersion: v1\nmetadata: {name: '--all'}\n")
                .expect("YAML")
                .is_empty()
        );
        assert!(parse("a: [1").is_err());
    }
}
