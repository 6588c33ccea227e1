//! Real formats in, nothing secret out; ordinary text untouched.

use proptest::prelude::*;

use super::{MASK, Redactor};

/// Text, and the pieces of it that must not come out.
const SECRETS: &[(&str, &[&str])] = &[
    (
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        &["AKIAIOSFODNN7EXAMPLE"],
    ),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        &["wJalr", "EXAMPLEKEY"],
    ),
    (
        "AKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        &["AKIA", "wJalr"],
    ),
    (
        r#"{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "SessionToken": "IQoJb3JpZ2lu"}"#,
        &["wJalr", "IQoJ"],
    ),
    (
        "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        &["eyJ", "dozj"],
    ),
    ("> Authorization: Bearer abc.def-123", &["abc.def"]),
    ("authorization: Basic YWRtaW46aHVudGVyMg==", &["YWRt"]),
    ("sent bearer 0123456789abcdef0123", &["0123456789abcdef"]),
    (
        "postgres://app:h%40nter2@db:5432/app?sslmode=disable",
        &["h%40nter2"],
    ),
    ("redis://:sup3r@cache:6379/0", &["sup3r"]),
    ("host=db user=app password=hunter22 dbname=x", &["hunter22"]),
    ("ghp_0123456789abcdefABCDEF0123456789abcdef", &["ghp_"]),
    (
        "https://x:glpat-AbCdEfGhIjKlMnOpQrSt@gitlab.example.com/g/p.git",
        &["glpat"],
    ),
    ("github_pat_11ABCDEFG0abcdefghijkl_0123456789", &["github_pat_"]),
    ("xoxb-123456789012-abcdefABCDEF", &["xoxb"]),
    (
        "https://hooks.slack.com/services/T0000/B0000/XXXXYYYYZZZZ",
        &["XXXXYYYY"],
    ),
    ("hvs.CAESIJ0123456789abcdefghijklmnop", &["hvs."]),
    (
        "curl -H 'X-Vault-Token: s.abcdefghijklmnopqrstuvwx'",
        &["s.abcdef"],
    ),
    ("cpl_acme_AbCdEfGhIjKlMnOpQrStUvWx", &["cpl_"]),
    (
        "login --password hunter22 --token=tok-1234",
        &["hunter22", "tok-1234"],
    ),
    (r#"{"a":1,"password":"he said \"hi\"","b":2}"#, &["he said"]),
    (r#"note {\"token\":\"abcdef12\",\"n\":1}"#, &["abcdef12"]),
    (
        "token: |\n  line-one\n  line-two\nnext: 1",
        &["line-one", "line-two"],
    ),
    (
        "key: -----BEGIN EC PRIVATE KEY-----\\nMHcCAQEEII\\n-----END EC PRIVATE KEY-----\\n done",
        &["MHcC"],
    ),
    (
        "a\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEpAIBAAKCAQEA\nabcd==\n-----END RSA PRIVATE KEY-----\nb",
        &["MIIE", "abcd"],
    ),
    (
        "    -----BEGIN PRIVATE KEY-----\n    MIIEvQIBADAN\n    -----END PRIVATE KEY-----\nb",
        &["MIIE"],
    ),
    (
        "apiVersion: v1\ndata:\n  user: YWRtaW4=\n  blob: |\n    aGVsbG8=\nkind: Secret\nmetadata:\n  name: x\n",
        &["YWRt", "aGVs"],
    ),
    (
        "kind: Secret\nmetadata:\n  name: x\nstringData:\n  user: plainuser\n---\nkind: ConfigMap\n",
        &["plainuser"],
    ),
    (
        "items:\n- apiVersion: v1\n  data:\n    user: YWRtaW4=\n  kind: Secret\n- data:\n    user: cm9vdA==\n  kind: Secret\n",
        &["YWRt", "cm9v"],
    ),
    (
        "{\n    \"apiVersion\": \"v1\",\n    \"data\": {\n        \"user\": \"YWRtaW4=\"\n    },\n    \"kind\": \"Secret\"\n}\n",
        &["YWRt"],
    ),
    (
        r#"{"apiVersion":"v1","data":{"user":"YWRtaW4="},"kind":"Secret"}"#,
        &["YWRt"],
    ),
    (
        r#"last-applied: {\"data\":{\"user\":\"YWRtaW4=\"},\"kind\":\"Secret\"}"#,
        &["YWRt"],
    ),
];

const ORDINARY: &[&str] = &[
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 (HEAD -> main)",
    "0198f3a2-7c1e-7d20-9b1a-3f6c2f1d9a55 plan_0198f3a2-7c1e-7d20-9b1a-3f6c2f1d9a55",
    "image: ghcr.io/acme/api@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "automountServiceAccountToken: false\nsecretName: db-credentials-name\n",
    "secret/db created\ntokens: 12\nPWD=/srv/app",
    r#"{"NextToken":"AAAAbbbbCCCC1111","items":[]}"#,
    "basic understanding of telecommunications, bearer infrastructure",
    "http://prometheus:9090/api/v1/query?query=up https://host/a:b@c",
    "apiVersion: v1\ndata:\n  level: info\n  user: YWRtaW4=\nkind: ConfigMap\nmetadata:\n  name: x\n",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "deployment.apps/api scaled\n\n  Warning  BackOff  2m (x5 over 3m)  kubelet  Back-off\n",
];

#[test]
fn invariant_11_secrets_in_real_formats_are_masked() {
    let redactor = Redactor::new();
    for (text, secrets) in SECRETS {
        let out = redactor.redact_text(text);
        assert!(out.contains(MASK), "{text:?} came out as {out:?}");
        for secret in *secrets {
            assert!(!out.contains(secret), "{secret:?} is left of {text:?}: {out:?}");
        }
    }
}

#[test]
fn ordinary_text_is_untouched() {
    for text in ORDINARY {
        assert_eq!(Redactor::new().redact_text(text), *text);
    }
}

#[test]
fn redacted_json_is_still_json() {
    for text in [
        r#"{"apiVersion":"v1","data":{"user":"YWRtaW4="},"kind":"Secret"}"#,
        r#"{"token":123456,"password":"a","n":{"secret":null,"api_key":"x y"}}"#,
        "{\n  \"data\": {\n    \"a\": \"YWRtaW4=\",\n    \"b\": \"\"\n  },\n  \"kind\": \"Secret\"\n}",
    ] {
        let out = Redactor::new().redact_text(text);
        assert!(out.contains(MASK), "{out}");
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
    }
}

#[test]
fn what_follows_a_key_or_a_manifest_is_shown() {
    let out = Redactor::new().redact_text("-----BEGIN PRIVATE KEY-----\nMIIE\nplain words, at last\n");
    assert_eq!(out, "***\nplain words, at last\n");
    let out =
        Redactor::new().redact_text("kind: Secret\ndata:\n  a: YWRtaW4=\n---\nkind: Pod\nspec:\n  a: b\n");
    assert_eq!(
        out,
        "kind: Secret\ndata:\n  a: ***\n---\nkind: Pod\nspec:\n  a: b\n"
    );
}

#[test]
fn exact_values_are_masked_in_every_spelling() {
    let redactor = Redactor::with_values(["s3cr&t \"x\"", "tiny"]);
    let out =
        redactor.redact_text("s3cr&t \"x\" | czNjciZ0ICJ4Ig== | s3cr&t \\\"x\\\" | s3cr%26t+%22x%22 | tiny");
    assert_eq!(out, "*** | ***== | *** | *** | tiny");
}

#[test]
fn the_values_of_a_secret_file_are_found() {
    let kubeconfig = b"apiVersion: v1\nusers:\n- name: u\n  user:\n    token: opensesame99\ncurrent-context: prod-cluster\n";
    let values = Redactor::values_of_file(kubeconfig);
    assert!(values.contains(&"opensesame99".to_owned()), "{values:?}");
    assert!(!values.iter().any(|v| v.contains("prod-cluster")), "{values:?}");
    assert_eq!(Redactor::values_of_file(b"opensesame\n"), ["opensesame"]);
}

#[test]
fn an_overlong_line_is_cut_and_says_so() {
    let text = format!("{}AKIAIOSFODNN7EXAMPLE\nnext\n", "x ".repeat(1 << 19));
    let out = Redactor::new().redact_text(&text);
    assert!(out.ends_with("***\nnext\n") && !out.contains("AKIA") && out.len() < text.len());
}

proptest! {
    /// Invariant 11: wherever a pipe cuts the output, the redacted text is the same.
    #[test]
    fn invariant_11_chunk_boundaries_change_nothing(
        picks in prop::collection::vec((0..SECRETS.len(), 0..ORDINARY.len()), 1..6),
        cuts in prop::collection::vec(1_usize..40, 1..60),
    ) {
        let text: String = picks.iter().map(|(s, o)| format!("{}\n{}\n", SECRETS[*s].0, ORDINARY[*o])).collect();
        let redactor = Redactor::with_values(["hunter22", "line-one"]);
        let whole = redactor.redact_text(&text);
        let mut stream = redactor.stream();
        let (mut out, mut rest) = (String::new(), text.as_bytes());
        for cut in cuts.iter().cycle() {
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            out.push_str(&stream.push(head));
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        out.push_str(&stream.finish());
        prop_assert_eq!(out, whole);
    }

    /// Any bytes at all come out as text, without a panic.
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut stream = Redactor::new().stream();
        let head = stream.push(&bytes);
        prop_assert!(head.len() + stream.finish().len() <= 4 * bytes.len() + 64);
    }
}
