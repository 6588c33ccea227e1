//! `carapulse audit verify` as a person runs it.

use std::process::{Command, Output};

use carapulse::store::DbRole;

use super::{
    Log,
    bundle::{Case, trust},
};

fn verify(args: &[&std::ffi::OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carapulse"))
        .args(["audit", "verify"])
        .args(args)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_bundle_is_proven_with_no_server_and_a_bent_one_is_not() {
    let mut log = Log::new().await;
    let mut bytes = Case::new().export(&mut log).await;
    let folder = tempfile::tempdir().unwrap();
    let (bundle, keys) = (folder.path().join("x.tar"), folder.path().join("trust.json"));
    std::fs::write(&bundle, &bytes).unwrap();
    std::fs::write(&keys, trust(&log).to_text()).unwrap();
    let args = [
        "--bundle".as_ref(),
        bundle.as_os_str(),
        "--trust".as_ref(),
        keys.as_os_str(),
    ];
    let proven = verify(&args);
    let text = String::from_utf8(proven.stdout).unwrap();
    assert!(
        proven.status.success() && text.ends_with("the bundle is proven\n"),
        "{text}"
    );
    let scaled = bytes.windows(6).position(|window| window == b"scaled").unwrap();
    bytes[scaled] = b'S';
    std::fs::write(&bundle, &bytes).unwrap();
    let bent = verify(&args);
    let text = String::from_utf8(bent.stdout).unwrap();
    assert_eq!(bent.status.code(), Some(1));
    assert!(
        text.contains("FAILED  manifest      logs/0-forward-1.stdout is not"),
        "{text}"
    );
    let blind = verify(&args[..2]);
    assert_eq!(blind.status.code(), Some(2), "nothing is proven without --trust");
}

#[tokio::test]
async fn a_database_is_proven_against_published_checkpoints() {
    let mut log = Log::new().await;
    log.record(5).await;
    log.sequence().await;
    let keys = log.folder.path().join("trust.json");
    std::fs::write(&keys, trust(&log).to_text()).unwrap();
    let (dsn, published) = (log.db.url(DbRole::Gateway), log.folder.path().join("checkpoints"));
    let args = [
        "--dsn".as_ref(),
        dsn.as_ref(),
        "--checkpoints".as_ref(),
        published.as_os_str(),
        "--trust".as_ref(),
        keys.as_os_str(),
        "--json".as_ref(),
    ];
    let report: serde_json::Value = serde_json::from_slice(&verify(&args).stdout).unwrap();
    assert_eq!(
        (&report["size"], &report["checkpoints"]),
        (&5.into(), &2.into()),
        "{report}"
    );
    log.tamper("DELETE FROM audit_event WHERE position = 2").await;
    let tampered = verify(&args);
    assert_eq!(tampered.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&tampered.stdout).unwrap();
    assert_eq!(
        (&report["fault"]["code"], &report["fault"]["position"]),
        (&"missing".into(), &2.into())
    );
}
