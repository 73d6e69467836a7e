//! Assembling one trace from partial ones (to be written).
