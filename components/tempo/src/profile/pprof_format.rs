//! The profile format that `pprof` opens: gzip of the protobuf message `perftools.profiles.Profile`
//! (github.com/google/pprof, proto/profile.proto). Only the fields we write are declared; the numbers are the format.
//!
//! Strings, functions and locations are interned; location 1.. have no address, the one mapping says that functions,
//! files and lines are already resolved, so that `pprof` does not symbolise again from the binary.

use std::{collections::HashMap, io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// One function at one line; the first frame of a stack is the innermost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: i64,
}

/// Collects samples and encodes them.
#[derive(Debug)]
pub(super) struct ProfileBuilder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<Vec<(u64, i64)>, u64>,
}

impl ProfileBuilder {
    /// `values` are the (type, unit) of each number of a sample.
    pub(super) fn new(values: &[(&str, &str)]) -> ProfileBuilder {
        let mut builder = ProfileBuilder {
            profile: Profile::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        builder.string("");
        builder.profile.sample_type = values
            .iter()
            .map(|(name, unit)| ValueType { r#type: builder.string(name), unit: builder.string(unit) })
            .collect();
        let filename = builder.string("tempo");
        builder.profile.mapping.push(Mapping {
            id: 1,
            filename,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
        });
        builder
    }

    pub(super) fn set_time(&mut self, end: jiff::Timestamp, lasted: Duration) {
        let lasted = i64::try_from(lasted.as_nanos()).unwrap_or(i64::MAX);
        let end = i64::try_from(end.as_nanosecond()).unwrap_or(i64::MAX);
        self.profile.time_nanos = end.saturating_sub(lasted);
        self.profile.duration_nanos = lasted;
    }

    pub(super) fn set_period(&mut self, name: &str, unit: &str, period: i64) {
        self.profile.period_type = Some(ValueType { r#type: self.string(name), unit: self.string(unit) });
        self.profile.period = period;
    }

    /// Adds a sample. Each element of `stack` is one address: several frames where functions were inlined.
    pub(super) fn add(&mut self, stack: &[Vec<Frame>], values: Vec<i64>, labels: &[(&str, &str)]) {
        let location_id = stack.iter().map(|frames| self.location(frames)).collect();
        let label = labels
            .iter()
            .map(|(key, value)| Label { key: self.string(key), str: self.string(value) })
            .collect();
        self.profile.sample.push(Sample { location_id, value: values, label });
    }

    pub(super) fn finish(self) -> std::io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.profile.encode_to_vec())?;
        gzip.finish()
    }

    fn location(&mut self, frames: &[Frame]) -> u64 {
        let lines: Vec<(u64, i64)> =
            frames.iter().map(|frame| (self.function(&frame.function, &frame.file), frame.line)).collect();
        if let Some(&id) = self.locations.get(&lines) {
            return id;
        }
        let id = self.profile.location.len() as u64 + 1;
        let line = lines.iter().map(|&(function_id, line)| Line { function_id, line }).collect();
        self.profile.location.push(Location { id, mapping_id: 1, line });
        self.locations.insert(lines, id);
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (self.string(name), self.string(file));
        let functions = &mut self.profile.function;
        *self.functions.entry(key).or_insert_with(|| {
            let id = functions.len() as u64 + 1;
            // An empty system name says that the name is demangled: pprof would cut `<T as Trait>` off it.
            functions.push(Function { id, name: key.0, system_name: 0, filename: key.1 });
            id
        })
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.strings.get(text) {
            return index;
        }
        let index = i64::try_from(self.profile.string_table.len()).expect("fewer strings than 2^63");
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn frames_strings_and_locations_are_written_once() {
        let frame = |line| Frame { function: "f".to_owned(), file: "f.rs".to_owned(), line };
        let mut builder = ProfileBuilder::new(&[("samples", "count")]);
        builder.add(&[vec![frame(1)], vec![frame(2)]], vec![1], &[]);
        builder.add(&[vec![frame(1)]], vec![3], &[("state", "waiting")]);

        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(builder.finish().unwrap().as_slice()).read_to_end(&mut bytes).unwrap();
        let profile = Profile::decode(bytes.as_slice()).unwrap();

        assert_eq!(profile.string_table.first().map(String::as_str), Some(""));
        assert_eq!((profile.function.len(), profile.location.len(), profile.sample.len()), (1, 2, 2));
        assert_eq!(profile.sample[1].location_id, [1]);
        assert!(profile.mapping[0].has_functions);
    }
}
