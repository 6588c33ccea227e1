//! Opaque page cursors: where a list goes on, signed so that nobody can make one up.
//!
//! A cursor is good for one tenant, one list and one set of filters. It holds the key of the last row shown.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::problem::{Kind, Problem};
use crate::domain::TenantId;

const TAG_BYTES: usize = 16;

/// What cursors are signed with; the same in every gateway of an installation.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

impl CursorKey {
    /// Derives the key from any secret that all gateways share.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(&mac(secret, &[b"carapulse.cursor.v1"]));
        Self(out)
    }

    /// A cursor after the row `key` of `list` under `filters`.
    #[must_use]
    pub fn seal(&self, tenant: &TenantId, list: &str, filters: &str, key: &str) -> String {
        let tag = self.tag(tenant, list, filters, key);
        let mut bytes = tag[..TAG_BYTES].to_vec();
        bytes.extend_from_slice(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key in a cursor that [`CursorKey::seal`] made for the same tenant, list and filters.
    pub fn open(
        &self,
        tenant: &TenantId,
        list: &str,
        filters: &str,
        cursor: &str,
    ) -> Result<String, Problem> {
        let refused = || Problem::new(Kind::InvalidCursor, Kind::InvalidCursor.example());
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (tag, key) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        let key = std::str::from_utf8(key).map_err(|_| refused())?;
        let expected = self.tag(tenant, list, filters, key);
        let same: bool = subtle::ConstantTimeEq::ct_eq(tag, &expected[..TAG_BYTES]).into();
        same.then(|| key.to_owned()).ok_or_else(refused)
    }

    fn tag(&self, tenant: &TenantId, list: &str, filters: &str, key: &str) -> [u8; 32] {
        mac(
            &self.0,
            &[
                tenant.as_str().as_bytes(),
                list.as_bytes(),
                filters.as_bytes(),
                key.as_bytes(),
            ],
        )
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_only_where_it_was_made() {
        let key = CursorKey::derive(b"secret");
        let (a, b): (TenantId, TenantId) = ("a".parse().expect("tenant"), "b".parse().expect("tenant"));
        let cursor = key.seal(&a, "plans", "status=open", "plan_1");
        assert_eq!(
            key.open(&a, "plans", "status=open", &cursor).expect("opens"),
            "plan_1"
        );
        for refused in [
            key.open(&b, "plans", "status=open", &cursor),
            key.open(&a, "executions", "status=open", &cursor),
            key.open(&a, "plans", "", &cursor),
            key.open(&a, "plans", "status=open", &cursor[1..]),
            key.open(&a, "plans", "status=open", ""),
            CursorKey::derive(b"other").open(&a, "plans", "status=open", &cursor),
        ] {
            assert_eq!(refused.expect_err("refused").kind(), Kind::InvalidCursor);
        }
    }
}
