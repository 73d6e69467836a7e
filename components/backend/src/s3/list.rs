//! Listings: page by page, and long ones in several ranges of names at once.
//!
//! The first page is asked for alone, which is all for most folders. If there is more, the rest is cut at hexadecimal
//! digits, because the names below a tenant are UUIDs; names that are not still land in exactly one range. Ranges begin
//! with `start-after` and end where the next begins. A server that says "more" but not how to go on is an error, not the
//! end of the list.

use aws_sdk_s3::{
    operation::list_objects_v2::{ListObjectsV2Output, builders::ListObjectsV2FluentBuilder},
    types::Object,
};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::store::ObjectEntry;

use super::{
    Shared,
    failure::{Failure, Kind},
};

/// Where a page begins.
#[derive(Debug, Clone)]
enum From {
    Start,
    After(String),
    Token(String),
}

/// The keys after one and up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyRange {
    after: String,
    /// Inclusive; `None` has no end.
    to: Option<String>,
}

/// Every object whose full key begins with `prefix`, unsorted, with full keys.
pub(super) async fn objects(store: &Shared, prefix: &str) -> Result<Vec<ObjectEntry>, Failure> {
    let first = page(store, prefix, None, From::Start).await?;
    let mut found = Vec::new();
    let more = take(first, &mut found)?;
    let Some(more) = more else { return Ok(found) };
    let Some(last) = found.last().map(|entry| entry.key.clone()) else {
        let rest = KeyRange { after: prefix.to_owned(), to: None };
        return range(store, prefix, rest, Some(more)).await;
    };
    let concurrency = store.config.list_blocks_concurrency;
    let ranges = split(prefix, &last, concurrency);
    // The first range goes on where the page ended, by the server's own token.
    let mut token = Some(more);
    let ranges: Vec<_> = ranges.into_iter().map(|keys| (keys, token.take())).collect();
    let listed: Vec<Vec<ObjectEntry>> = futures::stream::iter(ranges)
        .map(|(keys, token)| range(store, prefix, keys, token))
        .buffer_unordered(concurrency.max(1))
        .try_collect()
        .await?;
    found.extend(listed.into_iter().flatten());
    Ok(found)
}

/// The names between `prefix` and the next `/`.
pub(super) async fn folders(store: &Shared, prefix: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    let mut from = From::Start;
    loop {
        let answer = page(store, prefix, Some("/"), from).await?;
        let more = next(&answer)?;
        for common in answer.common_prefixes.unwrap_or_default() {
            let name = common.prefix.as_deref().and_then(|key| key.strip_prefix(prefix)?.strip_suffix('/'));
            names.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
        }
        match more {
            Some(token) => from = From::Token(token),
            None => return Ok(names),
        }
    }
}

async fn range(
    store: &Shared,
    prefix: &str,
    keys: KeyRange,
    token: Option<String>,
) -> Result<Vec<ObjectEntry>, Failure> {
    let mut found: Vec<ObjectEntry> = Vec::new();
    let mut from = token.map_or_else(|| From::After(keys.after.clone()), From::Token);
    let is_beyond = |entry: &ObjectEntry| keys.to.as_ref().is_some_and(|to| entry.key > *to);
    loop {
        let answer = page(store, prefix, None, from).await?;
        let more = take(answer, &mut found)?;
        let ended = found.last().is_some_and(is_beyond);
        match more {
            Some(token) if !ended => from = From::Token(token),
            Some(_) | None => {
                found.retain(|entry| !is_beyond(entry));
                return Ok(found);
            }
        }
    }
}

/// Cuts the keys after `last` into at most `parts` ranges.
fn split(prefix: &str, last: &str, parts: usize) -> Vec<KeyRange> {
    let parts = parts.clamp(1, 16);
    let mut ranges = vec![KeyRange { after: last.to_owned(), to: None }];
    for part in 1..parts {
        let digit = char::from_digit(u32::try_from(part * 16 / parts).unwrap_or(0), 16).unwrap_or('0');
        let cut = format!("{prefix}{digit}");
        if let Some(range) = ranges.last_mut()
            && cut > range.after
        {
            range.to = Some(cut.clone());
            ranges.push(KeyRange { after: cut, to: None });
        }
    }
    ranges
}

/// Adds a page's objects, and returns how the next page is asked for.
fn take(answer: ListObjectsV2Output, found: &mut Vec<ObjectEntry>) -> Result<Option<String>, Failure> {
    let more = next(&answer)?;
    for object in answer.contents.unwrap_or_default() {
        found.extend(entry(object)?);
    }
    Ok(more)
}

fn next(answer: &ListObjectsV2Output) -> Result<Option<String>, Failure> {
    if !answer.is_truncated.unwrap_or(false) {
        return Ok(None);
    }
    match &answer.next_continuation_token {
        Some(token) if answer.continuation_token.as_ref() != Some(token) => Ok(Some(token.clone())),
        Some(_) | None => Err(Failure::unavailable("a page of the listing does not say how to go on")),
    }
}

/// `None` for the empty objects that some tools make to show a folder.
fn entry(object: Object) -> Result<Option<ObjectEntry>, Failure> {
    let (Some(key), Some(size), Some(modified)) = (object.key, object.size, object.last_modified) else {
        return Err(Failure::other("the listing has an object without key, size or time"));
    };
    if key.ends_with('/') {
        return Ok(None);
    }
    let size =
        u64::try_from(size).map_err(|_| Failure::other("the listing has an object of negative size"))?;
    let nanos = i32::try_from(modified.subsec_nanos()).unwrap_or(0);
    let modified = Timestamp::new(modified.secs(), nanos).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(ObjectEntry { key, size, modified }))
}

async fn page(
    store: &Shared,
    prefix: &str,
    delimiter: Option<&str>,
    from: From,
) -> Result<ListObjectsV2Output, Failure> {
    let from = &from;
    let answer = store
        .call(|client| {
            let request: ListObjectsV2FluentBuilder = client
                .list_objects_v2()
                .bucket(&store.config.bucket)
                .prefix(prefix)
                .set_delimiter(delimiter.map(str::to_owned));
            let request = match from {
                From::Start => request,
                From::After(key) => request.start_after(key),
                From::Token(token) => request.continuation_token(token),
            };
            Box::pin(async move { request.send().await.map_err(|error| store.failure(error)) })
        })
        .await;
    // A listing names no object, so that none can be missing.
    answer.map_err(|failure| match failure.kind {
        Kind::NotFound => Failure::caused(Kind::NoBucket, "there is no such bucket", failure),
        Kind::Exists
        | Kind::Unavailable
        | Kind::NoBucket
        | Kind::Credentials
        | Kind::Denied
        | Kind::BadRange
        | Kind::NoUpload
        | Kind::NotImplemented
        | Kind::Other => failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(after: &str, to: Option<&str>) -> KeyRange {
        KeyRange { after: after.to_owned(), to: to.map(str::to_owned) }
    }

    #[test]
    fn the_rest_of_a_listing_is_cut_at_hexadecimal_digits() {
        assert_eq!(
            split("t/", "t/04", 3),
            [keys("t/04", Some("t/5")), keys("t/5", Some("t/a")), keys("t/a", None)]
        );
        assert_eq!(split("t/", "t/77", 3), [keys("t/77", Some("t/a")), keys("t/a", None)]);
        assert_eq!(split("t/", "t/ff", 3), [keys("t/ff", None)]);
        assert_eq!(split("t/", "t/00", 1), [keys("t/00", None)]);
        assert_eq!(split("t/", "t/00", 100).len(), 16);
    }
}
