//! Names and keys of objects: `<tenant>/<block id>/<object>` and `<tenant>/<index>`. No other module joins keys.
//!
//! Tenants and block ids are types that cannot hold a path trick, and object names come from the constants here.

use tempo_model::{BlockId, TenantId};

/// A live block's meta, written last: it makes the block visible.
pub const META: &str = "meta.json";
/// The meta of a block that was merged into another one or has expired; `meta.json` is gone then.
pub const META_COMPACTED: &str = "meta.compacted.json";
pub const DATA: &str = "data.parquet";
/// Tempo's search index of older formats; kept since readers of 2.x ask for it.
pub const INDEX: &str = "index";
/// Our trace index beside `data.parquet`; other readers ignore it.
pub const SIDECAR: &str = "traces.idx";

pub(crate) const TENANT_INDEX_PB: &str = "index.pb.zst";
pub(crate) const TENANT_INDEX_JSON: &str = "index.json.gz";
/// In the order of writing and reading.
pub(crate) const TENANT_INDEXES: [&str; 2] = [TENANT_INDEX_PB, TENANT_INDEX_JSON];

/// Name of one bloom filter shard.
pub fn bloom(shard: u32) -> String {
    format!("bloom-{shard}")
}

/// Key of an object of a block.
pub fn block_object(tenant: &TenantId, block_id: BlockId, name: &str) -> String {
    format!("{tenant}/{block_id}/{name}")
}

/// Folder of a block.
pub(crate) fn block_folder(tenant: &TenantId, block_id: BlockId) -> String {
    format!("{tenant}/{block_id}")
}

/// Folder of a tenant.
pub(crate) fn tenant_folder(tenant: &TenantId) -> &str {
    tenant.as_str()
}

/// Key of one of the two encodings of a tenant's index.
pub(crate) fn tenant_index(tenant: &TenantId, name: &str) -> String {
    format!("{tenant}/{name}")
}

/// Splits a listed key into block and object name. `None` for what is not directly in a block's folder, and for
/// folders that are not a UUID in its canonical spelling: their objects could not be addressed by the id.
pub(crate) fn parse_block_object<'a>(tenant: &TenantId, key: &'a str) -> Option<(BlockId, &'a str)> {
    let (folder, rest) = key.split_once('/')?;
    let (block, name) = rest.split_once('/')?;
    if folder != tenant.as_str() || name.is_empty() || name.contains('/') {
        return None;
    }
    let block_id: BlockId = block.parse().ok()?;
    (block_id.to_string() == block).then_some((block_id, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_keys_give_back_what_made_them() {
        let tenant = TenantId::parse("a").unwrap();
        let block_id = BlockId::random();

        let key = block_object(&tenant, block_id, META);

        assert_eq!(parse_block_object(&tenant, &key), Some((block_id, META)));
    }

    #[test]
    fn foreign_keys_belong_to_no_block() {
        let tenant = TenantId::parse("a").unwrap();
        let id = "b996743a-4b85-47f3-988c-4299346fdf86";

        for key in [
            "a/index.pb.zst".to_owned(),
            "a/lost+found/meta.json".to_owned(),
            format!("a/{}/meta.json", id.to_uppercase()),
            format!("a/{}/meta.json", id.replace('-', "")),
            format!("a/{id}/deeper/meta.json"),
            format!("a/{id}/"),
            format!("b/{id}/meta.json"),
            format!("aa/{id}/meta.json"),
        ] {
            assert_eq!(parse_block_object(&tenant, &key), None, "{key}");
        }
    }
}
