//! Tests of the blocklist.
