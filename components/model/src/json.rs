//! Protobuf JSON of traces (to be written).
